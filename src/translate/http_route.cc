// Envoy still honours max_grpc_timeout, and Istio-built proxies expect it.
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

#include "translate/http_route.h"

#include <algorithm>
#include <charconv>

#include "envoy/config/route/v3/route_components.pb.h"
#include "envoy/extensions/retry/host/previous_hosts/v3/previous_hosts.pb.h"
#include "envoy/extensions/retry/priority/previous_priorities/v3/previous_priorities_config.pb.h"
#include "istio/networking/v1/destination_rule.pb.h"
#include "istio/networking/v1/virtual_service.pb.h"
#include "translate/convert.h"
#include "translate/names.h"
#include "translate/pack.h"
#include "translate/route_filters.h"

namespace isthmus::translate {
namespace {

namespace v1 = istio::networking::v1;
namespace route = envoy::config::route::v3;

constexpr char kRetryOn[] =
    "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes";

void AddPreviousHosts(route::RetryPolicy* policy) {
  auto* predicate = policy->add_retry_host_predicate();
  predicate->set_name("envoy.retry_host_predicates.previous_hosts");
  Pack(envoy::extensions::retry::host::previous_hosts::v3::PreviousHostsPredicate(),
       predicate->mutable_typed_config());
  policy->set_host_selection_retry_max_attempts(5);
}

/// Numbers in the list are status codes, the rest are conditions.
void WriteRetryOn(const std::string& text, route::RetryPolicy* policy) {
  std::string conditions;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    std::string_view item = std::string_view(text).substr(begin, end - begin);
    while (item.starts_with(' ')) item.remove_prefix(1);
    while (item.ends_with(' ')) item.remove_suffix(1);
    uint32_t code = 0;
    auto [rest, error] = std::from_chars(item.data(), item.data() + item.size(), code);
    if (error == std::errc() && rest == item.data() + item.size()) {
      policy->add_retriable_status_codes(code);
    } else if (!item.empty()) {
      conditions += (conditions.empty() ? "" : ",") + std::string(item);
    }
    begin = end + 1;
  }
  const bool codes = policy->retriable_status_codes_size() > 0;
  if (codes && conditions.find("retriable-status-codes") == std::string::npos) {
    conditions += std::string(conditions.empty() ? "" : ",") + "retriable-status-codes";
  }
  policy->set_retry_on(conditions);
}

void WriteRetries(const v1::HTTPRetry* retries, bool hashed, route::RouteAction* action) {
  if (retries == nullptr) {
    auto* policy = action->mutable_retry_policy();
    policy->set_retry_on(kRetryOn);
    policy->mutable_num_retries()->set_value(2);
    if (!hashed) AddPreviousHosts(policy);
    return;
  }
  if (retries->attempts() <= 0) return;
  auto* policy = action->mutable_retry_policy();
  policy->mutable_num_retries()->set_value(static_cast<uint32_t>(retries->attempts()));
  if (retries->retry_on().empty()) {
    policy->set_retry_on(kRetryOn);
  } else {
    WriteRetryOn(retries->retry_on(), policy);
  }
  const bool ignore =
      retries->has_retry_ignore_previous_hosts() && !retries->retry_ignore_previous_hosts().value();
  if (!hashed && !ignore) AddPreviousHosts(policy);
  if (Positive(retries->per_try_timeout()))
    *policy->mutable_per_try_timeout() = retries->per_try_timeout();
  if (Positive(retries->backoff()))
    *policy->mutable_retry_back_off()->mutable_base_interval() = retries->backoff();
  if (retries->retry_remote_localities().value()) {
    auto* priority = policy->mutable_retry_priority();
    priority->set_name("envoy.retry_priorities.previous_priorities");
    envoy::extensions::retry::priority::previous_priorities::v3::PreviousPrioritiesConfig previous;
    previous.set_update_frequency(2);
    Pack(previous, priority->mutable_typed_config());
  }
}

struct Target {
  std::string cluster;
  TrafficPolicy policy;
  std::shared_ptr<const MergedRule> rule;  ///< Keeps what `policy` points to.

