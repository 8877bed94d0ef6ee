#pragma once

#include <string>

#include "kubeapi/json.h"
#include "kubeapi/resource.h"

namespace isthmus::bench {

/// The world that the budgets are measured in: services spread over namespaces, each with its pods,
/// two ports each.
struct WorldOptions {
  int services = 1000;
  int pods = 5;  ///< Of each service.
  int namespaces = 10;
};

inline const kubeapi::Resource kVirtualServices{"networking.istio.io", "v1", "virtualservices",
                                                "VirtualService", true};

std::string NamespaceName(int i);
std::string ServiceName(int service);
std::string SliceName(int service);
std::string PodName(int service, int pod);
std::string PodAddress(int service, int pod);
/// A VirtualService of a service with one match on that prefix.
kubeapi::Json RouteOf(int service, const std::string& prefix);

/// Writes the world into the API server of the kubeconfig, CRDs included; what is there already
/// stays. The exit code.
int WriteWorld(const std::string& kubeconfig, const WorldOptions& options);

}  // namespace isthmus::bench
