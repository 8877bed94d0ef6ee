#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "base/net.h"
#include "base/strings.h"
#include "config/hosts.h"
#include "config/rules.h"
#include "istio/networking/v1/virtual_service.pb.h"

// Fields that the API calls deprecated are looked at to tell their users.
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

namespace isthmus::config::rules {
namespace {

using namespace istio::networking::v1;  // NOLINT: this file is about these messages.

/// What the rules of one route need to know of the object around it.
struct Scope {
  bool is_delegate = false;
  bool in_mesh = false;
};

void CheckDestination(const Destination& destination, const At& at) {
  if (destination.host() == "*")
    (at / "host").Error("must not be *");
  else
    CheckHost(destination.host(), true, at / "host");
  if (!destination.subset().empty() && !IsDnsLabel(base::ToLower(destination.subset())))
    (at / "subset").Error(fmt::format("'{}' is not a DNS label", destination.subset()));
  if (destination.has_port()) CheckPortNumber(destination.port().number(), at / "port.number");
}

/// Weights of the destinations of one route.
template <typename Routes>
void CheckWeights(const Routes& routes, const At& at) {
  int64_t total = 0;
  for (int i = 0; i < routes.size(); ++i) {
    if (!routes.Get(i).has_destination())
      (at[i] / "destination").Error("is missing");
    else
      CheckDestination(routes.Get(i).destination(), at[i] / "destination");
    if (routes.Get(i).weight() < 0) (at[i] / "weight").Error("is below 0");
    total += routes.Get(i).weight();
  }
  if (routes.size() > 1 && total == 0) at.Error("has several destinations, but all weights are 0");
}

void CheckMatch(const StringMatch& match, bool prefix_may_be_empty, const At& at) {
  if (match.match_type_case() == StringMatch::kPrefix && match.prefix().empty() &&
      !prefix_may_be_empty)
    (at / "prefix").Error("is empty");
  if (match.match_type_case() == StringMatch::kRegex) {
    if (match.regex().empty()) (at / "regex").Error("is empty");
    CheckRegex(match.regex(), at / "regex");
  }
}

void CheckGatewayNames(const Strings& gateways, const At& at) {
  for (int i = 0; i < gateways.size(); ++i) {
    const std::string& name = gateways.Get(i);
    if (name == "mesh") continue;
    const size_t slash = name.find('/');
    if (slash == std::string::npos && name.find('.') != std::string::npos) {
      at[i].Warn(fmt::format("'{}' is the old form; write <namespace>/<name>", name));
      continue;
    }
    const std::string ns = slash == std::string::npos ? "" : name.substr(0, slash);
    const std::string own = slash == std::string::npos ? name : name.substr(slash + 1);
    if ((slash != std::string::npos && ns != "." && !IsDnsLabel(ns)) || !IsDnsLabel(own))
      at[i].Error(fmt::format("'{}' is not <name> or <namespace>/<name>", name));
  }
}

void CheckHttpMatch(const HTTPMatchRequest& match, const Scope& scope, const At& at) {
  CheckMatch(match.uri(), true, at / "uri");
  CheckMatch(match.scheme(), false, at / "scheme");
  CheckMatch(match.method(), false, at / "method");
  CheckMatch(match.authority(), false, at / "authority");
  auto check_all = [&](const auto& map, const char* field) {
    for (const auto& [name, value] : map) {
      if (name.empty()) (at / field).Error("has an empty name");
      if (name.starts_with("@request.auth.claims") && scope.in_mesh)
        (at / field).Error(fmt::format("'{}' is only for gateways", name));
      CheckMatch(value, false, at / field / name);
    }
  };
  check_all(match.headers(), "headers");
  check_all(match.without_headers(), "withoutHeaders");
  check_all(match.query_params(), "queryParams");
  if (match.port() != 0) CheckPortNumber(match.port(), at / "port");
  CheckLabels(match.source_labels(), at / "sourceLabels");
  CheckGatewayNames(match.gateways(), at / "gateways");
  if (!match.source_namespace().empty() && !IsDnsLabel(match.source_namespace()))
    (at / "sourceNamespace")
        .Error(fmt::format("'{}' is not a namespace", match.source_namespace()));
}

void CheckHeaderNames(const StringMap& headers, bool response, const At& at) {
  for (const auto& [name, value] : headers) {
    const std::string lower = base::ToLower(name);
    const bool host = lower == ":authority" || lower == "host";
    if (name.empty()) at.Error("has an empty name");
    if (name.starts_with(':') && lower != ":authority")
      at.Error(fmt::format("'{}' must not be changed", name));
    if (host && response) at.Error(fmt::format("'{}' has no meaning in a response", name));
    // %X% names a command; a lone % must be doubled.
    bool open = false;
    for (size_t i = 0; i < value.size(); ++i) {
      if (value[i] != '%') continue;
      if (!open && i + 1 < value.size() && value[i + 1] == '%')
        ++i;
      else
        open = !open;
    }
    if (open)
      (at / name).Error(
          fmt::format("'{}' has a % that is not closed; write %% for a percent sign", value));
  }
}

void CheckHeaders(const Headers& headers, const At& at) {
  auto check = [&](const Headers::HeaderOperations& operations, bool response, const At& where) {
    CheckHeaderNames(operations.set(), response, where / "set");
    CheckHeaderNames(operations.add(), response, where / "add");
    for (int i = 0; i < operations.remove_size(); ++i) {
      const std::string lower = base::ToLower(operations.remove(i));
      if (lower.empty()) (where / "remove")[i].Error("is empty");
      if (lower == "host" || lower.starts_with(':'))
        (where / "remove")[i].Error(fmt::format("'{}' must not be removed", operations.remove(i)));
    }
  };
  check(headers.request(), false, at / "request");
  check(headers.response(), true, at / "response");
}

bool SetsAuthority(const Headers& headers) {
  auto names = [](const StringMap& map) {
    return std::any_of(map.begin(), map.end(), [](const auto& entry) {
      const std::string lower = base::ToLower(entry.first);
      return lower == "host" || lower == ":authority";
    });
  };
  return names(headers.request().set()) || names(headers.request().add());
}

void CheckRedirect(const HTTPRoute& route, const At& at) {
  const HTTPRedirect& redirect = route.redirect();
  if (redirect.uri().empty() && redirect.authority().empty() && redirect.scheme().empty() &&
      redirect.redirect_port_case() == HTTPRedirect::REDIRECT_PORT_NOT_SET &&
      redirect.redirect_code() == 0)
    at.Error("must set uri, authority, port, scheme or redirectCode");
  if (redirect.redirect_port_case() == HTTPRedirect::kPort)
    CheckPortNumber(redirect.port(), at / "port");
  if (!redirect.scheme().empty() && redirect.scheme() != "http" && redirect.scheme() != "https")
    (at / "scheme").Error("must be http or https");
  if (redirect.redirect_code() != 0 &&
      (redirect.redirect_code() < 300 || redirect.redirect_code() > 399))
    (at / "redirectCode").Error("must be between 300 and 399");
  if (redirect.uri() == "%PREFIX()%") {
    const bool all_prefix =
        route.match_size() > 0 &&
        std::all_of(route.match().begin(), route.match().end(), [](const auto& match) {
          return match.uri().match_type_case() == StringMatch::kPrefix;
        });
    if (!all_prefix) (at / "uri").Error("%PREFIX()% needs a prefix match in every match");
  }
}

void CheckRewrite(const HTTPRoute& route, const At& at) {
  const HTTPRewrite& rewrite = route.rewrite();
  if (rewrite.uri().empty() && rewrite.authority().empty() && !rewrite.has_uri_regex_rewrite())
    at.Error("must set uri, authority or uriRegexRewrite");
  if (!rewrite.uri().empty() && rewrite.has_uri_regex_rewrite())
    at.Error("has both uri and uriRegexRewrite");
  if (rewrite.has_uri_regex_rewrite()) {
    if (rewrite.uri_regex_rewrite().match().empty() ||
        rewrite.uri_regex_rewrite().rewrite().empty())
      (at / "uriRegexRewrite").Error("must set match and rewrite");
    CheckRegex(rewrite.uri_regex_rewrite().match(), at / "uriRegexRewrite.match");
  }
  if (!rewrite.authority().empty() && SetsAuthority(route.headers()))
    (at / "authority").Error("is set here and by headers.request");
}

void CheckFaultShare(bool has, double percentage, const At& at) {
  if (!has) return;
  CheckPercent(percentage, at / "percentage");
  if (percentage > 0 && percentage < 0.0001)
    (at / "percentage").Error("is below 0.0001, the smallest share");
}

void CheckFault(const HTTPFaultInjection& fault, const At& at) {
  if (!fault.has_abort() && !fault.has_delay()) return at.Error("must set abort or delay");
  if (fault.has_delay()) {
    const auto& delay = fault.delay();
    CheckFaultShare(delay.has_percentage(), delay.percentage().value(), at / "delay");
    if (delay.http_delay_type_case() == HTTPFaultInjection::Delay::kExponentialDelay)
      (at / "delay.exponentialDelay").Error("is not supported; use fixedDelay");
    else if (delay.has_fixed_delay())
      CheckDuration(delay.fixed_delay(), at / "delay.fixedDelay");
    else
      (at / "delay").Error("must set fixedDelay");
  }
  if (!fault.has_abort()) return;
  static constexpr std::array<std::string_view, 17> kGrpc = {"OK",
                                                             "CANCELLED",
                                                             "UNKNOWN",
                                                             "INVALID_ARGUMENT",
                                                             "DEADLINE_EXCEEDED",
                                                             "NOT_FOUND",
                                                             "ALREADY_EXISTS",
                                                             "PERMISSION_DENIED",
                                                             "RESOURCE_EXHAUSTED",
                                                             "FAILED_PRECONDITION",
                                                             "ABORTED",
                                                             "OUT_OF_RANGE",
                                                             "UNIMPLEMENTED",
                                                             "INTERNAL",
                                                             "UNAVAILABLE",
                                                             "DATA_LOSS",
                                                             "UNAUTHENTICATED"};
  const auto& abort = fault.abort();
  CheckFaultShare(abort.has_percentage(), abort.percentage().value(), at / "abort");
  switch (abort.error_type_case()) {
    case HTTPFaultInjection::Abort::kHttpStatus:
      if (abort.http_status() < 200 || abort.http_status() > 600)
        (at / "abort.httpStatus").Error("must be between 200 and 600");
      break;
    case HTTPFaultInjection::Abort::kGrpcStatus:
      if (std::find(kGrpc.begin(), kGrpc.end(), abort.grpc_status()) == kGrpc.end())
        (at / "abort.grpcStatus")
            .Error(fmt::format("'{}' is not a gRPC status", abort.grpc_status()));
      break;
    case HTTPFaultInjection::Abort::kHttp2Error:
      (at / "abort.http2Error").Error("is not supported");
      break;
    default:
      (at / "abort").Warn("has no status: nothing is aborted");
  }
}

void CheckRetries(const HTTPRetry& retries, const At& at) {
  if (retries.attempts() < 0) (at / "attempts").Error("is below 0");
  if (retries.attempts() == 0 && (retries.has_per_try_timeout() || !retries.retry_on().empty() ||
                                  retries.has_retry_remote_localities()))
    at.Error("has attempts 0, so nothing else may be set");
  if (retries.has_per_try_timeout()) CheckDuration(retries.per_try_timeout(), at / "perTryTimeout");
  if (retries.has_backoff()) CheckDuration(retries.backoff(), at / "backoff");
  static const std::set<std::string>& known =
      *new std::set<std::string>{"5xx",
                                 "gateway-error",
                                 "reset",
                                 "reset-before-request",
                                 "connect-failure",
                                 "envoy-ratelimited",
                                 "retriable-4xx",
                                 "refused-stream",
                                 "retriable-status-codes",
                                 "retriable-headers",
                                 "http3-post-connect-failure",
                                 "cancelled",
                                 "deadline-exceeded",
                                 "internal",
                                 "resource-exhausted",
                                 "unavailable"};
  for (const std::string& word : base::SplitList(retries.retry_on())) {
    const auto code = base::ParseInt(word);
    if (!known.contains(word) && !(code.ok() && *code >= 100 && *code <= 599))
      (at / "retryOn").Error(fmt::format("'{}' is not a condition to retry on", word));
  }
}

void CheckCors(const CorsPolicy& cors, const At& at) {
  for (int i = 0; i < cors.allow_origins_size(); ++i) {
    if (cors.allow_origins(i).match_type_case() == StringMatch::MATCH_TYPE_NOT_SET)
      (at / "allowOrigins")[i].Error("is empty");
    CheckMatch(cors.allow_origins(i), false, (at / "allowOrigins")[i]);
  }
  static const std::set<std::string>& methods = *new std::set<std::string>{
      "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE", "*"};
  for (int i = 0; i < cors.allow_methods_size(); ++i)
    if (!methods.contains(cors.allow_methods(i)))
      (at / "allowMethods")[i].Error(
          fmt::format("'{}' is not an HTTP method", cors.allow_methods(i)));
  auto headers = [&](const Strings& names, const char* field) {
    for (int i = 0; i < names.size(); ++i)
      if (names.Get(i).empty() || names.Get(i).find_first_of(" :\t") != std::string::npos)
        (at / field)[i].Error(fmt::format("'{}' is not a header's name", names.Get(i)));
  };
  headers(cors.allow_headers(), "allowHeaders");
  headers(cors.expose_headers(), "exposeHeaders");
  if (cors.has_max_age()) {
    CheckDuration(cors.max_age(), at / "maxAge");
    if (cors.max_age().nanos() != 0) (at / "maxAge").Error("must be whole seconds");
  }
}

void CheckMirrors(const HTTPRoute& route, const At& at) {
  if (route.has_mirror() && route.mirrors_size() > 0)
    (at / "mirrors").Error("must not be set together with mirror");
  if (route.has_mirror_percent())
    (at / "mirrorPercent").Warn("is deprecated; use mirrorPercentage");
  if (route.has_mirror()) CheckDestination(route.mirror(), at / "mirror");
  if (route.has_mirror_percentage())
    CheckPercent(route.mirror_percentage().value(), at / "mirrorPercentage");
  for (int i = 0; i < route.mirrors_size(); ++i) {
    if (!route.mirrors(i).has_destination())
      ((at / "mirrors")[i] / "destination").Error("is missing");
    else
      CheckDestination(route.mirrors(i).destination(), (at / "mirrors")[i] / "destination");
    CheckPercent(route.mirrors(i).percentage().value(), (at / "mirrors")[i] / "percentage");
  }
}

void CheckAction(const HTTPRoute& route, const Scope& scope, const At& at) {
  auto exclude = [&at](bool set, const char* field, const char* with) {
    if (set) (at / field).Error(fmt::format("must not be set together with {}", with));
  };
  if (route.has_delegate()) {
    if (scope.is_delegate)
      (at / "delegate")
          .Error("must not be in a VirtualService without hosts: it is a delegate itself");
    if (route.delegate().name().empty()) (at / "delegate.name").Error("is missing");
    exclude(route.route_size() > 0, "route", "delegate");
    exclude(route.has_redirect(), "redirect", "delegate");
  } else if (route.has_redirect()) {
    exclude(route.route_size() > 0, "route", "redirect");
    exclude(route.has_fault(), "fault", "redirect");
    exclude(route.has_rewrite(), "rewrite", "redirect");
    exclude(route.has_direct_response(), "directResponse", "redirect");
    CheckRedirect(route, at / "redirect");
  } else if (route.has_direct_response()) {
    exclude(route.route_size() > 0, "route", "directResponse");
    exclude(route.has_fault(), "fault", "directResponse");
    exclude(route.has_rewrite(), "rewrite", "directResponse");
    const auto& response = route.direct_response();
    if (response.status() < 200 || response.status() > 600)
      (at / "directResponse.status").Error("must be between 200 and 600");
    const size_t size = std::max(response.body().string().size(), response.body().bytes().size());
    if (size > 1024 * 1024)
      (at / "directResponse.body").Error("is larger than 1 MB");
    else if (size > 100 * 1024)
      (at / "directResponse.body").Warn("is larger than 100 KB: it is sent to every proxy");
  } else if (route.route_size() == 0) {
    at.Error("must set route, redirect, directResponse or delegate");
  }
}

void CheckHttp(const HTTPRoute& route, const Scope& scope, const At& at) {
  CheckAction(route, scope, at);
  for (int i = 0; i < route.match_size(); ++i)
    CheckHttpMatch(route.match(i), scope, (at / "match")[i]);
  CheckWeights(route.route(), at / "route");
  for (int i = 0; i < route.route_size(); ++i) {
    CheckHeaders(route.route(i).headers(), (at / "route")[i] / "headers");
    if (SetsAuthority(route.route(i).headers()) && SetsAuthority(route.headers()))
      ((at / "route")[i] / "headers")
          .Error("set the authority, which headers of the route set as well");
  }
  CheckHeaders(route.headers(), at / "headers");
  if (route.has_rewrite()) CheckRewrite(route, at / "rewrite");
  if (route.has_fault()) CheckFault(route.fault(), at / "fault");
  if (route.has_retries()) CheckRetries(route.retries(), at / "retries");
  // Zero turns the timeout off.
  if (route.has_timeout() && (route.timeout().seconds() != 0 || route.timeout().nanos() != 0))
    CheckDuration(route.timeout(), at / "timeout");
  if (route.has_cors_policy()) CheckCors(route.cors_policy(), at / "corsPolicy");
  CheckMirrors(route, at);
}

void CheckSubnets(const Strings& subnets, const At& at) {
  for (int i = 0; i < subnets.size(); ++i)
    if (!IsAddressOrRange(subnets.Get(i)))
      at[i].Error(fmt::format("'{}' is not an address or CIDR", subnets.Get(i)));
}

void CheckTls(const TLSRoute& route, const VirtualService& spec, const At& at) {
  if (route.match_size() == 0) (at / "match").Error("is missing: a TLS route needs sniHosts");
  for (int i = 0; i < route.match_size(); ++i) {
    const TLSMatchAttributes& match = route.match(i);
    const At where = (at / "match")[i];
    if (match.sni_hosts_size() == 0) (where / "sniHosts").Error("is empty");
    for (int j = 0; j < match.sni_hosts_size(); ++j) {
      const std::string& sni = match.sni_hosts(j);
      if (base::IsIpAddress(sni)) {
        (where / "sniHosts")[j].Warn(
            fmt::format("'{}' is an address; clients send no SNI for addresses", sni));
        continue;
      }
      CheckHost(sni, true, (where / "sniHosts")[j]);
      const bool covered =
          std::any_of(spec.hosts().begin(), spec.hosts().end(),
                      [&sni](const std::string& host) { return HostWithin(sni, host); });
      if (!covered)
        (where / "sniHosts")[j].Error(fmt::format("'{}' is not covered by spec.hosts", sni));
    }
    CheckSubnets(match.destination_subnets(), where / "destinationSubnets");
    if (match.port() != 0) CheckPortNumber(match.port(), where / "port");
    CheckLabels(match.source_labels(), where / "sourceLabels");
    CheckGatewayNames(match.gateways(), where / "gateways");
  }
  if (route.route_size() == 0) (at / "route").Error("is missing");
  CheckWeights(route.route(), at / "route");
}

void CheckTcp(const TCPRoute& route, const At& at) {
  for (int i = 0; i < route.match_size(); ++i) {
    const At where = (at / "match")[i];
    CheckSubnets(route.match(i).destination_subnets(), where / "destinationSubnets");
    if (route.match(i).port() != 0) CheckPortNumber(route.match(i).port(), where / "port");
    CheckLabels(route.match(i).source_labels(), where / "sourceLabels");
    CheckGatewayNames(route.match(i).gateways(), where / "gateways");
  }
  if (route.route_size() == 0) (at / "route").Error("is missing");
  CheckWeights(route.route(), at / "route");
}

void CheckHosts(const VirtualService& spec, const Scope& scope, const At& at) {
  for (int i = 0; i < spec.hosts_size(); ++i) {
    const std::string& host = spec.hosts(i);
    if (host == "*" && scope.in_mesh)
      at[i].Error("must not be * for sidecars: bind it to a gateway");
    else if (!base::IsIpAddress(host))
      CheckHost(host, true, at[i]);
    for (int j = 0; j < i; ++j) {
      if (spec.hosts(j) == host)
        at[i].Error(fmt::format("'{}' is given twice", host));
      else if (HostsOverlap(host, spec.hosts(j)))
        at[i].Error(fmt::format("'{}' overlaps with '{}'", host, spec.hosts(j)));
    }
  }
}

/// A route whose matches leave nothing for those after it.
bool TakesAll(const HTTPRoute& route) {
  if (route.match_size() == 0) return true;
  return std::any_of(route.match().begin(), route.match().end(), [](const HTTPMatchRequest& match) {
    return match.uri().match_type_case() == StringMatch::kPrefix && match.uri().prefix() == "/" &&
           !match.has_scheme() && !match.has_method() && !match.has_authority() &&
           match.headers().empty() && match.without_headers().empty() &&
           match.query_params().empty() && match.port() == 0 && match.source_labels().empty() &&
           match.gateways().empty() && match.source_namespace().empty();
  });
}

void WarnOfUnreachable(const VirtualService& spec, const At& at) {
  std::map<std::string, int> seen;
  for (int i = 0; i < spec.http_size(); ++i) {
    if (i > 0 && TakesAll(spec.http(i - 1))) {
      at[i].Warn(fmt::format("is never reached: rule {} takes every request", i - 1));
      return;
    }
    for (int j = 0; j < spec.http(i).match_size(); ++j) {
      HTTPMatchRequest match = spec.http(i).match(j);
      match.clear_name();
      auto [first, fresh] = seen.emplace(match.SerializeAsString(), i);
      if (!fresh && first->second != i)
        (at[i] / "match")[j].Warn(fmt::format("is the same as a match of rule {}", first->second));
    }
  }
}

}  // namespace

void CheckSpec(const Meta& meta, const VirtualService& spec, const At& at) {
  Scope scope;
  scope.is_delegate = spec.hosts_size() == 0;
  scope.in_mesh =
      spec.gateways_size() == 0 ||
      std::find(spec.gateways().begin(), spec.gateways().end(), "mesh") != spec.gateways().end();
  if (scope.is_delegate) {
    if (spec.gateways_size() > 0) (at / "gateways").Error("must not be set without hosts");
    if (spec.tls_size() > 0) (at / "tls").Error("must not be set without hosts");
    if (spec.tcp_size() > 0) (at / "tcp").Error("must not be set without hosts");
    scope.in_mesh = false;
  }
  CheckHosts(spec, scope, at / "hosts");
  CheckGatewayNames(spec.gateways(), at / "gateways");
  CheckExportTo(spec.export_to(), meta, at / "exportTo");
  if (spec.http_size() + spec.tls_size() + spec.tcp_size() == 0)
    at.Error("must set http, tls or tcp");
  for (int i = 0; i < spec.http_size(); ++i) CheckHttp(spec.http(i), scope, (at / "http")[i]);
  for (int i = 0; i < spec.tls_size(); ++i) CheckTls(spec.tls(i), spec, (at / "tls")[i]);
  for (int i = 0; i < spec.tcp_size(); ++i) CheckTcp(spec.tcp(i), (at / "tcp")[i]);
  WarnOfUnreachable(spec, at / "http");
}

}  // namespace isthmus::config::rules
