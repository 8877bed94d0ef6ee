#include <algorithm>
#include <set>

#include "envoy/config/listener/v3/listener.pb.h"
#include "istio/mesh/v1alpha1/config.pb.h"
#include "istio/mesh/v1alpha1/proxy.pb.h"
#include "istio/networking/v1/destination_rule.pb.h"
#include "istio/networking/v1/gateway.pb.h"
#include "istio/security/v1/authorization_policy.pb.h"
#include "istio/security/v1/request_authentication.pb.h"
#include "translate/external_authorization.h"
#include "translate/filters.h"
#include "translate/gateway_plan.h"
#include "translate/names.h"
#include "translate/pack.h"
#include "translate/ranges.h"
#include "translate/tcp_routes.h"
#include "translate/tls.h"

namespace isthmus::translate {
namespace {

namespace v1 = istio::networking::v1;
using envoy::config::listener::v3::FilterChain;
using envoy::config::listener::v3::Listener;

/// Offers of mesh clients; what offers none of them is not taken to a service of the mesh.
constexpr const char* kMeshAlpn[] = {"istio", "istio-peer-exchange", "istio-http/1.0",
                                     "istio-http/1.1", "istio-h2"};

constexpr int kDiscoveryPort = 15012;

/// Chains as serialised fields of a Listener. Frozen.
struct Chains {
  std::string bytes;
  std::vector<std::string> names;
};

std::string Finish(FilterChain* chain) {
  chain->mutable_transport_socket_connect_timeout()->set_seconds(15);
  return Serialize(*chain);
}

/// The chains through which mesh clients of other networks reach one service.
std::shared_ptr<const Chains> SniChains(const ClassInputs& in, const ServicePtr& service) {
  MemoKey key("sni chains");
  key.Add(in.world.mesh);
  AddService(in, service, &key);
  auto chains = in.workshop.memo.Get<Chains>(key, [&] {
    auto result = std::make_shared<Chains>();
    const auto rule = in.destinations.FindRule(service->hostname);
    for (const model::Port& port : service->ports) {
      if (port.protocol == model::Protocol::kUdp) continue;
      std::vector<std::string> subsets = {""};
      if (rule != nullptr) {
        for (const v1::Subset* subset : rule->subsets) subsets.push_back(subset->name());
      }
      for (const std::string& subset : subsets) {
        const std::string name = SniName(port.number, subset, service->hostname);
        FilterChain chain;
        auto* match = chain.mutable_filter_chain_match();
        match->add_server_names(name);
        for (const char* alpn : kMeshAlpn) match->add_application_protocols(alpn);
        WriteTcpProxy(*in.world.mesh, TcpTarget::To(name), chain.add_filters());
        AppendField(Listener::kFilterChainsFieldNumber, Finish(&chain), &result->bytes);
        result->names.push_back(name);
      }
    }
    return std::shared_ptr<const Chains>(std::move(result));
  });
  in.kept.push_back(chains);
  return chains;
}

/// The chain through which another network reaches the control plane behind this gateway, by the
/// name that its certificate has: agents and API servers whose own control plane is away come with
/// that. The cluster for the service's SNI would not do: it has only endpoints with proxies.
void AddControlPlaneChain(const ClassInputs& in, const ServicePtr& service, std::string* bytes) {
  const MeshSettings& mesh = *in.world.mesh;
  const std::string& address = mesh.source->default_config().discovery_address();
  const std::string host = address.substr(0, address.rfind(':'));
  if (host.empty() || service->ns != mesh.root_namespace ||
      service->hostname != host + "." + mesh.domain_suffix || !service->FindPort(kDiscoveryPort))
    return;
  FilterChain chain;
  auto* match = chain.mutable_filter_chain_match();
  match->add_server_names(host);
  // What a remote with an istiod of its own, for injection, calls the control plane of another.
  if (const std::string remote = "istiod-remote." + service->ns + ".svc"; remote != host)
    match->add_server_names(remote);
  WriteTcpProxy(mesh, TcpTarget::To(OutboundName(kDiscoveryPort, "", service->hostname)),
                chain.add_filters());
  AppendField(Listener::kFilterChainsFieldNumber, Finish(&chain), bytes);
}

/// One listener of a gateway while it is put together.
class PortBuilder {
 public:
  PortBuilder(const ClassInputs& in, const GatewayPort& port,
              const WorkloadAuthorization& authorization,
              const std::vector<std::string>& first_filters)
      : in_(in),
        mesh_(*in.world.mesh),
        port_(port),
        authorization_(authorization),
        first_filters_(first_filters) {
    const std::string bind = port.bind.empty() ? in.proxy.wildcard() : port.bind;
    name_ = bind + "_" + std::to_string(port.port);
    head_.set_name(name_);
    WriteAddress(bind, port.port, port.bind.empty() && in.proxy.ipv4 && in.proxy.ipv6, &head_);
    head_.set_traffic_direction(envoy::config::core::v3::OUTBOUND);
    head_.mutable_max_connections_to_accept_per_socket_event()->set_value(1);
  }

