#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "config/mesh.h"
#include "model/snapshot.h"
#include "registry/cluster_local.h"
#include "registry/cluster_state.h"
#include "registry/config_store.h"
#include "registry/service_entries.h"

namespace isthmus::registry {

/// All clusters made one: the same name in the same namespace is the same service. Objects in,
/// snapshots out.
///
/// Pure: no clock, no I/O. Any sequence of changes gives the snapshot that one fresh build of the
/// same objects gives, and Update() redoes only what was touched. A resource; one owner, one loop.
class MeshState {
 public:
  struct Options {
    model::ClusterId config_cluster{"Kubernetes"};
    std::string domain_suffix = "cluster.local";
    std::string system_namespace = "istio-system";
  };

  /// The config cluster is there from the start.
  explicit MeshState(Options options);
  ~MeshState();
  MeshState(const MeshState&) = delete;
  MeshState& operator=(const MeshState&) = delete;

  /// A state for a cluster, to be filled and then handed to PutCluster().
  std::unique_ptr<ClusterState> NewCluster(const model::ClusterId& id) const;
  /// Adds a cluster behind those that are there, or takes the place of the one of the same name.
  void PutCluster(std::unique_ptr<ClusterState> cluster);
  void RemoveCluster(const model::ClusterId& id);
  /// Null when there is none.
  ClusterState* Find(const model::ClusterId& id);
  const ClusterState* Find(const model::ClusterId& id) const;
  ClusterState& config_cluster() { return *clusters_.front(); }

  void ApplyConfig(const config::Kind& kind, const std::string& key, const Json* now);
  void SetMesh(config::MeshConfigPtr mesh);
  void SetNetworks(config::MeshNetworksPtr networks);
  /// The trust domain that a remote cluster has for itself; empty: that of the mesh.
  void SetTrustDomain(const model::ClusterId& cluster, const std::string& trust_domain);
  /// The addresses behind a gateway's host name.
  void SetResolved(const std::string& host, std::vector<std::string> addresses);
  /// Host names among the gateways, to be resolved.
  std::set<std::string> GatewayHosts() const;

  bool dirty() const;
  /// Brings the snapshot up to date and tells what differs. With an empty answer it is the same as
  /// before.
  model::ChangeSet Update();
  const std::shared_ptr<const model::Snapshot>& snapshot() const { return snapshot_; }
  const ConfigStore& configs() const { return configs_; }

 private:
  struct Work;
  using ServiceList = std::vector<std::shared_ptr<const model::Service>>;
  using Shard = model::ServiceEndpoints::Shard;

  ClusterContext ContextFor(const model::ClusterId& id) const;
  void RefreshContexts();
  void Gather(Work& work);
  void GatherEntries(Work& work);
  void UpdateServices(const Work& work, model::Snapshot& next, model::ChangeSet& changes);
  void UpdateEndpoints(const Work& work, model::Snapshot& next, model::ChangeSet& changes);
  void UpdateWorkloads(const Work& work, model::Snapshot& next, model::ChangeSet& changes);
  void UpdateGateways(model::Snapshot& next, model::ChangeSet& changes);
  void UpdateCredentials(const Work& work, model::Snapshot& next, model::ChangeSet& changes);

  ServiceList MergeHost(const std::string& host) const;
  std::shared_ptr<const model::Service> MergeKubernetes(const std::string& host) const;
  std::vector<std::shared_ptr<const Shard>> ExternalShards(const std::string& host,
                                                           const std::string& ns) const;
  std::shared_ptr<const model::ServiceEndpoints> MergeEndpoints(
      const std::string& key, const Work& work, const model::ServiceEndpoints* before) const;
  void IndexEntries(Work& work);
  void MarkWhole(const ClusterState& cluster, Work& work) const;

  const Options options_;
  std::shared_ptr<LabelPool> pool_;
  config::MeshConfigPtr mesh_;
  config::MeshNetworksPtr networks_;
  NetworkTable network_table_;
  ClusterLocalHosts cluster_local_;
  std::vector<kubeapi::LabelSelector> discovery_;
  std::map<model::ClusterId, std::string> trust_domains_;
  std::map<std::string, std::vector<std::string>> resolved_;
  std::vector<std::unique_ptr<ClusterState>>
      clusters_;  ///< In registry order; the config cluster first.
  std::set<model::ClusterId> removed_;
  ConfigStore configs_;
  model::Configs lists_;
  /// ServiceEntries by host, oldest first, and the allocated addresses by "<host>/<namespace>".
  std::map<std::string, std::vector<std::shared_ptr<const ServiceEntryObject>>> entries_;
  std::map<std::string, std::string> auto_addresses_;
  bool everything_ = true;
  bool gateways_dirty_ = true;
  std::shared_ptr<const model::Snapshot> snapshot_;
};

}  // namespace isthmus::registry
