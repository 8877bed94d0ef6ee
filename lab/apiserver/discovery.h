#pragma once

#include <optional>
#include <string>

#include "lab/apiserver/engine.h"

namespace isthmus::lab::apiserver {

/// The documents that tell clients what is served: /api, /apis, /api/v1, /apis/<group>[/<version>],
/// each in the old form or (for /api and /apis) the aggregated one. Nothing when the path is none
/// of them or not served.
std::optional<Response> Discover(const Engine& engine, const Request& request);

/// The subresources of a kind at a version, status and scale among them.
std::vector<std::string> SubresourcesOf(const Kind& kind, const KindVersion& version);

}  // namespace isthmus::lab::apiserver
