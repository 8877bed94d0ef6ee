#pragma once

#include <charconv>
#include <string>

namespace isthmus::translate {

/// Writes "10.0.0.0/8" or a single address to a CidrRange.
template <typename CidrRange>
void WriteRange(const std::string& text, CidrRange* range) {
  const size_t slash = text.find('/');
  const std::string address = text.substr(0, slash);
  uint32_t length = address.find(':') == std::string::npos ? 32 : 128;
  if (slash != std::string::npos) {
    std::from_chars(text.data() + slash + 1, text.data() + text.size(), length);
  }
  range->set_address_prefix(address);
  range->mutable_prefix_len()->set_value(length);
}

}  // namespace isthmus::translate
