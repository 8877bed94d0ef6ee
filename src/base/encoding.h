#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace isthmus::base {

/// RFC 4648 with padding.
std::string Base64Encode(std::string_view bytes);
/// The alphabet for URLs and tokens, without padding.
std::string Base64UrlEncode(std::string_view bytes);
/// Accepts both alphabets, with and without padding, and line breaks (as in PEM and YAML).
Result<std::string> Base64Decode(std::string_view text);

std::string HexEncode(std::string_view bytes);
Result<std::string> HexDecode(std::string_view text);

/// A fast hash for content versions and sharding. The same on every machine and in every release,
/// so it may be written down; not for secrets (no key) and not against attackers.
uint64_t Hash64(std::string_view bytes, uint64_t seed = 0);

}  // namespace isthmus::base
