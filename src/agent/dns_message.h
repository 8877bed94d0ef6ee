#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace isthmus::agent {

inline constexpr uint16_t kDnsA = 1, kDnsCname = 5, kDnsAaaa = 28;
enum class DnsCode : uint8_t {
  kOk = 0,
  kFormatError = 1,
  kServerFailure = 2,
  kNameError = 3,
  kNotImplemented = 4
};

/// The part of a DNS query that the proxy understands. A value.
struct DnsQuery {
  uint16_t id = 0;
  bool recursion_desired = false;
  std::string name;  ///< Lower case, without the last dot; "" is the root.
  uint16_t type = 0;
  uint16_t dns_class = 1;
  size_t udp_size = 512;  ///< What the client takes over UDP (EDNS).
  std::string question;   ///< As it stood in the message: the answer repeats its letters' case.
};
/// Refuses responses, other operations than queries, and anything but one question.
base::Result<DnsQuery> ParseDnsQuery(std::string_view message);

struct DnsRecord {
  std::string name;
  uint16_t type = kDnsA;
  uint32_t ttl = 30;
  std::string data;  ///< 4 or 16 bytes of an address, or the target name of a CNAME.
};
/// `limit` 0: none (TCP). What does not fit is left out and the answer marked as truncated.
std::string MakeDnsAnswer(const DnsQuery& query, const std::vector<DnsRecord>& records,
                          DnsCode code, bool authoritative, size_t limit);

}  // namespace isthmus::agent
