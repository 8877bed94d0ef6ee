#pragma once

#include <string>
#include <string_view>

namespace isthmus::config {

/// Host names of the mesh: exact ("a.example.com") or wildcards ("*", "*.example.com").
bool IsWildcardHost(std::string_view host);

/// Whether some name is meant by both; either may be a wildcard.
bool HostsOverlap(std::string_view a, std::string_view b);

/// Whether every name meant by `host` is meant by `pattern`.
bool HostWithin(std::string_view host, std::string_view pattern);

/// Exact names before wildcards, longer before shorter, then by letter: the first of several
/// matches in this order is the most specific.
bool MoreSpecificHost(std::string_view a, std::string_view b);

/// The full name of `host` as an object in `ns` means it: "reviews" is "reviews.<ns>.svc.<domain>";
/// names with a dot and wildcards stay.
std::string FullHost(std::string_view host, std::string_view ns, std::string_view domain);

/// The most specific of `patterns` (any range of strings) that covers `host`, or null.
template <typename Range>
const std::string* MostSpecificHost(std::string_view host, const Range& patterns) {
  const std::string* best = nullptr;
  for (const std::string& pattern : patterns)
    if (HostWithin(host, pattern) && (best == nullptr || MoreSpecificHost(pattern, *best)))
      best = &pattern;
  return best;
}

}  // namespace isthmus::config
