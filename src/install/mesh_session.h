#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/loop.h"
#include "base/result.h"
#include "install/cluster_access.h"
#include "install/topology.h"

namespace isthmus::install {

/// Takes lines about clusters while the work goes on. Called from several threads, one at a time.
using ClusterLine = std::function<void(std::string_view cluster, std::string_view line)>;

struct MeshSessionOptions {
  /// Names of those that are left out: there is nothing to connect to.
  std::set<std::string> absent;
  /// Whether it is an error that a host of a control plane cannot be reached.
  bool with_hosts = true;
};

/// The clusters of a topology, each with a loop and a client of its own, worked on side by side by
/// one thread each. Not thread-safe itself: OnEach() is called from the thread that made it.
class MeshSession {
 public:
  /// Connects by the contexts of `kubeconfig` (empty: kubectl's own). The error names each cluster
  /// that cannot be used.
  using Options = MeshSessionOptions;
  static base::Result<std::unique_ptr<MeshSession>> Open(const Topology& topology,
                                                         const std::string& kubeconfig,
                                                         ClusterLine report, Options options = {});
  ~MeshSession();

  using Work = std::function<base::Status(const TopologyCluster& cluster, ClusterAccess& access)>;
  /// Runs `work` for each of the clusters at once and waits for all. Errors are joined, each with
  /// its cluster's name.
  base::Status OnEach(const std::vector<const TopologyCluster*>& clusters, const Work& work);
  base::Status OnAll(const Work& work);
  using HostWork = std::function<base::Status(const TopologyHost& host, ClusterAccess& access)>;
  /// Runs `work` for each host of a control plane, one after the other.
  base::Status OnHosts(const HostWork& work);
  /// Of a cluster, or of a host of a control plane.
  ClusterAccess& access(const std::string& cluster);
  bool has(const std::string& cluster) const { return members_.contains(cluster); }
  /// Says a line about a cluster. Any thread.
  void Report(std::string_view cluster, std::string_view line);
  const Topology& topology() const { return topology_; }

 private:
  struct Member;
  MeshSession(const Topology& topology, ClusterLine report);
  base::Status Connect(const std::string& name, const std::string& context,
                       const std::string& kubeconfig);

  const Topology& topology_;
  ClusterLine report_;
  std::mutex reporting_;
  std::map<std::string, std::unique_ptr<Member>> members_;
};

}  // namespace isthmus::install
