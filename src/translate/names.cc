#include "translate/names.h"

#include <arpa/inet.h>
#include <fmt/format.h>

namespace isthmus::translate {

std::string OutboundName(int port, std::string_view subset, std::string_view host) {
  return fmt::format("outbound|{}|{}|{}", port, subset, host);
}

std::string SniName(int port, std::string_view subset, std::string_view host) {
  return fmt::format("outbound_.{}_.{}_.{}", port, subset, host);
}

std::string InboundName(int port) { return fmt::format("inbound|{}||", port); }

bool HostCovers(std::string_view pattern, std::string_view host) {
  if (pattern == "*" || pattern == host) return true;
  if (!pattern.starts_with('*')) return false;
  const std::string_view suffix = pattern.substr(1);
  if (host.starts_with('*')) return host.substr(1).ends_with(suffix);
  return host.size() > suffix.size() && host.ends_with(suffix);
}

bool HostsOverlap(std::string_view a, std::string_view b) {
  return HostCovers(a, b) || HostCovers(b, a);
}

bool MoreSpecificHost(std::string_view a, std::string_view b) {
  const bool wild_a = a.starts_with('*');
  const bool wild_b = b.starts_with('*');
  if (wild_a != wild_b) return wild_b;
  if (a.size() != b.size()) return a.size() > b.size();
  return a < b;
}

std::string FullHost(std::string_view host, std::string_view ns, std::string_view domain_suffix) {
  if (host.find('.') != std::string_view::npos || host.find('*') != std::string_view::npos ||
      host.empty()) {
    return std::string(host);
  }
  return fmt::format("{}.{}.svc.{}", host, ns, domain_suffix);
}

bool IsIpv6(std::string_view address) { return address.find(':') != std::string_view::npos; }

bool IsIpAddress(std::string_view address) {
  unsigned char buffer[sizeof(in6_addr)];
  const std::string text(address);
  return inet_pton(AF_INET, text.c_str(), buffer) == 1 ||
         inet_pton(AF_INET6, text.c_str(), buffer) == 1;
}

}  // namespace isthmus::translate
