#pragma once

#include <string>
#include <vector>

namespace isthmus::agent {

/// The commands as programs: arguments without the command's name, exit code back.
int RunProxy(const std::vector<std::string>& args);
int RunRequest(const std::vector<std::string>& args);
int RunWait(const std::vector<std::string>& args);

}  // namespace isthmus::agent
