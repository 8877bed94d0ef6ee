#include <algorithm>
#include <set>

#include "envoy/config/listener/v3/listener.pb.h"
#include "envoy/config/route/v3/route.pb.h"
#include "envoy/extensions/filters/listener/original_dst/v3/original_dst.pb.h"
#include "envoy/extensions/filters/listener/original_src/v3/original_src.pb.h"
#include "translate/convert.h"
#include "translate/filters.h"
#include "translate/inbound_listener.h"
#include "translate/names.h"
#include "translate/pack.h"
#include "translate/tls.h"

namespace isthmus::translate {
namespace {

using envoy::config::listener::v3::FilterChain;
using envoy::config::listener::v3::Listener;
using Alpns = std::vector<const char*>;

// Offers of mesh clients, by what they want to talk.
const Alpns kAnyMesh = {"istio", "istio-peer-exchange", "istio-http/1.0", "istio-http/1.1",
                        "istio-h2"};
const Alpns kHttpMesh = {"istio-http/1.0", "istio-http/1.1", "istio-h2"};
const Alpns kTcpMesh = {"istio-peer-exchange", "istio"};

/// The mark by which traffic rules know packets that Envoy sends with the client's address.
constexpr uint32_t kOriginalSourceMark = 1337;

/// What one chain does with the connections that it takes.
enum class Ending { kTerminate, kPlain, kForwardTls };

/// The chains of one target port, or of all ports that no service declares.
struct PortGroup {
  int target = 0;            ///< 0: the catch-all.
  bool matches_port = true;  ///< False for the catch-all without its own port.
  MtlsMode mode = MtlsMode::kPermissive;
  model::Protocol protocol = model::Protocol::kAuto;
  std::string cluster;
  std::string http_name;
  std::string tcp_name;
  std::string http_stat_prefix;
  std::string route;  ///< Serialised.
};

std::string InlineRoute(const std::string& cluster, int service_port, const std::string& host,
                        bool grpc) {
  envoy::config::route::v3::RouteConfiguration config;
  config.set_name(cluster);
  auto* vhost = config.add_virtual_hosts();
  vhost->set_name("inbound|http|" + std::to_string(service_port));
  vhost->add_domains("*");
  auto* route = vhost->add_routes();
  route->set_name("default");
  route->mutable_match()->set_prefix("/");
  auto* action = route->mutable_route();
  action->set_cluster(cluster);
  action->mutable_timeout();
  action->mutable_max_stream_duration()->mutable_max_stream_duration();
  action->mutable_max_stream_duration()->mutable_grpc_timeout_header_max();
  if (!grpc) {
    action->mutable_retry_policy()->set_retry_on("reset-before-request");
    action->mutable_retry_policy()->mutable_num_retries()->set_value(2);
  }
  route->mutable_decorator()->set_operation(host + ":" + std::to_string(service_port) + "/*");
  config.mutable_validate_clusters()->set_value(false);
  return Serialize(config);
}

class InboundListener {
 public:
  explicit InboundListener(const InboundInputs& in)
      : in_(in),
        mesh_(in.mesh),
        http_authorization_(HttpAuthorization(in.mesh, in.authorization)),
        tcp_authorization_(TcpAuthorization(in.mesh, in.authorization)) {
    http_authorization_.insert(http_authorization_.begin(), in.first_filters.begin(),
                               in.first_filters.end());
  }

  Listener Build() {
    Start();
    AddLoop();
    AddCatchAll(false, 0, in_.mtls.mode);
    for (const auto& [port, mode] : in_.mtls.ports) {
      if (!Declared(port)) AddCatchAll(true, port, mode);
    }
    for (const InboundPort& port : in_.ports) AddPort(port);
    AddListenerFilters();
    WriteListenerLog(mesh_, &listener_);
    return std::move(listener_);
  }

 private:
  void Start() {
    listener_.set_name("virtualInbound");
    WriteAddress(in_.ipv4 ? "0.0.0.0" : "::", mesh_.inbound_port, in_.ipv4 && in_.ipv6, &listener_);
    listener_.set_traffic_direction(envoy::config::core::v3::INBOUND);
    SetDuration(mesh_.detection_timeout, listener_.mutable_listener_filters_timeout());
    listener_.set_continue_on_listener_filters_timeout(true);
    listener_.mutable_max_connections_to_accept_per_socket_event()->set_value(1);
    if (in_.tproxy) listener_.mutable_transparent()->set_value(true);
  }

  /// Connections to the listener's own port were captured by nobody: they would run in a circle.
  void AddLoop() {
    FilterChain* chain = listener_.add_filter_chains();
    chain->set_name("virtualInbound-blackhole");
    chain->mutable_filter_chain_match()->mutable_destination_port()->set_value(
        static_cast<uint32_t>(mesh_.inbound_port));
    WriteTcpProxy(mesh_, TcpTarget::To(kBlackHoleCluster), chain->add_filters());
    no_tls_.insert(mesh_.inbound_port);
    no_http_.insert(mesh_.inbound_port);
  }

  bool Declared(int port) const {
    return std::any_of(in_.ports.begin(), in_.ports.end(),
                       [&](const InboundPort& p) { return p.target == port; });
  }

  void AddCatchAll(bool matches_port, int port, MtlsMode mode) {
    PortGroup group;
    group.target = port;
    group.matches_port = matches_port;
    group.mode = mode;
    group.cluster = std::string(kInboundPassthroughCluster);
    group.http_name = "virtualInbound-catchall-http";
    group.tcp_name = "virtualInbound";
    group.http_stat_prefix = group.cluster + ";";
    group.route = InlineRoute(group.cluster, 0, "", false);
    AddGroup(group);
  }

