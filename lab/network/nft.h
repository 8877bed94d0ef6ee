#pragma once

#include <string_view>

#include "base/result.h"

namespace isthmus::lab::network {

/// Hands a script to `nft -f -` in the current network namespace. All of it takes effect at once,
/// or nothing; the error carries what nft says.
base::Status ApplyNft(std::string_view script);

}  // namespace isthmus::lab::network