  /// Null when no chain came out: Envoy refuses such a listener.
  std::shared_ptr<const model::Resource> Build() {
    if (port_.servers.front().kind == ServerKind::kHttp) AddHttp();
    for (const GatewayServer& server : port_.servers) {
      switch (server.kind) {
        case ServerKind::kHttp:
          break;
        case ServerKind::kHttps:
          AddHttps(server);
          break;
        case ServerKind::kTcp:
          AddTcp(server, false);
          break;
        case ServerKind::kTls:
          AddTcp(server, true);
          break;
        case ServerKind::kPassthrough:
          AddPassthrough(server);
          break;
        case ServerKind::kAutoPassthrough:
          AddSni(server);
          break;
      }
    }
    if (chains_.empty()) return nullptr;
    if (tls_) AddTlsInspector(&head_);
    WriteListenerLog(mesh_, &head_);
    return in_.workshop.interned.Intern(
        MakeResource(name_, kListenerType, Serialize(head_) + chains_));
  }

 private:
  void Add(FilterChain* chain) {
    AppendField(Listener::kFilterChainsFieldNumber, Finish(chain), &chains_);
  }

  HttpManager Manager(const std::string& route_name) const {
    HttpManager manager;
    manager.side = HttpSide::kGateway;
    manager.stat_prefix = "outbound_" + name_ + ";";
    manager.route_name = route_name;
    manager.http10 = in_.proxy.http10;
    manager.authorization = first_filters_;
    for (std::string& filter : HttpAuthorization(mesh_, authorization_))
      manager.authorization.push_back(std::move(filter));
    return manager;
  }

  void AddAuthorization(FilterChain* chain) const {
    for (const std::string& filter : TcpAuthorization(mesh_, authorization_)) {
      chain->add_filters()->ParseFromString(filter);
    }
  }

  void AddHttp() {
    FilterChain chain;
    WriteHttpManager(mesh_, Manager(port_.HttpRouteName()), chain.add_filters());
    Add(&chain);
  }

  /// False when every name is taken, also the one that takes all.
  bool MatchNames(std::vector<std::string> names, const std::vector<std::string>& ranges,
                  FilterChain* chain) {
    tls_ = true;
    auto* match = chain->mutable_filter_chain_match();
    const bool any = names.empty();
    std::erase_if(names, [&](const std::string& name) { return !names_.insert(name).second; });
    if (any && ranges.empty() && !names_.insert("*").second) return false;
    if (!any && names.empty()) return false;
    for (const std::string& name : names) match->add_server_names(name);
    for (const std::string& range : ranges) WriteRange(range, match->add_prefix_ranges());
    if (any && ranges.empty()) chain->clear_filter_chain_match();
    return true;
  }

  void AddHttps(const GatewayServer& server) {
    FilterChain chain;
    if (!MatchNames(server.ServerNames(), {}, &chain)) return;
    HttpManager manager = Manager(server.HttpsRouteName());
    if (!server.server->name().empty()) manager.stat_prefix = server.server->name();
    WriteHttpManager(mesh_, manager, chain.add_filters());
    WriteGatewayTls(mesh_, *server.server, true, chain.mutable_transport_socket());
    Add(&chain);
  }

