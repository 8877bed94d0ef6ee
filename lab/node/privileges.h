#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "lab/node/container_config.h"

namespace isthmus::lab::node {

/// The kernel's capabilities that a container keeps: the usual fourteen, plus and minus what it
/// asks for.
base::Result<uint64_t> CapabilitySet(const ContainerConfig& config);

/// Turns the calling process into the container's user with its groups and capabilities. For good.
base::Status TakeIdentity(const ContainerConfig& config);

}  // namespace isthmus::lab::node
