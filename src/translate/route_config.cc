#include "translate/route_config.h"

#include "envoy/config/route/v3/route.pb.h"
#include "istio/networking/v1/virtual_service.pb.h"
#include "translate/names.h"
#include "translate/pack.h"

namespace isthmus::translate {
namespace {

namespace route = envoy::config::route::v3;

constexpr uint32_t kLongestDirectResponse = 1048576;

}  // namespace

RouteConfig::RouteConfig(std::string name) : name_(std::move(name)) {
  route::RouteConfiguration head;
  head.set_name(name_);
  bytes_ = Serialize(head);
}

std::string RouteConfig::Host(const std::string& name, const std::vector<std::string>& domains,
                              std::string_view routes) {
  route::VirtualHost head;
  head.set_name(name);
  for (const std::string& domain : domains) head.add_domains(domain);
  std::string host = Serialize(head);
  host.append(routes);
  return host;
}

void RouteConfig::AddHost(std::string_view serialised) {
  AppendField(route::RouteConfiguration::kVirtualHostsFieldNumber, serialised, &bytes_);
  ++hosts_;
}

std::shared_ptr<const model::Resource> RouteConfig::Build() && {
  route::RouteConfiguration tail;
  tail.mutable_validate_clusters()->set_value(false);
  if (hosts_ > 0) {
    tail.mutable_max_direct_response_body_size_bytes()->set_value(kLongestDirectResponse);
    tail.set_ignore_port_in_host_matching(true);
  }
  bytes_ += Serialize(tail);
  return MakeResource(std::move(name_), kRouteType, bytes_);
}

bool HasHttp(const RoutingRules& rules) { return rules.spec->http_size() > 0; }

}  // namespace isthmus::translate
