#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "install/mesh_session.h"
#include "install/mesh_views.h"

namespace isthmus::install {

/// Runs a command in a container and gives its standard output; verify is handed one, since it does
/// not care how.
using PodCommand = std::function<base::Result<std::string>(
    ClusterAccess& access, const std::string& ns, const std::string& pod,
    const std::string& container, const std::vector<std::string>& argv)>;

/// What verify found of one kind of thing in one cluster.
struct VerifyLine {
  std::string cluster;
  /// "endpoints of productpage-v1-7d4.istio", "200 requests to http://...", "Namespace
  /// istio-system"
  std::string what;
  bool ok = false;
  /// For failures: each difference with the object that causes it; else a short figure.
  std::string detail;
};

/// One row of the traffic matrix: who answered a client's requests.
struct TrafficRow {
  std::string cluster;
  std::string from;  ///< "sample/sleep"
  std::string url;
  int requests = 0;
  int failed = 0;
  /// Requests that its Envoy sent to each cluster; "cluster2+cluster3" for a gateway of both.
  std::map<std::string, int> answered_by;
};

struct VerifyReport {
  std::vector<VerifyLine> lines;
  std::vector<ServiceView> views;
  std::vector<TrafficRow> traffic;
  std::vector<Finding> findings;  ///< What is wrong, and what is the cause of a difference.
  int wrong() const;
};

struct VerifyOptions {
  /// How long a mesh that is still settling may take to be as expected; much less when an object is
  /// found wrong that time will not mend.
  base::Duration settle = std::chrono::seconds(30);
  bool traffic = true;
};

/// Compares what every Envoy holds with what the clusters' own API servers say it should, then
/// makes the topology's requests, and names the object behind each difference. An error only when
/// the clusters cannot be asked; differences are lines that are not ok.
base::Result<VerifyReport> Verify(MeshSession& session, const PodCommand& run,
                                  const VerifyOptions& options);

}  // namespace isthmus::install
