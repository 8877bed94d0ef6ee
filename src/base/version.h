#pragma once

#include <string_view>

namespace isthmus::base {

/// The version of every program of this build, as VERSION columns and proxies' ISTIO_VERSION show
/// it.
inline constexpr std::string_view kVersion = ISTHMUS_VERSION;

}  // namespace isthmus::base
