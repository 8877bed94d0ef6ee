#pragma once

#include <compare>
#include <string>
#include <string_view>

namespace isthmus::kubeapi {

/// Which REST resource: group "apps", version "v1", plural "deployments". The core group is "".
struct Resource {
  std::string group;
  std::string version;
  std::string plural;
  std::string kind;  ///< "Deployment"
  bool namespaced = true;

  /// "v1" or "apps/v1", as in an object's apiVersion.
  std::string api_version() const { return group.empty() ? version : group + "/" + version; }
  /// "/apis/apps/v1/namespaces/<ns>/deployments/<name>"; without `name` the collection, without
  /// `ns` all namespaces or a cluster-scoped resource.
  std::string Path(std::string_view ns, std::string_view name = {}) const;
  auto operator<=>(const Resource&) const = default;
};

}  // namespace isthmus::kubeapi
