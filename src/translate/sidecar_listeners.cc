#include <algorithm>
#include <set>

#include "envoy/config/listener/v3/listener.pb.h"
#include "translate/class_inputs.h"
#include "translate/convert.h"
#include "translate/filters.h"
#include "translate/names.h"
#include "translate/pack.h"
#include "translate/ranges.h"
#include "translate/sidecar_ports.h"
#include "translate/tcp_routes.h"

namespace isthmus::translate {
namespace {

using envoy::config::listener::v3::FilterChain;
using envoy::config::listener::v3::Listener;
using ResourcePtr = std::shared_ptr<const model::Resource>;

const std::set<std::string> kMesh = {"mesh"};

std::string_view PassthroughTarget(const MeshSettings& mesh) {
  return mesh.allow_any ? kPassthroughCluster : kBlackHoleCluster;
}

/// One outbound listener while it is put together.
class ListenerBuilder {
 public:
  ListenerBuilder(const ClassInputs& in, const std::string& bind, int port)
      : in_(in), mesh_(*in.world.mesh), name_(bind + "_" + std::to_string(port)) {
    listener_.set_name(name_);
    WriteAddress(bind, port, bind == "0.0.0.0" && in.proxy.ipv6, &listener_);
    listener_.set_traffic_direction(envoy::config::core::v3::OUTBOUND);
    listener_.mutable_bind_to_port()->set_value(false);
    SetDuration(mesh_.detection_timeout, listener_.mutable_listener_filters_timeout());
    listener_.set_continue_on_listener_filters_timeout(true);
  }

  void AddHttp(const std::string& route_name) {
    FilterChain* chain = listener_.add_filter_chains();
    auto* match = chain->mutable_filter_chain_match();
    match->set_transport_protocol("raw_buffer");
    if (in_.proxy.http10) match->add_application_protocols("http/1.0");
    match->add_application_protocols("http/1.1");
    match->add_application_protocols("h2c");
    HttpManager manager;
    manager.stat_prefix = "outbound_" + name_ + ";";
    manager.route_name = route_name;
    manager.http10 = in_.proxy.http10;
    WriteHttpManager(mesh_, manager, chain->add_filters());
    Finish(chain);
    http_ = true;
  }

  /// The first of equal matches stays: Envoy refuses a listener with two.
  void AddStream(const TcpRoute& route) {
    TcpRoute unique = route;
    std::erase_if(unique.server_names,
                  [&](const std::string& name) { return !names_.insert(name).second; });
    if (!route.server_names.empty() && unique.server_names.empty()) return;
    const bool all = unique.server_names.empty() && unique.ranges.empty();
    FilterChain* chain = nullptr;
    if (all) {
      if (listener_.has_default_filter_chain()) return;
      chain = listener_.mutable_default_filter_chain();
    } else {
      if (unique.server_names.empty() && !ranges_.insert(unique.ranges).second) return;
      chain = listener_.add_filter_chains();
      auto* match = chain->mutable_filter_chain_match();
      for (const std::string& name : unique.server_names) match->add_server_names(name);
      for (const std::string& range : unique.ranges) WriteRange(range, match->add_prefix_ranges());
      if (!unique.server_names.empty()) match->set_transport_protocol("tls");
    }
    WriteTcpProxy(mesh_, unique.target, chain->add_filters());
    Finish(chain);
  }

  /// Where connections go that nothing else takes.
  void AddPassthrough() {
    if (listener_.has_default_filter_chain()) return;
    FilterChain* chain = listener_.mutable_default_filter_chain();
    chain->set_name("PassthroughFilterChain");
    chain->mutable_filter_chain_match();
    WriteTcpProxy(mesh_, TcpTarget::To(PassthroughTarget(mesh_)), chain->add_filters());
  }

  ResourcePtr Build() {
    // A single chain that takes everything is an ordinary one.
    if (listener_.filter_chains().empty() && listener_.has_default_filter_chain()) {
      *listener_.add_filter_chains() = listener_.default_filter_chain();
      listener_.clear_default_filter_chain();
    }
    if (!names_.empty()) AddTlsInspector(&listener_);
    if (http_) AddHttpInspector(&listener_);
    WriteListenerLog(mesh_, &listener_);
    return in_.workshop.interned.Intern(MakeResource(name_, kListenerType, listener_));
  }

 private:
  static void Finish(FilterChain* chain) {
    chain->mutable_transport_socket_connect_timeout()->set_seconds(15);
  }