  bool originates_tls() const {
    return policy.tls != nullptr && (policy.tls->mode() == v1::ClientTLSSettings::SIMPLE ||
                                     policy.tls->mode() == v1::ClientTLSSettings::MUTUAL);
  }
  const v1::LoadBalancerSettings::ConsistentHashLB* hash() const {
    const bool set = policy.load_balancer != nullptr && policy.load_balancer->has_consistent_hash();
    return set ? &policy.load_balancer->consistent_hash() : nullptr;
  }
};

Target TargetOf(const RouteContext& context, const std::string& host, int port,
                const std::string& subset) {
  Target target;
  target.cluster = OutboundName(port, subset, host);
  target.rule = context.destinations.FindRule(host);
  target.policy = PolicyFor(target.rule.get(), port, subset);
  return target;
}

Target TargetOf(const RouteContext& context, const v1::Destination& destination) {
  const std::string& host = destination.host();
  int port = static_cast<int>(destination.port().number());
  if (port == 0) {
    port = context.port;
    const ServicePtr service = context.destinations.FindService(host);
    if (service != nullptr && service->ports.size() == 1) port = service->ports.front().number;
  }
  return TargetOf(context, host, port, destination.subset());
}

void WriteHash(const v1::LoadBalancerSettings::ConsistentHashLB& hash, route::RouteAction* action) {
  using Hash = v1::LoadBalancerSettings::ConsistentHashLB;
  switch (hash.hash_key_case()) {
    case Hash::kHttpHeaderName:
      action->add_hash_policy()->mutable_header()->set_header_name(hash.http_header_name());
      return;
    case Hash::kHttpCookie: {
      auto* cookie = action->add_hash_policy()->mutable_cookie();
      cookie->set_name(hash.http_cookie().name());
      if (hash.http_cookie().has_ttl()) *cookie->mutable_ttl() = hash.http_cookie().ttl();
      cookie->set_path(hash.http_cookie().path());
      for (const auto& attribute : hash.http_cookie().attributes()) {
        auto* out = cookie->add_attributes();
        out->set_name(attribute.name());
        out->set_value(attribute.value());
      }
      return;
    }
    case Hash::kUseSourceIp:
      if (hash.use_source_ip())
        action->add_hash_policy()->mutable_connection_properties()->set_source_ip(true);
      return;
    case Hash::kHttpQueryParameterName:
      action->add_hash_policy()->mutable_query_parameter()->set_name(
          hash.http_query_parameter_name());
      return;
    default:
      return;
  }
}

bool IsHost(const std::string& name) {
  return name.size() == 4 && std::equal(name.begin(), name.end(), "host", [](char a, char b) {
           return std::tolower(static_cast<unsigned char>(a)) == b;
         });
}

/// Envoy refuses changes of pseudo headers and of Host.
bool Mutable(const std::string& name) {
  return !name.empty() && !name.starts_with(':') && !IsHost(name);
}

template <typename Options>
void AddHeaders(const google::protobuf::Map<std::string, std::string>& headers,
                envoy::config::core::v3::HeaderValueOption::HeaderAppendAction append,
                Options* options) {
  const std::map<std::string, std::string> sorted(headers.begin(), headers.end());
  for (const auto& [name, value] : sorted) {
    if (!Mutable(name)) continue;
    auto* option = options->Add();
    option->mutable_header()->set_key(name);
    option->mutable_header()->set_value(value);
    option->set_append_action(append);
  }
}

/// `Out` is a Route or a ClusterWeight. The host that requests are rewritten to is returned, not
/// set.
template <typename Out>
std::string WriteHeaders(const v1::Headers& headers, Out* out) {
  using Option = envoy::config::core::v3::HeaderValueOption;
  const auto& request = headers.request();
  const auto& response = headers.response();
  AddHeaders(request.add(), Option::APPEND_IF_EXISTS_OR_ADD, out->mutable_request_headers_to_add());
  AddHeaders(request.set(), Option::OVERWRITE_IF_EXISTS_OR_ADD,
             out->mutable_request_headers_to_add());
  AddHeaders(response.add(), Option::APPEND_IF_EXISTS_OR_ADD,
             out->mutable_response_headers_to_add());
  AddHeaders(response.set(), Option::OVERWRITE_IF_EXISTS_OR_ADD,
             out->mutable_response_headers_to_add());
  for (const std::string& name : request.remove()) {
    if (Mutable(name)) out->add_request_headers_to_remove(name);
  }
  for (const std::string& name : response.remove()) {
    if (Mutable(name)) out->add_response_headers_to_remove(name);
  }
  for (const auto* map : {&request.set(), &request.add()}) {
    for (const auto& [name, value] : *map) {
      if (IsHost(name) || name == ":authority") return value;
    }
  }
  return "";
}

void WriteRewrite(const v1::HTTPRewrite& rewrite, route::RouteAction* action) {
  if (rewrite.has_uri_regex_rewrite()) {
    action->mutable_regex_rewrite()->mutable_pattern()->set_regex(
        rewrite.uri_regex_rewrite().match());
    action->mutable_regex_rewrite()->set_substitution(rewrite.uri_regex_rewrite().rewrite());
  } else if (!rewrite.uri().empty()) {
    action->set_prefix_rewrite(rewrite.uri());
  }
  if (!rewrite.authority().empty()) action->set_host_rewrite_literal(rewrite.authority());
}

void WriteDirectResponse(uint32_t status, const std::string& body, route::Route* out) {
  out->mutable_direct_response()->set_status(status);
  if (!body.empty()) out->mutable_direct_response()->mutable_body()->set_inline_string(body);
}

void WriteRedirect(const v1::HTTPRedirect& redirect, int port, route::Route* out) {
  auto* action = out->mutable_redirect();
  if (!redirect.uri().empty()) action->set_path_redirect(redirect.uri());
  if (!redirect.authority().empty()) action->set_host_redirect(redirect.authority());
  if (!redirect.scheme().empty()) action->set_scheme_redirect(redirect.scheme());
  uint32_t to = redirect.port();
  if (redirect.redirect_port_case() == v1::HTTPRedirect::kDerivePort &&
      redirect.derive_port() == v1::HTTPRedirect::FROM_REQUEST_PORT) {
    to = static_cast<uint32_t>(port);
    if ((redirect.scheme() == "http" && to == 80) || (redirect.scheme() == "https" && to == 443))
      to = 0;
  }
  action->set_port_redirect(to);
  using Action = route::RedirectAction;
  switch (redirect.redirect_code()) {
    case 302:
      return action->set_response_code(Action::FOUND);
    case 303:
      return action->set_response_code(Action::SEE_OTHER);
    case 307:
      return action->set_response_code(Action::TEMPORARY_REDIRECT);
    case 308:
      return action->set_response_code(Action::PERMANENT_REDIRECT);
    default:
      return action->set_response_code(Action::MOVED_PERMANENTLY);
  }
}

void AddMirror(const RouteContext& context, const v1::Destination& destination, double percent,
               route::RouteAction* action) {
  if (percent <= 0) return;
  auto* mirror = action->add_request_mirror_policies();
  mirror->set_cluster(TargetOf(context, destination).cluster);
  WriteFraction(percent, mirror->mutable_runtime_fraction()->mutable_default_value());
  mirror->mutable_trace_sampled()->set_value(false);
  mirror->set_disable_shadow_host_suffix_append(true);
}

void WriteMirrors(const RouteContext& context, const v1::HTTPRoute& from,
                  route::RouteAction* action) {
  for (const auto& mirror : from.mirrors()) {
    AddMirror(context, mirror.destination(),
              mirror.has_percentage() ? mirror.percentage().value() : 100, action);
  }
  if (!from.mirrors().empty() || !from.has_mirror()) return;
  AddMirror(context, from.mirror(),
            from.has_mirror_percentage() ? from.mirror_percentage().value() : 100, action);
}

void WriteDestinations(const RouteContext& context, const v1::HTTPRoute& from, route::Route* out) {
  std::vector<const v1::HTTPRouteDestination*> chosen;
  for (const auto& destination : from.route()) {
    if (destination.weight() > 0 || from.route_size() == 1) chosen.push_back(&destination);
  }
  if (chosen.empty()) return WriteDirectResponse(500, "", out);
  auto* action = out->mutable_route();
  if (from.has_timeout()) {
    *action->mutable_timeout() = from.timeout();
    *action->mutable_max_grpc_timeout() = from.timeout();
  } else {
    action->mutable_timeout();
    action->mutable_max_grpc_timeout();
  }
  bool hashed = false;
  bool originates = false;
  for (const auto* destination : chosen) {
    const Target target = TargetOf(context, destination->destination());
    originates = originates || target.originates_tls();
    if (target.hash() != nullptr && !hashed) WriteHash(*target.hash(), action);
    hashed = hashed || target.hash() != nullptr;
    if (chosen.size() == 1) {
      action->set_cluster(target.cluster);
      if (std::string host = WriteHeaders(destination->headers(), out); !host.empty()) {
        action->set_host_rewrite_literal(host);
      }
      continue;
    }
    auto* weighted = action->mutable_weighted_clusters()->add_clusters();
    weighted->set_name(target.cluster);
    weighted->mutable_weight()->set_value(static_cast<uint32_t>(destination->weight()));
    if (std::string host = WriteHeaders(destination->headers(), weighted); !host.empty()) {
      weighted->set_host_rewrite_literal(host);
    }
  }
  WriteRetries(from.has_retries() ? &from.retries() : context.mesh.default_retry, hashed, action);
  if (from.has_rewrite()) WriteRewrite(from.rewrite(), action);
  WriteMirrors(context, from, action);
  if (originates) KeepOwnAlpn(out);
}

bool Applies(const RouteContext& context, const v1::HTTPMatchRequest& match) {
  if (match.port() != 0 && static_cast<int>(match.port()) != context.port) return false;
  if (!match.gateways().empty() && std::none_of(match.gateways().begin(), match.gateways().end(),
                                                [&](const std::string& gateway) {
                                                  return context.gateways.contains(gateway);
                                                })) {
    return false;
  }
  if (context.proxy.router()) return true;
  if (!match.source_namespace().empty() && match.source_namespace() != context.proxy.ns)
    return false;
  return SelectsMap(match.source_labels(), context.proxy.labels);
}

std::string PathText(const route::RouteMatch& match) {
  if (!match.path().empty()) return match.path();
  if (match.has_safe_regex()) return match.safe_regex().regex();
  return match.prefix() + "*";
}

/// Returns whether the route takes every request.
bool WriteRoute(const RouteContext& context, const RoutingRules& rules, const v1::HTTPRoute& from,
                const v1::HTTPMatchRequest* match, route::Route* out) {
  const bool all = WriteMatch(match, context.proxy.router(), out->mutable_match());
  std::string name = from.name();
  if (match != nullptr && !match->name().empty()) name += (name.empty() ? "" : ".") + match->name();
  out->set_name(name);
  if (match != nullptr && !match->stat_prefix().empty()) out->set_stat_prefix(match->stat_prefix());
  auto& fields = *(*out->mutable_metadata()->mutable_filter_metadata())["istio"].mutable_fields();
  fields["config"].set_string_value("/apis/networking.istio.io/v1/namespaces/" + rules.meta().ns +
                                    "/virtual-service/" + rules.meta().name);
  out->mutable_decorator()->set_operation(rules.meta().name + ":" + std::to_string(context.port) +
                                          PathText(out->match()));
  if (from.has_redirect()) {
    WriteRedirect(from.redirect(), context.port, out);
  } else if (from.has_direct_response()) {
    const auto& body = from.direct_response().body();
    const uint32_t status = std::clamp(from.direct_response().status(), 200u, 599u);
    WriteDirectResponse(status, body.has_string() ? body.string() : body.bytes(), out);
  } else {
    WriteDestinations(context, from, out);
  }
  if (std::string host = WriteHeaders(from.headers(), out); !host.empty() && out->has_route()) {
    out->mutable_route()->set_host_rewrite_literal(host);
  }
  WriteRouteFilters(from, out);
  return all;
}

}  // namespace

