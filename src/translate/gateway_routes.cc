#include <algorithm>
#include <map>
#include <tuple>

#include "envoy/config/route/v3/route.pb.h"
#include "istio/networking/v1/gateway.pb.h"
#include "istio/networking/v1/virtual_service.pb.h"
#include "translate/gateway_plan.h"
#include "translate/names.h"
#include "translate/pack.h"
#include "translate/route_config.h"

namespace isthmus::translate {
namespace {

namespace route = envoy::config::route::v3;

/// The serialised routes of one VirtualService on a gateway; the last may take every request.
/// Frozen.
struct RuleRoutes {
  std::vector<std::string> routes;
  bool catch_all = false;
};

std::shared_ptr<const RuleRoutes> RoutesOf(const ClassInputs& in, const RulesPtr& rules, int port,
                                           const std::set<std::string>& gateways) {
  MemoKey key("gateway routes");
  key.Add(in.world.mesh).Add(port).Add(gateways.size());
  for (const std::string& gateway : gateways) key.Add(gateway);
  AddRules(in, rules, &key);
  auto routes = in.workshop.memo.Get<RuleRoutes>(key, [&] {
    const RouteContext context{*in.world.mesh, in.proxy, in.destinations, port, gateways};
    route::VirtualHost host;
    auto result = std::make_shared<RuleRoutes>();
    result->catch_all = AppendRoutes(context, *rules, &host);
    for (const route::Route& item : host.routes()) result->routes.push_back(Serialize(item));
    return std::shared_ptr<const RuleRoutes>(std::move(result));
  });
  in.kept.push_back(routes);
  return routes;
}

/// The rules that speak about one host of a route configuration.
struct HostRules {
  struct Entry {
    RulesPtr rules;
    std::set<std::string> gateways;
  };
  std::vector<Entry> entries;
  bool redirect = false;  ///< Plain HTTP is sent to HTTPS.
  int number = 0;         ///< The port as the Gateway names it.

  void Add(const RulesPtr& rules, const std::string& gateway) {
    for (Entry& entry : entries) {
      if (entry.rules != rules) continue;
      entry.gateways.insert(gateway);
      return;
    }
    entries.push_back({rules, {gateway}});
  }
};

/// Routes of all rules in the order of their creation; those that take everything come last.
std::string Concatenate(const ClassInputs& in, HostRules* host) {
  auto age = [](const HostRules::Entry& entry) {
    const config::Meta& meta = entry.rules->meta();
    return std::tie(meta.created, meta.ns, meta.name);
  };
  std::stable_sort(host->entries.begin(), host->entries.end(),
                   [&](const auto& a, const auto& b) { return age(a) < age(b); });
  std::string bytes;
  std::string last;
  for (const HostRules::Entry& entry : host->entries) {
    const auto built = RoutesOf(in, entry.rules, host->number, entry.gateways);
    for (size_t i = 0; i < built->routes.size(); ++i) {
      const bool all = built->catch_all && i + 1 == built->routes.size();
      if (!all) {
        AppendField(route::VirtualHost::kRoutesFieldNumber, built->routes[i], &bytes);
      } else if (last.empty()) {
        AppendField(route::VirtualHost::kRoutesFieldNumber, built->routes[i], &last);
      }
    }
  }
  return bytes + last;
}

std::shared_ptr<const model::Resource> Build(const ClassInputs& in, const std::string& name,
                                             const std::vector<const GatewayServer*>& servers) {
  std::map<std::string, HostRules> hosts;
  for (const GatewayServer* server : servers) {
    const bool redirect =
        server->kind == ServerKind::kHttp && server->server->tls().https_redirect();
    if (redirect) {
      for (const GatewayServer::Host& host : server->hosts) {
        HostRules& entry = hosts[host.name];
        entry.redirect = true;
        entry.number = server->number;
      }
    }
    for (const RulesPtr& rules : in.world.routes->ForGateway(server->gateway)) {
      if (!rules->export_to.VisibleIn(in.proxy.ns) || !HasHttp(*rules)) continue;
      for (const std::string& rules_host : rules->hosts) {
        const std::string host = server->Admits(rules->meta().ns, rules_host);
        if (host.empty()) continue;
        HostRules& entry = hosts[host];
        if (entry.number == 0) entry.number = server->number;
        entry.redirect = entry.redirect || redirect;
        entry.Add(rules, server->gateway);
      }
    }
  }
  // Hosts with the same routes share one virtual host, as Envoy compiles each once.
  struct Group {
    std::string name;
    std::vector<std::string> domains;
  };
  std::vector<std::string> order;
  std::map<std::string, Group> groups;
  for (auto& [host, rules] : hosts) {
    std::string bytes = Concatenate(in, &rules);
    route::VirtualHost tail;
    tail.set_include_request_attempt_count(true);
    if (rules.redirect) tail.set_require_tls(route::VirtualHost::ALL);
    bytes += Serialize(tail);
    auto [found, fresh] = groups.try_emplace(bytes);
    if (fresh) {
      found->second.name = host + ":" + std::to_string(rules.number);
      order.push_back(bytes);
    }
    found->second.domains.push_back(host);
  }
  RouteConfig config(name);
  for (const std::string& bytes : order)
    config.AddHost(RouteConfig::Host(groups[bytes].name, groups[bytes].domains, bytes));
  if (config.empty()) {
    config.AddHost(
        RouteConfig::Host("blackhole:" + std::to_string(servers.front()->number), {"*"}, ""));
  }
  return in.workshop.interned.Intern(std::move(config).Build());
}

}  // namespace

Resources BuildGatewayRoutes(const ClassInputs& in, const std::vector<GatewayPort>& ports) {
  Resources result;
  for (const GatewayPort& port : ports) {
    std::vector<const GatewayServer*> plain;
    for (const GatewayServer& server : port.servers) {
      if (server.kind == ServerKind::kHttp) plain.push_back(&server);
      if (server.kind == ServerKind::kHttps)
        result.push_back(Build(in, server.HttpsRouteName(), {&server}));
    }
    if (!plain.empty()) result.push_back(Build(in, port.HttpRouteName(), plain));
  }
  return result;
}

}  // namespace isthmus::translate
