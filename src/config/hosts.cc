#include "config/hosts.h"

#include <fmt/format.h>

namespace isthmus::config {

bool IsWildcardHost(std::string_view host) { return host.starts_with('*'); }

bool HostsOverlap(std::string_view a, std::string_view b) {
  if (!IsWildcardHost(a) && !IsWildcardHost(b)) return a == b;
  if (!IsWildcardHost(a)) return a.ends_with(b.substr(1));
  if (!IsWildcardHost(b)) return b.ends_with(a.substr(1));
  return a.substr(1).ends_with(b.substr(1)) || b.substr(1).ends_with(a.substr(1));
}

bool HostWithin(std::string_view host, std::string_view pattern) {
  if (!IsWildcardHost(pattern)) return host == pattern;
  if (IsWildcardHost(host)) return host.substr(1).ends_with(pattern.substr(1));
  return host.ends_with(pattern.substr(1));
}

bool MoreSpecificHost(std::string_view a, std::string_view b) {
  if (IsWildcardHost(a) != IsWildcardHost(b)) return IsWildcardHost(b);
  if (a.size() != b.size()) return a.size() > b.size();
  return a < b;
}

std::string FullHost(std::string_view host, std::string_view ns, std::string_view domain) {
  if (IsWildcardHost(host) || host.find('.') != std::string_view::npos || host.empty())
    return std::string(host);
  return fmt::format("{}.{}.svc.{}", host, ns, domain);
}

}  // namespace isthmus::config