void WriteCatchAll(const std::string& name, std::string_view cluster, route::Route* out) {
  out->set_name(name);
  out->mutable_match()->set_prefix("/");
  out->mutable_route()->set_cluster(std::string(cluster));
  out->mutable_route()->mutable_timeout();
  out->mutable_route()->mutable_max_grpc_timeout();
}

void WriteDefaultRoute(const RouteContext& context, const model::Service& service,
                       route::Route* out) {
  const Target target = TargetOf(context, service.hostname, context.port, "");
  WriteCatchAll("default", target.cluster, out);
  auto* action = out->mutable_route();
  if (target.hash() != nullptr) WriteHash(*target.hash(), action);
  WriteRetries(context.mesh.default_retry, target.hash() != nullptr, action);
  if (target.originates_tls()) KeepOwnAlpn(out);
  out->mutable_decorator()->set_operation(service.hostname + ":" + std::to_string(context.port) +
                                          "/*");
}

bool AppendRoutes(const RouteContext& context, const RoutingRules& rules,
                  route::VirtualHost* host) {
  for (const v1::HTTPRoute& from : rules.spec->http()) {
    if (from.has_delegate()) continue;
    if (from.match().empty()) {
      WriteRoute(context, rules, from, nullptr, host->add_routes());
      return true;
    }
    for (const v1::HTTPMatchRequest& match : from.match()) {
      if (!Applies(context, match)) continue;
      if (WriteRoute(context, rules, from, &match, host->add_routes())) return true;
    }
  }
  return false;
}

}  // namespace isthmus::translate
