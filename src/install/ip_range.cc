#include "install/ip_range.h"

#include <arpa/inet.h>

#include <charconv>
#include <string>

namespace isthmus::install {

base::Result<IpRange> IpRange::Parse(std::string_view text) {
  auto wrong = [&](std::string_view why) {
    return base::Error(base::Code::kInvalidArgument, "\"{}\" is no IPv4 range: {}", text, why);
  };
  size_t slash = text.find('/');
  if (slash == std::string_view::npos) return wrong("it has no /length");
  in_addr address{};
  if (inet_pton(AF_INET, std::string(text.substr(0, slash)).c_str(), &address) != 1)
    return wrong("its address does not parse");
  unsigned length = 33;
  std::string_view digits = text.substr(slash + 1);
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), length);
  if (error != std::errc() || end != digits.data() + digits.size() || length > 32)
    return wrong("its length is not 0 to 32");
  uint32_t mask = length == 0 ? 0 : ~uint32_t{0} << (32 - length);
  IpRange range;
  range.first_ = ntohl(address.s_addr) & mask;
  range.last_ = range.first_ | ~mask;
  return range;
}

bool IpRange::Overlaps(const IpRange& other) const {
  return first_ <= other.last_ && other.first_ <= last_;
}

}  // namespace isthmus::install
