#include "pki/spiffe.h"

#include <fmt/format.h>

#include <algorithm>

namespace isthmus::pki {
namespace {

bool IsSegment(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_';
  });
}

/// Takes the text up to the next slash off `rest`.
std::string_view TakeSegment(std::string_view& rest) {
  const size_t slash = rest.find('/');
  const std::string_view segment = rest.substr(0, slash);
  rest = slash == std::string_view::npos ? std::string_view() : rest.substr(slash + 1);
  return segment;
}

}  // namespace

base::Result<SpiffeId> SpiffeId::Parse(std::string_view uri) {
  constexpr std::string_view kScheme = "spiffe://";
  const auto refuse = [&](std::string_view why) {
    return base::Error(
        base::Code::kInvalidArgument,
        "\"{}\" is not of the form spiffe://<trust domain>/ns/<namespace>/sa/<service account>: {}",
        uri.substr(0, 256), why);
  };
  if (!uri.starts_with(kScheme)) return refuse("the scheme is not spiffe");
  std::string_view rest = uri.substr(kScheme.size());
  const std::string_view trust_domain = TakeSegment(rest);
  const std::string_view ns_word = TakeSegment(rest);
  const std::string_view ns = TakeSegment(rest);
  const std::string_view sa_word = TakeSegment(rest);
  if (ns_word != "ns" || sa_word != "sa") return refuse("path has not the parts ns and sa");
  if (!IsSegment(trust_domain)) return refuse("bad trust domain");
  if (!IsSegment(ns)) return refuse("bad namespace");
  if (!IsSegment(rest)) return refuse("bad service account");
  return SpiffeId{std::string(trust_domain), std::string(ns), std::string(rest)};
}

std::string SpiffeId::uri() const {
  return fmt::format("spiffe://{}/ns/{}/sa/{}", trust_domain, ns, service_account);
}

}  // namespace isthmus::pki
