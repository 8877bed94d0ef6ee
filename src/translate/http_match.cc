#include "envoy/config/route/v3/route_components.pb.h"
#include "istio/networking/v1/virtual_service.pb.h"
#include "translate/http_route.h"

namespace isthmus::translate {
namespace {

namespace v1 = istio::networking::v1;
namespace route = envoy::config::route::v3;
using envoy::type::matcher::v3::StringMatcher;

bool Present(const v1::StringMatch& match) {
  switch (match.match_type_case()) {
    case v1::StringMatch::kExact:
      return false;
    case v1::StringMatch::kPrefix:
      return match.prefix().empty();
    case v1::StringMatch::kRegex:
      return match.regex().empty() || match.regex() == "*";
    default:
      return true;
  }
}

void WriteText(const v1::StringMatch& match, StringMatcher* out) {
  if (match.has_prefix()) {
    out->set_prefix(match.prefix());
  } else if (match.has_regex()) {
    out->mutable_safe_regex()->set_regex(match.regex());
  } else {
    out->set_exact(match.exact());
  }
}

void WriteHeader(const std::string& name, const v1::StringMatch& match, bool invert,
                 route::RouteMatch* out) {
  auto* header = out->add_headers();
  header->set_name(name);
  header->set_invert_match(invert);
  if (Present(match)) {
    header->set_present_match(true);
    return;
  }
  WriteText(match, header->mutable_string_match());
  // A request without the header does not have the unwanted value.
  if (invert) header->set_treat_missing_header_as_empty(true);
}

/// "@request.auth.claims.a" and "@request.auth.claims[a][b]": claims of a checked token.
bool WriteClaim(const std::string& key, const v1::StringMatch& match, bool invert,
                route::RouteMatch* out) {
  constexpr std::string_view kPrefix = "@request.auth.claims";
  if (!key.starts_with(kPrefix) || key.size() <= kPrefix.size() + 1) return false;
  std::vector<std::string> path;
  std::string_view rest = std::string_view(key).substr(kPrefix.size());
  if (rest.front() == '.') {
    path.emplace_back(rest.substr(1));
  } else {
    while (rest.starts_with('[')) {
      const size_t end = rest.find(']');
      if (end == std::string_view::npos) break;
      path.emplace_back(rest.substr(1, end - 1));
      rest.remove_prefix(end + 1);
    }
  }
  if (path.empty()) return false;
  auto* metadata = out->add_dynamic_metadata();
  metadata->set_filter("envoy.filters.http.jwt_authn");
  metadata->set_invert(invert);
  metadata->add_path()->set_key("payload");
  for (const std::string& step : path) metadata->add_path()->set_key(step);
  auto* value = metadata->mutable_value();
  auto* alternatives = value->mutable_or_match();
  auto* single = alternatives->add_value_matchers();
  auto* listed = alternatives->add_value_matchers()->mutable_list_match()->mutable_one_of();
  if (Present(match)) {
    single->set_present_match(true);
    listed->set_present_match(true);
  } else {
    WriteText(match, single->mutable_string_match());
    WriteText(match, listed->mutable_string_match());
  }
  return true;
}

void WriteUri(const v1::HTTPMatchRequest& match, route::RouteMatch* out) {
  const v1::StringMatch& uri = match.uri();
  if (uri.has_exact() && !uri.exact().empty()) {
    out->set_path(uri.exact());
  } else if (uri.has_regex() && !uri.regex().empty()) {
    out->mutable_safe_regex()->set_regex(uri.regex());
  } else {
    out->set_prefix(uri.has_prefix() && !uri.prefix().empty() ? uri.prefix() : "/");
  }
  if (!out->has_safe_regex()) out->mutable_case_sensitive()->set_value(!match.ignore_uri_case());
}

/// Maps of a message have no order of their own; matches are written in the order of their keys.
template <typename Map>
std::map<std::string, v1::StringMatch> Sorted(const Map& map) {
  return {map.begin(), map.end()};
}

}  // namespace

bool WriteMatch(const v1::HTTPMatchRequest* match, bool gateway, route::RouteMatch* out) {
  if (match == nullptr) {
    out->set_prefix("/");
    return true;
  }
  WriteUri(*match, out);
  auto pseudo = [&](const char* name, bool has, const v1::StringMatch& value) {
    if (has && value.match_type_case() != v1::StringMatch::MATCH_TYPE_NOT_SET)
      WriteHeader(name, value, false, out);
  };
  for (const auto& [name, value] : Sorted(match->headers())) {
    if (gateway && WriteClaim(name, value, false, out)) continue;
    if (!name.starts_with('@')) WriteHeader(name, value, false, out);
  }
  for (const auto& [name, value] : Sorted(match->without_headers())) {
    if (gateway && WriteClaim(name, value, true, out)) continue;
    if (!name.starts_with('@')) WriteHeader(name, value, true, out);
  }
  pseudo(":method", match->has_method(), match->method());
  pseudo(":authority", match->has_authority(), match->authority());
  pseudo(":scheme", match->has_scheme(), match->scheme());
  for (const auto& [name, value] : Sorted(match->query_params())) {
    auto* parameter = out->add_query_parameters();
    parameter->set_name(name);
    if (Present(value)) {
      parameter->set_present_match(true);
    } else {
      WriteText(value, parameter->mutable_string_match());
    }
  }
  const bool any_path =
      out->prefix() == "/" || (out->has_safe_regex() && out->safe_regex().regex() == ".*");
  return any_path && out->headers().empty() && out->query_parameters().empty() &&
         out->dynamic_metadata().empty();
}

}  // namespace isthmus::translate
