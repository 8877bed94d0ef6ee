#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "install/mesh_session.h"

namespace isthmus::install {

/// Runs a command in a container and gives its standard output; verify is handed one, since it does
/// not care how.
using PodCommand = std::function<base::Result<std::string>(
    ClusterAccess& access, const std::string& ns, const std::string& pod,
    const std::string& container, const std::vector<std::string>& argv)>;

/// What verify found of one kind of thing in one cluster.
struct VerifyLine {
  std::string cluster;
  std::string
      what;  ///< "proxies", "endpoints of productpage-v1-7d4.istio", "200 requests to http://..."
  bool ok = false;
  std::string detail;  ///< For failures: each difference with the object that causes it; else a
                       ///< short figure.
};

struct VerifyOptions {
  /// How long a mesh that is still settling may take to be as expected.
  base::Duration settle = std::chrono::seconds(30);
  bool traffic = true;
};

/// Compares what every Envoy holds with what the clusters' own API servers say it should, then
/// makes the topology's requests. An error only when the clusters cannot be asked; differences are
/// lines that are not ok.
base::Result<std::vector<VerifyLine>> Verify(MeshSession& session, const PodCommand& run,
                                             const VerifyOptions& options);

}  // namespace isthmus::install
