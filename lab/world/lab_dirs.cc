#include "lab/world/lab_dirs.h"

#include <cstdlib>
#include <filesystem>

namespace isthmus::lab::world {

LabDirs LabDirs::FromEnvironment() {
  const char* dir = getenv("ISTHMUS_LAB_DIR");
  if (dir == nullptr || dir[0] == '\0') return {"/var/lib/isthmus/lab"};
  // The lab's processes do not share our working directory.
  return {std::filesystem::absolute(dir).lexically_normal().string()};
}

}  // namespace isthmus::lab::world
