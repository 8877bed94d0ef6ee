#pragma once

#include <string>

#include "lab/apiserver/kind.h"

namespace isthmus::lab::apiserver {

/// "5m30s", "22h", "3d4h": an age as kubectl prints it.
std::string HumanDuration(int64_t seconds);
/// The age of an RFC 3339 time at `now` (Unix seconds), or "<unknown>".
std::string HumanAge(const std::string& time, int64_t now);

/// The columnDefinitions of a kind's Table.
Json TableColumns(const KindVersion& version);
/// One row. `include` is the includeObject option: "None", "Metadata" or "Object".
Json TableRow(const KindVersion& version, const Json& object, const std::string& include,
              int64_t now);
/// The PartialObjectMetadata of an object.
Json PartialMetadata(const Json& object);

}  // namespace isthmus::lab::apiserver
