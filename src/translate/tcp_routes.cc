#include "translate/tcp_routes.h"

#include <algorithm>

#include "istio/networking/v1/destination_rule.pb.h"
#include "istio/networking/v1/virtual_service.pb.h"
#include "translate/names.h"

namespace isthmus::translate {
namespace {

namespace v1 = istio::networking::v1;

bool HashesSourceIp(const TrafficPolicy& policy) {
  return policy.load_balancer != nullptr && policy.load_balancer->has_consistent_hash() &&
         policy.load_balancer->consistent_hash().use_source_ip();
}

template <typename Match>
bool Applies(const ClassInputs& in, const std::set<std::string>& gateways, int port,
             const Match& match) {
  if (match.port() != 0 && static_cast<int>(match.port()) != port) return false;
  if (!match.gateways().empty() &&
      std::none_of(match.gateways().begin(), match.gateways().end(),
                   [&](const std::string& gateway) { return gateways.contains(gateway); })) {
    return false;
  }
  if (in.proxy.router()) return true;
  if (!match.source_namespace().empty() && match.source_namespace() != in.proxy.ns) return false;
  return SelectsMap(match.source_labels(), in.proxy.labels);
}

template <typename Route>
TcpTarget TargetOf(const ClassInputs& in, const RoutingRules& rules, const Route& route, int port) {
  TcpTarget target;
  for (const auto& destination : route.route()) {
    if (destination.weight() <= 0 && route.route_size() > 1) continue;
    const std::string& host = destination.destination().host();
    int to = static_cast<int>(destination.destination().port().number());
    if (to == 0) {
      to = port;
      const ServicePtr service = in.destinations.FindService(host);
      if (service != nullptr && service->ports.size() == 1) to = service->ports.front().number;
    }
    const std::string& subset = destination.destination().subset();
    const auto rule = in.destinations.FindRule(host);
    target.hash_source_ip =
        target.hash_source_ip || HashesSourceIp(PolicyFor(rule.get(), to, subset));
    target.clusters.emplace_back(OutboundName(to, subset, host),
                                 static_cast<uint32_t>(std::max(destination.weight(), 1)));
  }
  if (target.clusters.empty()) return TcpTarget::To(kBlackHoleCluster);
  target.stat_prefix = target.clusters.size() == 1 ? target.clusters.front().first
                                                   : rules.meta().name + "." + rules.meta().ns;
  return target;
}

}  // namespace

std::vector<TcpRoute> TlsRoutes(const ClassInputs& in, const RoutingRules& rules,
                                const std::set<std::string>& gateways, int port) {
  std::vector<TcpRoute> result;
  for (const v1::TLSRoute& route : rules.spec->tls()) {
    for (const v1::TLSMatchAttributes& match : route.match()) {
      if (!Applies(in, gateways, port, match)) continue;
      TcpRoute out;
      out.server_names.assign(match.sni_hosts().begin(), match.sni_hosts().end());
      if (std::find(out.server_names.begin(), out.server_names.end(), "*") !=
          out.server_names.end()) {
        out.server_names.clear();
      }
      out.ranges.assign(match.destination_subnets().begin(), match.destination_subnets().end());
      out.target = TargetOf(in, rules, route, port);
      result.push_back(std::move(out));
    }
  }
  return result;
}

std::vector<TcpRoute> TcpRoutes(const ClassInputs& in, const RoutingRules& rules,
                                const std::set<std::string>& gateways, int port) {
  std::vector<TcpRoute> result;
  for (const v1::TCPRoute& route : rules.spec->tcp()) {
    if (route.match().empty()) {
      result.push_back({{}, {}, TargetOf(in, rules, route, port)});
      return result;
    }
    for (const v1::L4MatchAttributes& match : route.match()) {
      if (!Applies(in, gateways, port, match)) continue;
      TcpRoute out;
      out.ranges.assign(match.destination_subnets().begin(), match.destination_subnets().end());
      out.target = TargetOf(in, rules, route, port);
      result.push_back(std::move(out));
      if (result.back().ranges.empty()) return result;
    }
  }
  return result;
}

TcpTarget DirectTarget(const ClassInputs& in, const std::string& host, int port) {
  TcpTarget target = TcpTarget::To(OutboundName(port, "", host));
  const auto rule = in.destinations.FindRule(host);
  target.hash_source_ip = HashesSourceIp(PolicyFor(rule.get(), port, ""));
  return target;
}

}  // namespace isthmus::translate
