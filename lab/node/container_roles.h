#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "lab/node/container_config.h"

namespace isthmus::lab::node {

/// Starts the container of a folder; returns the exit code of the role `container-run`.
int RunContainer(const std::string& dir);
/// The role `container-enter DIR PID TTY -- command...`; returns the command's exit code.
int EnterContainer(const std::vector<std::string>& args);

/// Turns the calling process into `args` with the container's identity, environment and working
/// directory. Comes back only when that fails. REQUIRES: inside the container's namespaces.
base::Status ExecuteIn(const ContainerConfig& config, const std::vector<std::string>& args);

}  // namespace isthmus::lab::node
