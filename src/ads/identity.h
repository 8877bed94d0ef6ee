#pragma once

#include <string>
#include <vector>

#include "ads/node.h"
#include "base/result.h"

namespace isthmus::ads {

/// The namespace that the caller has proved for its node: one of its identities must have the
/// node's namespace and, when the node names one, its service account. The trust domain is not
/// compared: the chain to a root of the mesh was checked before. Otherwise kPermissionDenied.
base::Result<std::string> CheckIdentity(const Node& node,
                                        const std::vector<std::string>& identities);

}  // namespace isthmus::ads
