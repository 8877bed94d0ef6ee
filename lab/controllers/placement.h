#pragma once

#include "kubeapi/json.h"

namespace isthmus::lab::controllers {

using kubeapi::Json;

/// Whether a pod with this spec may run on the node: ready, schedulable, fits node selector and
/// required node affinity, tolerates its taints. `daemon` tolerates what daemon sets tolerate by
/// themselves.
bool FitsNode(const Json& pod_spec, const Json& node, bool daemon);

}  // namespace isthmus::lab::controllers
