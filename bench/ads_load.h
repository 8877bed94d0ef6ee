#pragma once

#include <string>

namespace isthmus::bench {

struct LoadOptions {
  std::string url = "http://127.0.0.1:15010";
  std::string kubeconfig;  ///< Of the API server whose objects are changed; empty changes nothing.
  std::string cluster_id = "Kubernetes";
  int pid = 0;  ///< Of the server, for its CPU time and memory; 0 leaves them out.
  int proxies = 200;
  int namespaces = 10;   ///< As in the world: proxies are spread over them.
  int hold_seconds = 0;  ///< How long the streams stay open at the end.
  int changes = 20;      ///< Of endpoints, and as many of a VirtualService.
};

/// Opens the streams, then changes endpoints and routes, and prints what each step took. The exit
/// code.
int RunLoad(const LoadOptions& options);

}  // namespace isthmus::bench
