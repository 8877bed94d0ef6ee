#pragma once

#include <map>
#include <string>

#include "base/result.h"

namespace isthmus::lab::world {

/// The programs of the mesh by name: those beside `program`, and Envoy where $ISTHMUS_ENVOY or the
/// set-up put it. What is not found is not in the map.
std::map<std::string, std::string> FindPrograms(const std::string& program);

/// Whether all are there that pods of a mesh run; the error names what is missing and where it
/// comes from.
base::Status CheckMeshPrograms(const std::string& program);

}  // namespace isthmus::lab::world
