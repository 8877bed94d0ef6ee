#pragma once

#include <set>
#include <string>

#include "config/mesh.h"

namespace isthmus::registry {

/// Answers: does a host show only the endpoints of the proxy's own cluster? From
/// meshConfig.serviceSettings and the hosts that are so by default: kube-system, the API server and
/// istiod itself. A value.
class ClusterLocalHosts {
 public:
  ClusterLocalHosts() = default;
  ClusterLocalHosts(const istio::mesh::v1alpha1::MeshConfig& mesh,
                    const std::string& domain_suffix);
  bool Contains(const std::string& hostname) const;

 private:
  std::set<std::string> local_;
  std::set<std::string> global_;
};

}  // namespace isthmus::registry
