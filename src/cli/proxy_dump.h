#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "kubeapi/json.h"

namespace isthmus::cli {

using kubeapi::Json;

/// The filters of `proxy-config`; empty ones and port 0 let everything pass.
struct ProxyFilter {
  std::string fqdn;       ///< Part of a cluster's FQDN.
  std::string direction;  ///< Part of a cluster's direction.
  std::string subset;     ///< Part of a cluster's subset.
  std::string address;    ///< Of an endpoint or listener, whole.
  std::string cluster;    ///< Of an endpoint, whole, in any case.
  std::string status;     ///< Of an endpoint: "healthy" ...
  std::string type;       ///< Of a listener: HTTP, TCP, HTTP+TCP, UNKNOWN.
  std::string name;       ///< Of a route, whole.
  int64_t port = 0;
};

// What Envoy's administration port says, as the tables of `proxy-config`. Pure: a dump in, text
// out; what a dump lacks or has of another type is left out.

/// "outbound|9080|v1|host" in its parts; other names are an FQDN alone.
struct ClusterName {
  std::string direction, subset, fqdn;
  std::string port;
  static ClusterName Parse(std::string_view name);
};

/// Calls for each resource of a config dump whose section's type ends with `section`: entries of
/// the list `list`, and of each entry the value `inner` (also below active_state).
void ForEachIn(const Json& dump, std::string_view section, std::string_view list,
               std::string_view inner,
               const std::function<void(const Json& resource, const Json& entry)>& call);
/// Name.namespace of the object that made a resource, out of its metadata; `fallback` when it does
/// not say.
std::string MadeBy(const Json& resource, std::string_view fallback);

/// The resources themselves, filtered, for -o json and yaml.
std::vector<Json> Clusters(const Json& dump, const ProxyFilter& filter);
std::vector<Json> Listeners(const Json& dump, const ProxyFilter& filter);
std::vector<Json> Routes(const Json& dump, const ProxyFilter& filter);
std::vector<Json> Endpoints(const Json& clusters, const ProxyFilter& filter);
std::vector<Json> Secrets(const Json& dump);
Json Bootstrap(const Json& dump);

using Rows = std::vector<std::vector<std::string>>;
/// Tables: the first row is the header.
Rows ClusterRows(const std::vector<Json>& clusters);
Rows EndpointRows(const Json& clusters, const ProxyFilter& filter);
/// Out of the EndpointsConfigDump of `config_dump?include_eds=true`.
Rows EdsRows(const Json& dump, const ProxyFilter& filter);
Rows ListenerRows(const std::vector<Json>& listeners, bool verbose);
Rows RouteRows(const std::vector<Json>& routes, bool verbose);
Rows SecretRows(const Json& dump, base::Time now);
Rows EcdsRows(const Json& dump);

/// The certificates of the secret ROOTCA; for comparing two proxies.
std::vector<std::string> RootFingerprints(const Json& dump);

}  // namespace isthmus::cli
