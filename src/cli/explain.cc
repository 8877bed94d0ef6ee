#include "cli/explain.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/strings.h"

namespace isthmus::cli {
namespace {

using kubeapi::Find;
using kubeapi::IntAt;
using kubeapi::ItemsAt;
using kubeapi::Json;
using kubeapi::StringAt;

/// Gateways into a network; those of the endpoint's own cluster alone when it has any.
std::vector<std::string> WaysInto(const std::string& network, const std::string& cluster,
                                  const Json& networks) {
  std::vector<std::string> own, all;
  for (const Json& gateway : ItemsAt(networks)) {
    if (StringAt(gateway, {"Network"}) != network) continue;
    const std::string address =
        fmt::format("{}:{}", StringAt(gateway, {"Addr"}), IntAt(gateway, {"Port"}));
    all.push_back(address);
    if (StringAt(gateway, {"Cluster"}) == cluster) own.push_back(address);
  }
  return own.empty() ? all : own;
}

ExplainedEndpoint ExplainOne(const ExplainedProxy& proxy, const Json& endpoint,
                             const Json& networks, const std::set<std::string>& held) {
  ExplainedEndpoint out;
  const std::vector<Json>& addresses = ItemsAt(endpoint, {"Addresses"});
  const std::string address =
      addresses.empty() || !addresses[0].is_string() ? "" : addresses[0].get<std::string>();
  out.address = fmt::format("{}:{}", address, IntAt(endpoint, {"EndpointPort"}));
  out.cluster = StringAt(endpoint, {"Locality", "ClusterID"});
  const std::string network = StringAt(endpoint, {"Network"});
  out.network = fmt::format("{} ({})", network.empty() ? "none" : network,
                            StringAt(endpoint, {"Provenance", "NetworkSource"}));
  out.source = StringAt(endpoint, {"Provenance", "Source"});
  const bool direct = network.empty() || network == proxy.network;
  const std::vector<std::string> ways =
      direct ? std::vector<std::string>() : WaysInto(network, out.cluster, networks);
  const auto any_held = [&held](const std::vector<std::string>& wanted) {
    return std::any_of(wanted.begin(), wanted.end(),
                       [&held](const std::string& one) { return held.contains(one); });
  };
  if (IntAt(endpoint, {"HealthStatus"}) > 2) {
    out.sent_as = "nothing: its pod is going away";
  } else if (direct) {
    out.held = held.contains(out.address);
    out.sent_as =
        "itself: " + std::string(network.empty() ? "its network is not known" : "same network");
  } else if (ways.empty()) {
    out.held = held.contains(out.address);
    out.sent_as = fmt::format("itself: no gateway leads into {}", network);
  } else if (StringAt(endpoint, {"TLSMode"}) != "istio") {
    out.sent_as = "nothing: without a proxy of its own no gateway can lead to it";
  } else {
    out.held = any_held(ways);
    out.sent_as = fmt::format("{}: gateway{} into {}", base::Join(ways, ", "),
                              ways.size() == 1 ? "" : "s", network);
    if (!out.held)
      out.sent_as +=
          "; not held: a DestinationRule or PeerAuthentication takes mTLS away, or the "
          "proxy has not the newest state (proxy-status)";
  }
  return out;
}

}  // namespace

std::vector<ExplainedEndpoint> Explain(const ExplainedProxy& proxy, const std::string& host,
                                       const std::string& port_name, const Json& shards,
                                       const Json& networks, const std::set<std::string>& held) {
  std::vector<ExplainedEndpoint> all;
  const Json* of_host = Find(shards, {host});
  if (of_host == nullptr || !of_host->is_object()) return all;
  for (const auto& [ns, entry] : of_host->items()) {
    const Json* of_clusters = Find(entry, {"Shards"});
    if (of_clusters == nullptr || !of_clusters->is_object()) continue;
    for (const auto& [shard, endpoints] : of_clusters->items())
      for (const Json& endpoint : ItemsAt(endpoints))
        if (port_name.empty() || StringAt(endpoint, {"ServicePortName"}) == port_name)
          all.push_back(ExplainOne(proxy, endpoint, networks, held));
  }
  return all;
}

}  // namespace isthmus::cli
