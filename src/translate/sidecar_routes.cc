#include <algorithm>
#include <unordered_set>

#include "envoy/config/route/v3/route.pb.h"
#include "translate/class_inputs.h"
#include "translate/names.h"
#include "translate/pack.h"
#include "translate/route_config.h"
#include "translate/sidecar_ports.h"

namespace isthmus::translate {
namespace {

namespace route = envoy::config::route::v3;

/// The serialised routes of one virtual host, made once for all classes that route it alike.
/// Frozen.
struct HostRoutes {
  std::string bytes;
};

std::shared_ptr<const HostRoutes> RoutesOf(const ClassInputs& in, const ServicePtr& service,
                                           const RulesPtr& rules, int port) {
  MemoKey key("sidecar routes");
  key.Add(in.world.mesh).Add(port);
  AddService(in, service, &key);
  AddRules(in, rules, &key);
  auto routes = in.workshop.memo.Get<HostRoutes>(key, [&] {
    const RouteContext context{*in.world.mesh, in.proxy, in.destinations, port, {"mesh"}};
    route::VirtualHost host;
    if (rules != nullptr) AppendRoutes(context, *rules, &host);
    // Rules without HTTP routes say nothing about HTTP.
    if (service != nullptr && (rules == nullptr || !HasHttp(*rules))) {
      WriteDefaultRoute(context, *service, host.add_routes());
    }
    host.set_include_request_attempt_count(true);
    auto result = std::make_shared<HostRoutes>();
    result->bytes = Serialize(host);
    return std::shared_ptr<const HostRoutes>(std::move(result));
  });
  in.kept.push_back(routes);
  return routes;
}

std::string AddressDomain(const std::string& address) {
  return IsIpv6(address) ? "[" + address + "]" : address;
}

/// The names by which a Kubernetes service may be called from a namespace, the full one first.
void AddNames(const MeshSettings& mesh, const std::string& hostname, const std::string& from_ns,
              bool headless, std::vector<std::string>* domains) {
  std::vector<std::string> names = {hostname, hostname + "."};
  const std::string suffix = ".svc." + mesh.domain_suffix;
  if (hostname.ends_with(suffix)) {
    const std::string place = hostname.substr(0, hostname.size() - suffix.size());
    const size_t dot = place.rfind('.');
    if (dot != std::string::npos) {
      if (place.substr(dot + 1) == from_ns) names.push_back(place.substr(0, dot));
      names.push_back(place);
      names.push_back(place + ".svc");
    }
  }
  for (const std::string& name : names) {
    domains->push_back(name);
    if (headless && !name.starts_with('*')) domains->push_back("*." + name);
  }
}

std::vector<std::string> DomainsOf(const ClassInputs& in, const model::Service& service) {
  std::vector<std::string> domains;
  AddNames(*in.world.mesh, service.hostname, in.proxy.ns, service.headless, &domains);
  for (const std::string& alias : in.world.services->AliasesOf(service.hostname)) {
    AddNames(*in.world.mesh, alias, in.proxy.ns, false, &domains);
  }
  for (const std::string& address : DialledAddresses(in.proxy, service)) {
    if (address.find('/') == std::string::npos) domains.push_back(AddressDomain(address));
  }
  return domains;
}

/// One candidate of the shared configuration of a port.
struct Host {
  std::string hostname;
  ServicePtr service;  ///< Null for a host that only rules speak about.
  RulesPtr rules;
};

/// A virtual host of a shared configuration, made once for all classes that name and route it
/// alike. Frozen.
struct HostPart {
  std::string hostname;
  ServicePtr service;
  RulesPtr rules;
  std::vector<std::string> domains;
  std::vector<size_t> hashes;  ///< Of the domains.
  std::string bytes;           ///< The whole VirtualHost, its routes at the end.
  size_t routes_at = 0;
  std::string_view routes() const { return std::string_view(bytes).substr(routes_at); }
  bool IsOf(const Host& host) const {
    return service == host.service && rules == host.rules && hostname == host.hostname;
  }
};

std::string NameOf(const std::string& hostname, int port) {
  return hostname + ":" + std::to_string(port);
}

std::shared_ptr<const HostPart> PartOf(const ClassInputs& in, const Host& host, int port) {
  MemoKey key("sidecar host");
  key.Add(in.world.mesh).Add(port).Add(host.hostname);
  AddService(in, host.service, &key);
  AddRules(in, host.rules, &key);
  // What the domains depend on besides.
  const std::string own = "." + in.proxy.ns + ".svc." + in.world.mesh->domain_suffix;
  key.Add(host.hostname.ends_with(own) ? std::string_view(in.proxy.ns) : std::string_view());
  key.Add(in.proxy.cluster.text()).Add(in.proxy.ipv4).Add(in.proxy.ipv6).Add(in.proxy.dns_capture);
  for (const std::string& alias : in.world.services->AliasesOf(host.hostname))
    key.Add(alias).Add(in.proxy.ns);
  return in.workshop.memo.Get<HostPart>(key, [&] {
    auto result = std::make_shared<HostPart>();
    result->hostname = host.hostname;
    result->service = host.service;
    result->rules = host.rules;
    if (host.service != nullptr)
      result->domains = DomainsOf(in, *host.service);
    else
      AddNames(*in.world.mesh, host.hostname, in.proxy.ns, false, &result->domains);
    std::unordered_set<std::string> seen;
    std::erase_if(result->domains,
                  [&](const std::string& domain) { return !seen.insert(domain).second; });
    for (const std::string& domain : result->domains)
      result->hashes.push_back(std::hash<std::string>()(domain));
    const auto routes = RoutesOf(in, host.service, host.rules, port);
    result->bytes = RouteConfig::Host(NameOf(host.hostname, port), result->domains, routes->bytes);
    result->routes_at = result->bytes.size() - routes->bytes.size();
    return std::shared_ptr<const HostPart>(std::move(result));
  });
}

std::string CatchAllHost(const MeshSettings& mesh) {
  route::VirtualHost host;
  host.add_domains("*");
  host.set_include_request_attempt_count(true);
  if (mesh.allow_any) {
    host.set_name("allow_any");
    WriteCatchAll("allow_any", kPassthroughCluster, host.add_routes());
  } else {
    host.set_name("block_all");
    auto* out = host.add_routes();
    out->set_name("block_all");
    out->mutable_match()->set_prefix("/");
    out->mutable_direct_response()->set_status(502);
  }
  return Serialize(host);
}

using HostParts = std::vector<std::shared_ptr<const HostPart>>;

/// Whether no domain is in two of the parts, nor in the one for all others.
bool AreDistinct(const HostParts& parts) {
  std::vector<size_t> hashes = {std::hash<std::string>()("*")};
  for (const auto& part : parts)
    hashes.insert(hashes.end(), part->hashes.begin(), part->hashes.end());
  std::sort(hashes.begin(), hashes.end());
  return std::adjacent_find(hashes.begin(), hashes.end()) == hashes.end();
}

}  // namespace

struct RouteTables::Table {
  HostParts parts;        ///< By hostname.
  bool distinct = false;  ///< No domain is in two parts.
};

namespace {

using Table = RouteTables::Table;

/// The parts of sorted hosts. Those that `before`, which may be null, has of the same hosts are
/// taken over.
Table MakeTable(const ClassInputs& in, int port, const std::vector<Host>& hosts,
                const Table* before) {
  Table table;
  table.parts.reserve(hosts.size());
  bool same_domains = before != nullptr && before->parts.size() == hosts.size();
  size_t at = 0;
  for (const Host& host : hosts) {
    std::shared_ptr<const HostPart> part;
    if (before != nullptr) {
      while (at < before->parts.size() && before->parts[at]->hostname < host.hostname) ++at;
      if (at < before->parts.size() && before->parts[at]->IsOf(host)) part = before->parts[at];
    }
    if (part == nullptr) part = PartOf(in, host, port);
    if (same_domains) {
      const auto& old = before->parts[table.parts.size()];
      same_domains = old == part || old->hashes == part->hashes;
    }
    table.parts.push_back(std::move(part));
  }
  table.distinct = same_domains ? before->distinct : AreDistinct(table.parts);
  return table;
}

std::shared_ptr<const model::Resource> BuildShared(const ClassInputs& in, int port,
                                                   const Table& table,
                                                   const std::string& catch_all) {
  constexpr size_t kFieldHead = 8;
  RouteConfig config(std::to_string(port));
  if (table.distinct) {
    size_t size = catch_all.size() + kFieldHead;
    for (const auto& part : table.parts) size += part->bytes.size() + kFieldHead;
    config.Reserve(size);
    for (const auto& part : table.parts) config.AddHost(part->bytes);
  } else {
    // A domain that two hosts claim is the first one's; Envoy would refuse the table.
    std::unordered_set<std::string> taken = {"*"};
    for (const auto& part : table.parts) {
      std::vector<std::string> domains = part->domains;
      std::erase_if(domains,
                    [&](const std::string& domain) { return !taken.insert(domain).second; });
      if (domains.empty()) continue;
      config.AddHost(RouteConfig::Host(NameOf(part->hostname, port), domains, part->routes()));
    }
  }
  config.AddHost(catch_all);
  return in.workshop.interned.Intern(std::move(config).Build());
}

std::shared_ptr<const model::Resource> BuildSingle(const ClassInputs& in,
                                                   const ServicePort& target) {
  const std::string name = target.service->hostname + ":" + std::to_string(target.port->number);
  const RulesPtr rules = in.world.routes->ForMesh(target.service->hostname, in.proxy.ns);
  MemoKey key("single route");
  key.Add(in.world.mesh).Add(target.port->number);
  AddService(in, target.service, &key);
  AddRules(in, rules, &key);
  return in.workshop.memo.Get<model::Resource>(key, [&] {
    RouteConfig config(name);
    config.AddHost(RouteConfig::Host(
        name, {"*"}, RoutesOf(in, target.service, rules, target.port->number)->bytes));
    return in.workshop.interned.Intern(std::move(config).Build());
  });
}

}  // namespace

Resources BuildSidecarRoutes(const ClassInputs& in, RouteTables* tables) {
  const SidecarPorts plan = PlanSidecarPorts(in);
  std::map<int, std::vector<Host>> shared;
  for (const auto& [port, wildcard] : plan.wildcards) {
    const bool detect = std::any_of(
        wildcard.streams.begin(), wildcard.streams.end(),
        [](const ServicePort& stream) { return stream.port->protocol == model::Protocol::kAuto; });
    if (wildcard.http || detect) shared[port];
  }
  for (const ServicePtr& service : in.scope.services()) {
    if (service->resolution == model::Resolution::kAlias) continue;
    for (const model::Port& port : service->ports) {
      if (!model::IsHttp(port.protocol) && port.protocol != model::Protocol::kAuto) continue;
      auto found = shared.find(port.number);
      if (found == shared.end()) continue;
      found->second.push_back(
          {service->hostname, service, in.world.routes->ForMesh(service->hostname, in.proxy.ns)});
    }
  }
  // Hosts that only rules know are reached on the port of plain HTTP.
  if (auto plain = shared.find(80); plain != shared.end()) {
    for (const auto& [host, rules] : in.world.routes->MeshHosts(in.proxy.ns)) {
      const bool seen =
          in.sidecar == nullptr || in.sidecar->Admits(in.proxy.ns, rules->meta().ns, host);
      if (seen && in.scope.Find(host) == nullptr && HasHttp(*rules))
        plain->second.push_back({host, nullptr, rules});
    }
  }
  const std::string catch_all = CatchAllHost(*in.world.mesh);
  Resources result;
  RouteTables now;
  for (auto& [port, hosts] : shared) {
    std::sort(hosts.begin(), hosts.end(),
              [](const Host& a, const Host& b) { return a.hostname < b.hostname; });
    const auto before = tables->by_port.find(port);
    const bool reuse = tables->reusable && before != tables->by_port.end();
    auto table = std::make_shared<const Table>(
        MakeTable(in, port, hosts, reuse ? before->second.get() : nullptr));
    result.push_back(BuildShared(in, port, *table, catch_all));
    now.by_port.emplace(port, std::move(table));
  }
  *tables = std::move(now);
  std::unordered_set<std::string> single;
  for (const auto& addressed : plan.addressed) {
    if (addressed.target.port->protocol != model::Protocol::kAuto) continue;
    auto resource = BuildSingle(in, addressed.target);
    if (single.insert(resource->name).second) result.push_back(std::move(resource));
  }
  return result;
}

}  // namespace isthmus::translate
