#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
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

/// The clusters of a topology, each with a loop and a client of its own, worked on side by side by
/// one thread each. Not thread-safe itself: OnEach() is called from the thread that made it.
class MeshSession {
 public:
  /// Connects by the contexts of `kubeconfig` (empty: kubectl's own). The error names each cluster
  /// that cannot be used.
  static base::Result<std::unique_ptr<MeshSession>> Open(const Topology& topology,
                                                         const std::string& kubeconfig,
                                                         ClusterLine report);
  ~MeshSession();

  using Work = std::function<base::Status(const TopologyCluster& cluster, ClusterAccess& access)>;
  /// Runs `work` for each of the clusters at once and waits for all. Errors are joined, each with
  /// its cluster's name.
  base::Status OnEach(const std::vector<const TopologyCluster*>& clusters, const Work& work);
  base::Status OnAll(const Work& work);
  ClusterAccess& access(const std::string& cluster);
  /// Says a line about a cluster. Any thread.
  void Report(std::string_view cluster, std::string_view line);
  const Topology& topology() const { return topology_; }

 private:
  struct Member;
  MeshSession(const Topology& topology, ClusterLine report);

  const Topology& topology_;
  ClusterLine report_;
  std::mutex reporting_;
  std::map<std::string, std::unique_ptr<Member>> members_;
};

}  // namespace isthmus::install