  /// The rules bound to the server's gateway that may speak for its hosts, oldest first.
  std::vector<RulesPtr> RulesOf(const GatewayServer& server) const {
    std::vector<RulesPtr> result;
    for (const RulesPtr& rules : in_.world.routes->ForGateway(server.gateway)) {
      if (!rules->export_to.VisibleIn(in_.proxy.ns)) continue;
      const bool admitted = std::any_of(
          rules->hosts.begin(), rules->hosts.end(),
          [&](const std::string& host) { return !server.Admits(rules->meta().ns, host).empty(); });
      if (admitted) result.push_back(rules);
    }
    return result;
  }

  void AddTcp(const GatewayServer& server, bool tls) {
    for (const RulesPtr& rules : RulesOf(server)) {
      std::vector<TcpRoute> routes = TcpRoutes(in_, *rules, {server.gateway}, server.number);
      if (routes.empty()) continue;
      FilterChain chain;
      if (tls && !MatchNames(server.ServerNames(), {}, &chain)) return;
      AddAuthorization(&chain);
      WriteTcpProxy(mesh_, routes.front().target, chain.add_filters());
      if (tls) WriteGatewayTls(mesh_, *server.server, false, chain.mutable_transport_socket());
      Add(&chain);
      return;
    }
  }

  void AddPassthrough(const GatewayServer& server) {
    for (const RulesPtr& rules : RulesOf(server)) {
      for (const TcpRoute& route : TlsRoutes(in_, *rules, {server.gateway}, server.number)) {
        std::vector<std::string> names = route.server_names;
        const bool any = names.empty();
        std::erase_if(names, [&](const std::string& name) {
          return server.Admits(rules->meta().ns, name).empty();
        });
        if (any) names = server.ServerNames();
        if (!any && names.empty()) continue;
        FilterChain chain;
        if (!MatchNames(names, route.ranges, &chain)) continue;
        AddAuthorization(&chain);
        WriteTcpProxy(mesh_, route.target, chain.add_filters());
        Add(&chain);
      }
    }
  }

  void AddSni(const GatewayServer& server) {
    tls_ = true;
    for (const ServicePtr& service : in_.scope.services()) {
      if (service->external || service->resolution == model::Resolution::kAlias ||
          service->resolution == model::Resolution::kDynamicDns) {
        continue;
      }
      const bool covered = std::any_of(server.hosts.begin(), server.hosts.end(),
                                       [&](const GatewayServer::Host& host) {
                                         return (host.ns == "*" || host.ns == service->ns) &&
                                                HostCovers(host.name, service->hostname);
                                       });
      if (!covered || !sni_services_.insert(service->hostname).second) continue;
      chains_ += SniChains(in_, service)->bytes;
      AddControlPlaneChain(in_, service, &chains_);
    }
  }

  const ClassInputs& in_;
  const MeshSettings& mesh_;
  const GatewayPort& port_;
  const WorkloadAuthorization& authorization_;
  const std::vector<std::string>& first_filters_;
  std::string name_;
  Listener head_;
  std::string chains_;
  std::set<std::string> names_;
  std::set<std::string> sni_services_;
  bool tls_ = false;
};

}  // namespace

Resources BuildGatewayListeners(const ClassInputs& in, const std::vector<GatewayPort>& ports) {
  Resources result;
  WorkloadAuthorization authorization =
      ByAction(in.world.authorization->For(in.proxy.ns, in.proxy.labels));
  std::vector<std::string> first_filters =
      ExternalAuthorization(*in.world.mesh, *in.world.snapshot, &authorization);
  TokenChecks tokens =
      BuildTokenChecks(*in.world.mesh, *in.world.snapshot,
                       in.world.tokens->For(in.proxy.ns, in.proxy.labels), in.proxy.ipv4, true);
  if (!tokens.filter.empty()) first_filters.push_back(std::move(tokens.filter));
  for (const GatewayPort& port : ports) {
    if (auto listener = PortBuilder(in, port, authorization, first_filters).Build())
      result.push_back(std::move(listener));
  }
  return result;
}

}  // namespace isthmus::translate
