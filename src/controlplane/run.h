#pragma once

#include <string>
#include <vector>

namespace isthmus::controlplane {

/// The program: reads its settings, runs the control plane until SIGTERM or SIGINT, drains, and
/// gives the exit code.
int Run(const std::vector<std::string>& arguments);

}  // namespace isthmus::controlplane
