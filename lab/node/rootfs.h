#pragma once

#include <string>

#include "base/result.h"
#include "lab/node/container_config.h"

namespace isthmus::lab::node {

/// Gives the calling process, which must be alone in a new mount namespace and the first of a new
/// process namespace, the container's view of files: the machine's own root below a layer in
/// memory, so that whatever is written or mounted touches nothing of the machine; /proc, /sys and
/// /dev of its own; the image's programs; the pod's volumes. `dir` is the container's folder. After
/// it, "/" is the container's.
base::Status EnterRootfs(const ContainerConfig& config, const std::string& dir);

}  // namespace isthmus::lab::node
