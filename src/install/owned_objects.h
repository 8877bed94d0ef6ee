#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "install/cluster_access.h"

namespace isthmus::install {

/// The kinds that an installation may own, in the order in which they are deleted.
/// `definitions` adds CustomResourceDefinitions.
base::Result<std::vector<Resource>> OwnedKinds(ClusterAccess& cluster, bool definitions);

/// Objects of all those kinds with the labels, together with their resource.
struct Owned {
  Resource resource;
  Json object;
};
base::Result<std::vector<Owned>> FindOwned(ClusterAccess& cluster,
                                           const std::string& label_selector, bool definitions);

}  // namespace isthmus::install
