#pragma once

#include <string>
#include <string_view>

#include "base/loop.h"
#include "base/result.h"

namespace isthmus::base {

/// Go's form: "1h30m", "1.5s", "-250ms", "0"; units ns, us (µs), ms, s, m, h.
Result<Duration> ParseDuration(std::string_view text);
/// As Go prints it: "1h30m0s", "1.5s", "250ms", "0s".
std::string FormatDuration(Duration duration);

}  // namespace isthmus::base