  const ClassInputs& in_;
  const MeshSettings& mesh_;
  const std::string name_;
  Listener listener_;
  std::set<std::string> names_;
  std::set<std::vector<std::string>> ranges_;
  bool http_ = false;
};

bool CarriesTls(model::Protocol protocol) {
  return protocol == model::Protocol::kTls || protocol == model::Protocol::kHttps;
}

/// The chains of one service port: its rules, then the service itself.
void AddStreams(const ClassInputs& in, const ServicePort& target, const RulesPtr& rules,
                bool wildcard, ListenerBuilder* builder) {
  const int port = target.port->number;
  const std::string& host = target.service->hostname;
  std::vector<TcpRoute> routes;
  if (rules != nullptr) {
    routes = CarriesTls(target.port->protocol) ? TlsRoutes(in, *rules, kMesh, port)
                                               : TcpRoutes(in, *rules, kMesh, port);
  }
  const bool any = !routes.empty();
  for (const TcpRoute& route : routes) builder->AddStream(route);
  if (any && wildcard) return;
  TcpRoute direct{{}, {}, DirectTarget(in, host, port)};
  if (wildcard && CarriesTls(target.port->protocol)) direct.server_names = {host};
  for (const std::string& address : DialledAddresses(in.proxy, *target.service)) {
    if (wildcard && address.find('/') != std::string::npos) direct.ranges.push_back(address);
  }
  builder->AddStream(direct);
}

ResourcePtr BuildAddressed(const ClassInputs& in, const SidecarPorts::Addressed& addressed) {
  const ServicePtr& service = addressed.target.service;
  const model::Port& port = *addressed.target.port;
  const RulesPtr rules = in.world.routes->ForMesh(service->hostname, in.proxy.ns);
  MemoKey key("addressed listener");
  key.Add(in.world.mesh).Add(port.number).Add(addressed.address).Add(in.proxy.http10);
  AddService(in, service, &key);
  AddRules(in, rules, &key);
  return in.workshop.memo.Get<model::Resource>(key, [&] {
    ListenerBuilder builder(in, addressed.address, port.number);
    if (port.protocol == model::Protocol::kAuto) {
      builder.AddHttp(service->hostname + ":" + std::to_string(port.number));
    }
    AddStreams(in, addressed.target, rules, false, &builder);
    return builder.Build();
  });
}

ResourcePtr BuildWildcard(const ClassInputs& in, int port, const SidecarPorts::Wildcard& wildcard) {
  MemoKey key("wildcard listener");
  key.Add(in.world.mesh)
      .Add(port)
      .Add(wildcard.http)
      .Add(in.proxy.http10)
      .Add(in.proxy.ipv4)
      .Add(in.proxy.ipv6);
  std::vector<RulesPtr> rules;
  for (const ServicePort& target : wildcard.streams) {
    rules.push_back(in.world.routes->ForMesh(target.service->hostname, in.proxy.ns));
    AddService(in, target.service, &key);
    AddRules(in, rules.back(), &key);
    for (const std::string& address : DialledAddresses(in.proxy, *target.service)) key.Add(address);
  }
  return in.workshop.memo.Get<model::Resource>(key, [&] {
    ListenerBuilder builder(in, in.proxy.wildcard(), port);
    bool detect = wildcard.http;
    for (const ServicePort& target : wildcard.streams) {
      detect = detect || target.port->protocol == model::Protocol::kAuto;
    }
    if (detect) builder.AddHttp(std::to_string(port));
    for (size_t i = 0; i < wildcard.streams.size(); ++i) {
      AddStreams(in, wildcard.streams[i], rules[i], true, &builder);
    }
    builder.AddPassthrough();
    return builder.Build();
  });
}

ResourcePtr BuildVirtualOutbound(const ClassInputs& in) {
  const MeshSettings& mesh = *in.world.mesh;
  Listener listener;
  listener.set_name("virtualOutbound");
  WriteAddress(in.proxy.wildcard(), mesh.outbound_port, in.proxy.ipv4 && in.proxy.ipv6, &listener);
  listener.mutable_use_original_dst()->set_value(true);
  listener.set_traffic_direction(envoy::config::core::v3::OUTBOUND);
  listener.mutable_max_connections_to_accept_per_socket_event()->set_value(1);
  if (in.proxy.interception == model::Proxy::Interception::kTproxy) {
    listener.mutable_transparent()->set_value(true);
  }
  FilterChain* loop = listener.add_filter_chains();
  loop->set_name("virtualOutbound-blackhole");
  loop->mutable_filter_chain_match()->mutable_destination_port()->set_value(
      static_cast<uint32_t>(mesh.outbound_port));
  WriteTcpProxy(mesh, TcpTarget::To(kBlackHoleCluster), loop->add_filters());
  FilterChain* rest = listener.add_filter_chains();
  rest->set_name("virtualOutbound-catchall-tcp");
  WriteTcpProxy(mesh, TcpTarget::To(PassthroughTarget(mesh)), rest->add_filters());
  WriteListenerLog(mesh, &listener);
  return in.workshop.interned.Intern(MakeResource(listener.name(), kListenerType, listener));
}

}  // namespace

Resources BuildSidecarListeners(const ClassInputs& in) {
  const SidecarPorts plan = PlanSidecarPorts(in);
  Resources result;
  for (const auto& [port, wildcard] : plan.wildcards)
    result.push_back(BuildWildcard(in, port, wildcard));
  for (const auto& addressed : plan.addressed) result.push_back(BuildAddressed(in, addressed));
  result.push_back(BuildVirtualOutbound(in));
  return result;
}

}  // namespace isthmus::translate
