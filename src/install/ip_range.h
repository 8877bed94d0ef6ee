#pragma once

#include <cstdint>
#include <string_view>

#include "base/result.h"

namespace isthmus::install {

/// An IPv4 range in CIDR form. A value.
class IpRange {
 public:
  /// "172.20.0.0/16"; the error says what is wrong with the text.
  static base::Result<IpRange> Parse(std::string_view text);
  bool Overlaps(const IpRange& other) const;

 private:
  uint32_t first_ = 0;
  uint32_t last_ = 0;
};

}  // namespace isthmus::install
