#pragma once

#include <set>
#include <string>
#include <vector>

#include "translate/destination_rules.h"
#include "translate/mesh_settings.h"
#include "translate/proxy_class.h"
#include "translate/service_index.h"
#include "translate/virtual_services.h"

namespace envoy::config::route::v3 {
class Route;
class RouteMatch;
class VirtualHost;
}  // namespace envoy::config::route::v3
namespace istio::networking::v1 {
class HTTPMatchRequest;
class HTTPRoute;
}  // namespace istio::networking::v1

namespace isthmus::translate {

/// What a route needs to know of the hosts that it leads to.
class Destinations {
 public:
  virtual ~Destinations() = default;
  /// Null when the class does not see the host.
  virtual ServicePtr FindService(const std::string& host) const = 0;
  virtual std::shared_ptr<const MergedRule> FindRule(const std::string& host) const = 0;
};

/// Where routes are used. References outlive it.
struct RouteContext {
  const MeshSettings& mesh;
  const ProxyClass& proxy;
  const Destinations& destinations;
  int port = 0;  ///< The service port, or the gateway server's.
  std::set<std::string>
      gateways;  ///< "mesh", or the gateways "namespace/name" that the port belongs to.
};

/// The route of a service without VirtualService: everything to its cluster.
void WriteDefaultRoute(const RouteContext& context, const model::Service& service,
                       envoy::config::route::v3::Route* route);
/// Appends the routes of a VirtualService. True when the last of them takes every request.
bool AppendRoutes(const RouteContext& context, const RoutingRules& rules,
                  envoy::config::route::v3::VirtualHost* host);

/// Everything else to `cluster`.
void WriteCatchAll(const std::string& name, std::string_view cluster,
                   envoy::config::route::v3::Route* route);

/// The conditions of one match; null stands for none. True when they hold for every request.
bool WriteMatch(const istio::networking::v1::HTTPMatchRequest* match, bool gateway,
                envoy::config::route::v3::RouteMatch* out);

}  // namespace isthmus::translate
