#pragma once

#include "translate/class_inputs.h"
#include "translate/envoy_filters.h"

namespace isthmus::translate {

/// Which resources are patched: they decide what a patch's context means.
enum class PatchSide { kInbound, kOutbound, kGateway };

/// These give the resources as the patches leave them; `patches` may be null. What was patched is
/// remembered by the workshop as long as `kept` holds it, and what did not change keeps its
/// address.
using KeptParts = std::vector<std::shared_ptr<const void>>;
Resources PatchClusters(const EnvoyPatchesPtr& patches, PatchSide side, Resources clusters,
                        Workshop* workshop, KeptParts* kept);
Resources PatchListeners(const EnvoyPatchesPtr& patches, PatchSide side, Resources listeners,
                         Workshop* workshop, KeptParts* kept);
Resources PatchRoutes(const EnvoyPatchesPtr& patches, PatchSide side, Resources routes,
                      Workshop* workshop, KeptParts* kept);

}  // namespace isthmus::translate
