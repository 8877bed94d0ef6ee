#pragma once

#include <string>
#include <vector>

#include "cli/session.h"

namespace isthmus::cli {

/// Runs one command line (without the program's name) and gives its exit code: 0 success, 1
/// failure, 64 a command line that makes no sense; `analyze` has 65 and 79 of its own.
int Run(const std::string& program, std::vector<std::string> arguments, Io io);

}  // namespace isthmus::cli