  void AddPort(const InboundPort& port) {
    const auto& [service, service_port] = port.services.front();
    PortGroup group;
    group.target = port.target;
    group.mode = in_.mtls.For(port.target);
    group.protocol = service_port.protocol;
    group.cluster = InboundName(port.target);
    const std::string name = "0.0.0.0_" + std::to_string(port.target);
    group.http_name = group.tcp_name = name;
    group.http_stat_prefix = "inbound_" + name + ";";
    group.route = InlineRoute(group.cluster, service_port.number, service->hostname,
                              service_port.protocol == model::Protocol::kGrpc);
    AddGroup(group);
  }

  void AddGroup(const PortGroup& group) {
    const bool strict = group.mode == MtlsMode::kStrict;
    const bool permissive = group.mode == MtlsMode::kPermissive;
    if (group.mode == MtlsMode::kDisable && group.matches_port) no_tls_.insert(group.target);
    Alpns plain_http;
    if (in_.http10) plain_http.push_back("http/1.0");
    plain_http.insert(plain_http.end(), {"http/1.1", "h2c"});
    if (model::IsHttp(group.protocol)) {
      if (group.matches_port) no_http_.insert(group.target);
      if (strict) Add(group, true, Ending::kTerminate, {});
      if (permissive) Add(group, true, Ending::kTerminate, kAnyMesh);
      if (!strict) Add(group, true, Ending::kPlain, {});
      return;
    }
    if (group.protocol != model::Protocol::kAuto) {
      if (group.matches_port) no_http_.insert(group.target);
      if (strict) Add(group, false, Ending::kTerminate, {});
      if (permissive) Add(group, false, Ending::kTerminate, kAnyMesh);
      if (permissive) Add(group, false, Ending::kForwardTls, {});
      if (!strict) Add(group, false, Ending::kPlain, {});
      return;
    }
    if (strict) {
      if (group.matches_port) no_http_.insert(group.target);
      Add(group, true, Ending::kTerminate, kHttpMesh);
      Add(group, false, Ending::kTerminate, {});
      return;
    }
    if (permissive) Add(group, true, Ending::kTerminate, kHttpMesh);
    Add(group, true, Ending::kPlain, plain_http);
    if (permissive) Add(group, false, Ending::kTerminate, kTcpMesh);
    Add(group, false, Ending::kPlain, {});
    // Where the inspector runs on ports that nobody declared, the application's own TLS needs a
    // chain too.
    if (permissive || !group.matches_port) Add(group, false, Ending::kForwardTls, {});
  }

  void Add(const PortGroup& group, bool http, Ending ending, const Alpns& alpns) {
    FilterChain* chain = listener_.add_filter_chains();
    chain->set_name(http ? group.http_name : group.tcp_name);
    auto* match = chain->mutable_filter_chain_match();
    if (group.matches_port)
      match->mutable_destination_port()->set_value(static_cast<uint32_t>(group.target));
    match->set_transport_protocol(ending == Ending::kPlain ? "raw_buffer" : "tls");
    for (const char* alpn : alpns) match->add_application_protocols(alpn);
    if (ending == Ending::kTerminate)
      WriteDownstreamMtls(mesh_, http, chain->mutable_transport_socket());
    if (http) {
      HttpManager manager;
      manager.side = HttpSide::kInbound;
      manager.stat_prefix = group.http_stat_prefix;
      manager.inline_route = group.route;
      manager.http2_port = model::IsHttp2(group.protocol);
      manager.http10 = in_.http10;
      manager.authorization = http_authorization_;
      manager.grpc_web = group.protocol == model::Protocol::kGrpcWeb;
      WriteHttpManager(mesh_, manager, chain->add_filters());
      return;
    }
    for (const std::string& filter : tcp_authorization_)
      chain->add_filters()->ParseFromString(filter);
    WriteTcpProxy(mesh_, TcpTarget::To(group.cluster), chain->add_filters());
  }

  void AddListenerFilters() {
    auto* original = listener_.add_listener_filters();
    original->set_name("envoy.filters.listener.original_dst");
    Pack(envoy::extensions::filters::listener::original_dst::v3::OriginalDst(),
         original->mutable_typed_config());
    if (in_.tproxy) {
      envoy::extensions::filters::listener::original_src::v3::OriginalSrc source;
      source.set_mark(kOriginalSourceMark);
      auto* filter = listener_.add_listener_filters();
      filter->set_name("envoy.filters.listener.original_src");
      Pack(source, filter->mutable_typed_config());
    }
    AddTlsInspector(&listener_);
    Except(no_tls_);
    AddHttpInspector(&listener_);
    Except(no_http_);
  }

  /// The filter just added does not run on these ports: servers that speak first would wait for
  /// ever.
  void Except(const std::set<int>& ports) {
    auto* disabled = listener_.mutable_listener_filters(listener_.listener_filters_size() - 1)
                         ->mutable_filter_disabled();
    auto write = [](int port,
                    envoy::config::listener::v3::ListenerFilterChainMatchPredicate* predicate) {
      predicate->mutable_destination_port_range()->set_start(port);
      predicate->mutable_destination_port_range()->set_end(port + 1);
    };
    if (ports.size() == 1) return write(*ports.begin(), disabled);
    for (int port : ports) write(port, disabled->mutable_or_match()->add_rules());
  }

  const InboundInputs& in_;
  const MeshSettings& mesh_;
  std::vector<std::string> http_authorization_;
  const std::vector<std::string> tcp_authorization_;
  Listener listener_;
  std::set<int> no_tls_;
  std::set<int> no_http_;
};

}  // namespace

std::shared_ptr<const model::Resource> BuildInboundListener(const InboundInputs& in) {
  return MakeResource("virtualInbound", kListenerType, InboundListener(in).Build());
}

}  // namespace isthmus::translate
