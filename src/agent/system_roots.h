#pragma once

#include <string>

namespace isthmus::agent {

/// The file in which the operating system keeps the roots that it believes (Debian's, Red Hat's,
/// SUSE's or Alpine's place), or "" when there is none.
std::string SystemRootsFile();

}  // namespace isthmus::agent
