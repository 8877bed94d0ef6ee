#pragma once

#include <string>
#include <vector>

namespace isthmus::agent {

/// The program `isthmus-agent`, also installed as `pilot-agent`: proxy, istio-iptables, request,
/// wait, version. `args` without the program's name; the exit code.
int Main(const std::vector<std::string>& args);

}  // namespace isthmus::agent
