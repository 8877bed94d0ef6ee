// The old spellings of some settings are still read, because users still write them.
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

#include "translate/route_filters.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "envoy/config/route/v3/route_components.pb.h"
#include "envoy/extensions/filters/http/cors/v3/cors.pb.h"
#include "envoy/extensions/filters/http/fault/v3/fault.pb.h"
#include "istio/networking/v1/virtual_service.pb.h"
#include "translate/convert.h"
#include "translate/pack.h"

namespace isthmus::translate {
namespace {

namespace v1 = istio::networking::v1;
namespace http = envoy::extensions::filters::http;

/// gRPC's own names of its status codes, in the order of their numbers.
constexpr const char* kGrpcStatus[] = {
    "OK",        "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
    "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
    "ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
    "DATA_LOSS", "UNAUTHENTICATED"};

template <typename Part>
double PercentOf(const Part& part) {
  return part.has_percentage() ? part.percentage().value() : 100;
}

bool WriteAbort(const v1::HTTPFaultInjection::Abort& from, http::fault::v3::FaultAbort* to) {
  WriteFraction(PercentOf(from), to->mutable_percentage());
  if (from.error_type_case() == v1::HTTPFaultInjection::Abort::kHttpStatus) {
    if (from.http_status() < 200 || from.http_status() > 599) return false;
    to->set_http_status(static_cast<uint32_t>(from.http_status()));
    return true;
  }
  const auto* end = std::end(kGrpcStatus);
  const auto* found = std::find(std::begin(kGrpcStatus), end, from.grpc_status());
  if (found == end) return false;
  to->set_grpc_status(static_cast<uint32_t>(found - kGrpcStatus));
  return true;
}

void WriteFault(const v1::HTTPFaultInjection& from, envoy::config::route::v3::Route* route) {
  http::fault::v3::HTTPFault fault;
  if (from.has_delay() && Positive(from.delay().fixed_delay())) {
    *fault.mutable_delay()->mutable_fixed_delay() = from.delay().fixed_delay();
    const double percent = from.delay().has_percentage() || from.delay().percent() == 0
                               ? PercentOf(from.delay())
                               : from.delay().percent();
    WriteFraction(percent, fault.mutable_delay()->mutable_percentage());
  }
  if (from.has_abort() && !WriteAbort(from.abort(), fault.mutable_abort())) fault.clear_abort();
  if (!fault.has_delay() && !fault.has_abort()) return;
  Pack(fault, &(*route->mutable_typed_per_filter_config())["envoy.filters.http.fault"]);
}

template <typename List>
std::string Join(const List& list) {
  std::string text;
  for (const std::string& item : list) text += (text.empty() ? "" : ",") + item;
  return text;
}

void WriteCors(const v1::CorsPolicy& from, envoy::config::route::v3::Route* route) {
  http::cors::v3::CorsPolicy policy;
  for (const v1::StringMatch& origin : from.allow_origins()) {
    auto* matcher = policy.add_allow_origin_string_match();
    if (origin.has_prefix() && !origin.prefix().empty()) {
      matcher->set_prefix(origin.prefix());
    } else if (origin.has_regex()) {
      matcher->mutable_safe_regex()->set_regex(origin.regex());
    } else {
      matcher->set_exact(origin.exact());
    }
  }
  for (const std::string& origin : from.allow_origin())
    policy.add_allow_origin_string_match()->set_exact(origin);
  policy.mutable_filter_enabled()->mutable_default_value()->set_numerator(100);
  policy.set_allow_methods(Join(from.allow_methods()));
  policy.set_allow_headers(Join(from.allow_headers()));
  policy.set_expose_headers(Join(from.expose_headers()));
  if (from.has_max_age()) policy.set_max_age(std::to_string(from.max_age().seconds()));
  if (from.has_allow_credentials()) {
    policy.mutable_allow_credentials()->set_value(from.allow_credentials().value());
  }
  if (from.unmatched_preflights() != v1::CorsPolicy::UNSPECIFIED) {
    policy.mutable_forward_not_matching_preflights()->set_value(from.unmatched_preflights() ==
                                                                v1::CorsPolicy::FORWARD);
  }
  Pack(policy, &(*route->mutable_typed_per_filter_config())["envoy.filters.http.cors"]);
}

}  // namespace

void WriteFraction(double percent, envoy::type::v3::FractionalPercent* out) {
  out->set_numerator(static_cast<uint32_t>(std::lround(std::clamp(percent, 0.0, 100.0) * 10000)));
  out->set_denominator(envoy::type::v3::FractionalPercent::MILLION);
}

void KeepOwnAlpn(envoy::config::route::v3::Route* route) {
  envoy::config::route::v3::FilterConfig off;
  off.set_disabled(true);
  Pack(off, &(*route->mutable_typed_per_filter_config())["envoy.filters.http.set_filter_state"]);
}

void WriteRouteFilters(const v1::HTTPRoute& from, envoy::config::route::v3::Route* route) {
  if (from.has_fault()) WriteFault(from.fault(), route);
  if (from.has_cors_policy()) WriteCors(from.cors_policy(), route);
}

}  // namespace isthmus::translate
