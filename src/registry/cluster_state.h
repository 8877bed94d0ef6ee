#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "kubeapi/selector.h"
#include "model/service.h"
#include "model/workload.h"
#include "registry/networks.h"
#include "registry/records.h"

namespace isthmus::registry {

/// The kinds that are read from every cluster.
enum class Watched { kNamespace, kService, kPod, kNode, kEndpointSlice, kWorkloadEntry, kSecret };

/// What the mesh tells every cluster; the same for all but the trust domain.
struct ClusterContext {
  std::string domain_suffix = "cluster.local";
  std::string system_namespace = "istio-system";
  std::string trust_domain = "cluster.local";
  NetworkTable networks;
  /// Only namespaces whose labels one of these picks belong to the mesh; none: all do.
  std::vector<kubeapi::LabelSelector> discovery;
  bool operator==(const ClusterContext&) const = default;
};

/// What changed in a cluster since it was last asked.
struct ClusterDirt {
  bool all = true;  ///< Everything may have; the sets are then empty.
  bool gateways = false;
  std::set<std::string> services;     ///< Hostnames.
  std::set<std::string> endpoints;    ///< "<hostname>/<namespace>"
  std::set<std::string> workloads;    ///< "<namespace>/<name>"
  std::set<std::string> namespaces;   ///< Whose pods or WorkloadEntries changed.
  std::set<std::string> credentials;  ///< "<namespace>/<name>"
  bool empty() const {
    return !all && !gateways && services.empty() && endpoints.empty() && workloads.empty() &&
           namespaces.empty() && credentials.empty();
  }
};

/// What one cluster offers to the mesh, kept up to date object by object: Kubernetes objects in,
/// services, endpoints, workloads and gateways out.
///
/// Pure: no clock, no I/O; the same objects in any order give the same answers. Keeps records, no
/// JSON. A resource; one owner, one loop.
class ClusterState {
 public:
  ClusterState(model::ClusterId id, ClusterContext context, std::shared_ptr<LabelPool> pool);

  const model::ClusterId& id() const { return id_; }
  const ClusterContext& context() const { return context_; }
  void SetContext(ClusterContext context);

  /// One object came or changed, or went (null). `key` is "namespace/name", or "name" without a
  /// namespace.
  void Apply(Watched kind, const std::string& key, const Json* now);
  /// What changed since the last call; everything at the first.
  ClusterDirt TakeDirt();
  bool dirty() const { return !dirt_.empty(); }

  /// This cluster's own record of a host, or null.
  const ServiceRecord* FindService(const std::string& hostname) const;
  std::vector<std::string> Hostnames() const;
  /// Endpoints of a Kubernetes service, sorted; null when there are none.
  /// With `standby`, what stands by for them is among them while none of them is healthy, as
  /// kube-proxy has it.
  std::shared_ptr<const model::ServiceEndpoints::Shard> BuildShard(const std::string& hostname,
                                                                   bool standby = false) const;
  /// Endpoints that the pods and WorkloadEntries of a namespace give to `ports` of a ServiceEntry
  /// that selects them.
  std::vector<model::Endpoint> SelectEndpoints(const std::string& ns, const model::Labels& selector,
                                               const std::vector<model::Port>& ports,
                                               const std::string& source) const;

  /// The workload of that key "<namespace>/<name>", with network and locality; null when there is
  /// none.
  std::shared_ptr<const model::Workload> FindWorkload(const std::string& key) const;
  std::vector<std::string> WorkloadKeys() const;
  const std::map<std::string, model::Credential>& credentials() const { return credentials_; }
  /// Gateways of networks among this cluster's services.
  std::vector<model::NetworkGateway> Gateways() const;
  /// The namespace's own wish, "" when it has none.
  std::string NamespaceTrafficDistribution(const std::string& ns) const;
  /// The network label of the system namespace; empty when there is none.
  std::string NamespaceNetwork() const;
  /// Names of the clusters whose control planes lead this one, as its system namespace says.
  std::vector<std::string> Leaders() const;
  /// The endpoint that an inline address of a ServiceEntry or a WorkloadEntry gives; port and port
  /// name unset.
  model::Endpoint EntryEndpoint(const istio::networking::v1::WorkloadEntry& entry,
                                const std::string& ns, const std::string& name,
                                const std::string& source) const;

  /// Gives Kubernetes objects from which Apply() makes the same state again; no Secrets. For the
  /// stored state.
  void Export(const std::function<void(const Json&)>& sink) const;
  size_t pod_count() const { return pods_.size(); }
  size_t service_count() const { return services_.size(); }

 private:
  /// A pod with what follows from its node, its cluster and the mesh's networks.
  struct Pod {
    std::shared_ptr<const model::Workload> workload;
    LabelsPtr topology;
    std::string owner;  ///< The workload's name.
    const char* network_source = "";
    bool ready = false;
  };
  struct Placed {
    model::NetworkId network;
    const char* source;
  };

  void PutService(const std::string& key, ServiceRecord record);
  void PutPod(const std::string& key, PodRecord record);
  void PutNode(const std::string& key, const NodeRecord* node);
  void PutSlice(const std::string& key, SliceRecord record);
  void PutNamespace(const std::string& key, const NamespaceRecord* record);
  void PutWorkloadEntry(const std::string& key, WorkloadEntryRecord record);
  void RemoveService(const std::string& key);
  void RemovePod(const std::string& key);
  void RemoveSlice(const std::string& key);
  void RemoveWorkloadEntry(const std::string& key);

  /// Whether the namespace belongs to the mesh; objects of others are kept, but not shown.
  bool Discovers(const std::string& ns) const {
    return context_.discovery.empty() || discovered_.contains(ns);
  }
  bool Selected(const NamespaceRecord& record) const;
  static bool SamePod(const Pod& pod, const PodRecord& record);
  /// Works out locality, network and topology labels.
  void Place(model::Workload workload, Pod& pod) const;
  Placed NetworkOf(const model::Labels& labels, const std::string& address) const;
  LabelsPtr Topology(const model::Labels& labels, const model::Locality& locality,
                     const std::string& node, const model::NetworkId& network) const;
  void PlaceAll();
  void MarkEndpointsOfPod(const std::string& key);
  void MarkEndpointsOfEntry(const std::string& ns, const model::Labels& labels);
  void MarkAll();
  std::string Identity(const std::string& ns, const std::string& account) const;
  void AddSliceEndpoints(const ServiceRecord& service, const std::string& slice_name,
                         const SliceRecord& slice, std::vector<model::Endpoint>& out) const;
  void AddEntryEndpoints(const ServiceRecord& service, std::vector<model::Endpoint>& out) const;
  void AddServiceGateways(const ServiceRecord& record, const model::NetworkId& network,
                          int wanted_port, std::vector<model::NetworkGateway>& out) const;

  const model::ClusterId id_;
  ClusterContext context_;
  std::shared_ptr<LabelPool> pool_;
  ClusterDirt dirt_;
  std::map<std::string, NamespaceRecord> namespaces_;
  std::set<std::string> discovered_;  ///< Kept where there are selectors only.
  std::map<std::string, NodeRecord> nodes_;
  std::map<std::string, ServiceRecord> services_;  ///< By "<namespace>/<name>", as all below.
  std::map<std::string, Pod> pods_;
  std::map<std::string, std::map<std::string, SliceRecord>>
      slices_;  ///< By service, then by slice name.
  std::unordered_map<std::string, std::string> service_of_slice_;
  std::map<std::string, WorkloadEntryRecord> entries_;
  std::map<std::string, model::Credential> credentials_;
};

}  // namespace isthmus::registry
