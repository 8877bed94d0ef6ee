#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/files.h"
#include "base/loop.h"
#include "base/metrics.h"
#include "kubeclient/client.h"
#include "model/snapshot.h"
#include "registry/cluster_watch.h"
#include "registry/mesh_state.h"
#include "registry/remote_secrets.h"

namespace isthmus::registry {

/// One row of `istioctl remote-clusters` and /debug/clusterz.
struct ClusterStatus {
  model::ClusterId id;
  std::string secret;  ///< "<namespace>/<name>"; empty for the own cluster.
  std::string sync;    ///< "synced", "syncing", "timeout": of the first sync, as Istio has it.
  std::string server;  ///< URL of the API server.
  bool stale = false;  ///< The API server cannot be reached; what it last said is still served.
  bool from_store = false;  ///< What is served was read from disk at the start.
  base::Duration stale_for{0};
  std::string error;  ///< Why it is stale.
  size_t services = 0;
  size_t pods = 0;
};

/// Whether a cluster has a control plane of its own: one that its mesh settings name and whose pods
/// run in it. Remotes that others serve have none.
struct ControlPlaneOf {
  bool present = false;
  bool ready = false;    ///< Some pod of it is.
  std::string service;   ///< "istiod", in the system namespace.
  std::string hostname;  ///< "istiod.istio-system.svc.cluster.local"
};

/// Watches the own cluster and, through the remote secrets found there, all others, and publishes
/// snapshots.
///
/// Never withdraws what it cannot see: while an API server is away its endpoints stay, and a new
/// kubeconfig of a cluster is connected and complete before the old one is let go. Changes that
/// arrive together make one snapshot; there is no fixed wait. Nothing is published before the own
/// cluster and every remote one has synced, failed with a stored state at hand, or had its time. A
/// resource; lives on its loop; callbacks never destroy it.
class MeshRegistry {
 public:
  struct Options {
    model::ClusterId cluster_id{"Kubernetes"};
    std::string domain_suffix = "cluster.local";
    std::string system_namespace = "istio-system";
    std::string mesh_config_map =
        "istio";  ///< "istio-<revision>" for other revisions than the default.
    /// Files with the mesh configuration and the mesh's networks; while one exists it wins over the
    /// ConfigMap, and changes of it count at once.
    std::string mesh_file;
    std::string networks_file;
    base::Duration remote_timeout = std::chrono::seconds(30);  ///< Zero waits for ever.
    std::string state_folder;  ///< For the last good state of remote clusters; empty keeps none.
    bool save_state = true;    ///< False: the folder is only read.
    base::Duration save_period = std::chrono::seconds(10);
    bool resolve_gateways = true;
    base::Duration resolve_period = std::chrono::seconds(30);
    std::vector<std::string>
        allowed_kubeconfig_entries;  ///< PILOT_INSECURE_MULTICLUSTER_KUBECONFIG_OPTIONS.
  };
  using OnSnapshot =
      std::function<void(std::shared_ptr<const model::Snapshot>, const model::ChangeSet&)>;

  /// `own`, `clock` and `metrics` outlive it.
  MeshRegistry(base::Loop& loop, kubeclient::Client& own, const base::Clock& clock,
               base::MetricRegistry& metrics, Options options, OnSnapshot on_snapshot);
  ~MeshRegistry();
  MeshRegistry(const MeshRegistry&) = delete;
  MeshRegistry& operator=(const MeshRegistry&) = delete;

  /// The first snapshot has been published.
  bool ready() const { return published_; }
  const std::shared_ptr<const model::Snapshot>& snapshot() const { return mesh_.snapshot(); }
  /// What readiness waits for, in words; empty when ready.
  std::string waiting_for() const;
  /// The own cluster first, then the remote ones in the order in which they were added.
  std::vector<ClusterStatus> Clusters() const;
  /// For token reviews and the like; null for a cluster that is not known. Valid until the loop
  /// turns.
  kubeclient::Client* ClientFor(const model::ClusterId& cluster);
  /// The clusters that remote secrets name, in the order in which they were added.
  std::vector<RemoteCluster> Remotes() const;
  /// The cluster that a proxy means. A remote secret may go by another name than its cluster's
  /// proxies do (the key of one written by hand is a file's name); its kubeconfig tells both.
  model::ClusterId KnownAs(const model::ClusterId& claimed) const;
  /// How a remote cluster is reached now; null for one that is not known.
  const kubeclient::RestConfig* ConnectionTo(const model::ClusterId& cluster) const;
  /// What a cluster says; null for one that is not known or has said nothing yet.
  const ClusterState* StateOf(const model::ClusterId& cluster) const { return mesh_.Find(cluster); }
  ControlPlaneOf HomeOf(const model::ClusterId& cluster) const;
  /// The cluster whose control plane is to serve the proxies of a cluster: itself when it has one,
  /// else the first that its system namespace names and that has one, else ours.
  model::ClusterId LeaderOf(const model::ClusterId& cluster) const;
  /// Called when a remote cluster came, changed its credentials or went.
  void OnClustersChanged(std::function<void()> callback) {
    clusters_changed_ = std::move(callback);
  }
  /// Objects and secrets that are left out, with the reasons.
  std::map<std::string, std::string> Problems() const;

 private:
  struct Remote;
  struct Link;

  void WatchOwn();
  void ApplySecret(const std::string& key, const Json* now);
  void Connect(Remote& remote, const RemoteCluster& cluster);
  void OnLinkSynced(Remote& remote);
  void OnLinkHealth(Remote& remote, Link& link, const base::Status& status);
  void AddRemote(const RemoteCluster& cluster);
  void RemoveRemote(const model::ClusterId& id);
  Remote* FindRemote(const model::ClusterId& id) const;
  void ApplyMeshConfig(const Json* now);
  void UseMeshConfig();
  void ApplyRemoteMeshConfig(const model::ClusterId& cluster, const Json* now);
  void LoadStored(Remote& remote);
  void SaveStored();
  void ResolveGateways(bool again);
  void Schedule();
  void Flush();
  bool Settled() const;
  void CountClusters();
  void MeasureStaleness(const model::ClusterId& id);
  base::Duration StaleFor(const Remote& remote) const;
  void SetSync(Remote& remote, const std::string& sync);
  std::string StateFile(const model::ClusterId& cluster) const;

  base::Loop& loop_;
  kubeclient::Client& own_;
  const base::Clock& clock_;
  base::MetricRegistry& metrics_;
  const Options options_;
  const OnSnapshot on_snapshot_;
  std::function<void()> clusters_changed_;
  MeshState mesh_;
  RemoteSecrets secrets_;
  std::unique_ptr<ClusterWatch> own_watch_;
  base::Status own_health_;
  std::vector<std::unique_ptr<Remote>> remotes_;  ///< In the order in which they were added.
  std::map<std::string, std::shared_ptr<void>> resolving_;
  std::string mesh_problem_;
  /// Host of the discovery address that a remote cluster has for itself.
  std::map<model::ClusterId, std::string> discovery_hosts_;
  std::pair<std::string, std::string> map_texts_;  ///< What the ConfigMap says, used or not.
  std::unique_ptr<base::FileWatcher> mesh_files_;
  std::optional<std::pair<std::string, std::string>>
      mesh_texts_;  ///< Last seen, to skip events that say nothing new.
  base::Timer save_timer_;
  base::Timer resolve_timer_;
  bool scheduled_ = false;
  bool published_ = false;
  /// Guards tasks posted to the loop against running after the end.
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace isthmus::registry
