#pragma once

#include <string_view>

#include "kubeapi/json.h"

namespace isthmus::kubeapi {

/// What a plain (unquoted) YAML scalar means to kubectl: YAML 1.1 words for null and booleans (yes,
/// on, y ...), integers with 0x, 0b, 0o or a leading 0 and underscores, floats; everything else,
/// dates too, is a string.
Json ResolveScalar(std::string_view text);

}  // namespace isthmus::kubeapi
