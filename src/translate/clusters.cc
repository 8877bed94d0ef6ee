#include "translate/clusters.h"

#include "envoy/config/cluster/v3/cluster.pb.h"
#include "envoy/extensions/network/dns_resolver/cares/v3/cares_dns_resolver.pb.h"
#include "envoy/extensions/transport_sockets/proxy_protocol/v3/upstream_proxy_protocol.pb.h"
#include "envoy/extensions/upstreams/http/v3/http_protocol_options.pb.h"
#include "istio/networking/v1/destination_rule.pb.h"
#include "translate/convert.h"
#include "translate/names.h"
#include "translate/pack.h"
#include "translate/tls.h"

namespace isthmus::translate {
namespace {

namespace v1 = istio::networking::v1;
namespace core = envoy::config::core::v3;
using envoy::config::cluster::v3::Cluster;
using google::protobuf::Arena;

Cluster::DiscoveryType Discovery(const ProxyClass& proxy, const model::Service& service,
                                 const TrafficPolicy& policy) {
  if (policy.load_balancer != nullptr &&
      policy.load_balancer->simple() == v1::LoadBalancerSettings::PASSTHROUGH &&
      policy.load_balancer->lb_policy_case() == v1::LoadBalancerSettings::kSimple) {
    return Cluster::ORIGINAL_DST;
  }
  switch (service.resolution) {
    case model::Resolution::kDns:
      return Cluster::STRICT_DNS;
    case model::Resolution::kDnsRoundRobin:
      return Cluster::LOGICAL_DNS;
    case model::Resolution::kPassthrough:
      return proxy.router() ? Cluster::EDS : Cluster::ORIGINAL_DST;
    default:
      return Cluster::EDS;
  }
}

std::vector<std::string> SubjectNames(const EndpointInputs& in) {
  std::set<std::string> names(in.service.subject_alt_names.begin(),
                              in.service.subject_alt_names.end());
  if (in.endpoints != nullptr)
    names.insert(in.endpoints->service_accounts.begin(), in.endpoints->service_accounts.end());
  const std::string own = "spiffe://" + in.mesh.trust_domain + "/";
  std::set<std::string> all = names;
  for (const std::string& name : names) {
    if (!name.starts_with(own)) continue;
    for (const std::string& alias : in.mesh.trust_domain_aliases) {
      all.insert("spiffe://" + alias + "/" + name.substr(own.size()));
    }
  }
  return {all.begin(), all.end()};
}

bool EveryInstanceDoesMtls(const model::ServiceEndpoints* endpoints) {
  bool any = false;
  if (endpoints == nullptr) return false;
  for (const auto& shard : endpoints->shards) {
    for (const model::Endpoint& endpoint : shard->endpoints) {
      if (!endpoint.mtls) return false;
      any = true;
    }
  }
  return any;
}

/// Builds the cluster of one port and subset.
class ClusterBuilder {
 public:
  ClusterBuilder(const EndpointInputs& in, const std::vector<std::string>& names,
                 const model::Port& port, const v1::Subset* subset, bool sni)
      : in_(in),
        names_(names),
        port_(port),
        subset_(subset == nullptr ? "" : subset->name()),
        sni_(sni),
        policy_(PolicyFor(in.rule, port.number, subset_)) {}

  /// Empty name: there is no such cluster.
  void Build(Cluster* cluster) {
    const Cluster::DiscoveryType type =
        sni_ ? Cluster::EDS : Discovery(in_.proxy, in_.service, policy_);
    const std::string host = in_.service.hostname;
    const std::string name =
        sni_ ? SniName(port_.number, subset_, host) : OutboundName(port_.number, subset_, host);
    cluster->set_type(type);
    if (type == Cluster::STRICT_DNS || type == Cluster::LOGICAL_DNS) {
      if (!WriteDns(name, cluster)) return;
    }
    cluster->set_name(name);
    cluster->set_alt_stat_name(name + ";");
    if (type == Cluster::EDS) {
      WriteAdsSource(cluster->mutable_eds_cluster_config()->mutable_eds_config());
      cluster->mutable_eds_cluster_config()->set_service_name(name);
    }
    WriteTrafficPolicy(in_.mesh, policy_, ReadLocalitySetting(in_.mesh, in_.service, policy_),
                       cluster);
    if (type == Cluster::ORIGINAL_DST) {
      cluster->set_lb_policy(Cluster::CLUSTER_PROVIDED);
      cluster->clear_lb_config();
    }
    WriteMetadata(cluster);
    bool auto_sni = false;
    bool auto_san = false;
    if (!sni_) WriteTls(type, &auto_sni, &auto_san, cluster);
    WriteHttpOptions(in_.mesh, policy_, port_.protocol, in_.proxy.router(), auto_sni, auto_san,
                     cluster);
  }

 private:
  bool WriteDns(const std::string& name, Cluster* cluster) {
    auto* assignment = cluster->mutable_load_assignment();
    assignment->set_cluster_name(name);
    FillLoadAssignment(in_, port_, subset_, false, assignment);
    bool any = false;
    for (const auto& group : assignment->endpoints()) any = any || group.lb_endpoints_size() > 0;
    const std::string& host = in_.service.hostname;
    if (!any && host.find('*') == std::string::npos && NoEndpoints()) {
      assignment->clear_endpoints();
      auto* endpoint = assignment->add_endpoints()->add_lb_endpoints();
      auto* socket = endpoint->mutable_endpoint()->mutable_address()->mutable_socket_address();
      socket->set_address(host);
      socket->set_port_value(port_.target > 0 ? port_.target : port_.number);
      endpoint->mutable_load_balancing_weight()->set_value(1);
      any = true;
    }
    if (!any) return false;
    if (cluster->type() == Cluster::LOGICAL_DNS) KeepOne(assignment);
    using Family = Cluster::DnsLookupFamily;
    const ProxyClass& proxy = in_.proxy;
    cluster->set_dns_lookup_family(proxy.ipv4 && proxy.ipv6 ? Family::Cluster_DnsLookupFamily_ALL
                                   : proxy.ipv6 ? Family::Cluster_DnsLookupFamily_V6_ONLY
                                                : Family::Cluster_DnsLookupFamily_V4_ONLY);
    SetDuration(in_.mesh.dns_refresh_rate, cluster->mutable_dns_refresh_rate());
    cluster->set_respect_dns_ttl(true);
    envoy::extensions::network::dns_resolver::cares::v3::CaresDnsResolverConfig resolver;
    resolver.mutable_udp_max_queries()->set_value(100);
    auto* extension = cluster->mutable_typed_dns_resolver_config();
    extension->set_name("envoy.network.dns_resolver.cares");
    Pack(resolver, extension->mutable_typed_config());
    return true;
  }

  bool NoEndpoints() const {
    if (in_.endpoints == nullptr) return true;
    for (const auto& shard : in_.endpoints->shards) {
      if (!shard->endpoints.empty()) return false;
    }
    return true;
  }

  /// Envoy takes a LOGICAL_DNS cluster with exactly one endpoint only.
  static void KeepOne(envoy::config::endpoint::v3::ClusterLoadAssignment* assignment) {
    envoy::config::endpoint::v3::LocalityLbEndpoints first;
    for (const auto& group : assignment->endpoints()) {
      if (group.lb_endpoints_size() == 0) continue;
      first = group;
      first.clear_lb_endpoints();
      *first.add_lb_endpoints() = group.lb_endpoints(0);
      *first.mutable_load_balancing_weight() = group.lb_endpoints(0).load_balancing_weight();
      break;
    }
    assignment->clear_endpoints();
    *assignment->add_endpoints() = first;
  }

  void WriteMetadata(Cluster* cluster) const {
    auto& fields =
        *(*cluster->mutable_metadata()->mutable_filter_metadata())["istio"].mutable_fields();
    AddServiceMetadata(in_.service, &fields);
    if (in_.rule != nullptr) {
      const config::Meta& meta = in_.rule->meta();
      fields["config"].set_string_value("/apis/networking.istio.io/v1/namespaces/" + meta.ns +
                                        "/destination-rule/" + meta.name);
    }
    if (!subset_.empty()) fields["subset"].set_string_value(subset_);
    if (in_.service.external) fields["external"].set_bool_value(true);
  }

  void WriteTls(Cluster::DiscoveryType type, bool* auto_sni, bool* auto_san,
                Cluster* cluster) const {
    core::TransportSocket socket;
    if (policy_.tls != nullptr) {
      switch (policy_.tls->mode()) {
        case v1::ClientTLSSettings::ISTIO_MUTUAL:
          WriteMtls(&socket);
          break;
        case v1::ClientTLSSettings::SIMPLE:
        case v1::ClientTLSSettings::MUTUAL:
          if (!WriteOrigination(auto_sni, auto_san, &socket)) return;
          break;
        default:
          return WriteProxyProtocol(nullptr, cluster);
      }
      return WriteProxyProtocol(&socket, cluster);
    }
    if (!in_.mesh.auto_mtls || in_.service.external ||
        in_.authentication.ForNamespace(in_.service.ns) == MtlsMode::kDisable) {
      return WriteProxyProtocol(nullptr, cluster);
    }
    if (type == Cluster::ORIGINAL_DST) {
      // These have no endpoint metadata to choose by.
      if (EveryInstanceDoesMtls(in_.endpoints)) WriteMtls(cluster->mutable_transport_socket());
      return;
    }
    auto* mtls = cluster->add_transport_socket_matches();
    mtls->set_name("tlsMode-istio");
    (*mtls->mutable_match()->mutable_fields())["tlsMode"].set_string_value("istio");
    WriteMtls(mtls->mutable_transport_socket());
    auto* plain = cluster->add_transport_socket_matches();
    plain->set_name("tlsMode-disabled");
    plain->mutable_match();
    WriteRawBuffer(plain->mutable_transport_socket());
  }

  void WriteMtls(core::TransportSocket* socket) const {
    Alpn alpn = Alpn::kTcp;
    if (SpeaksHttp2(in_.mesh, policy_, port_.protocol)) {
      alpn = Alpn::kHttp2;
    } else if (model::IsHttp(port_.protocol)) {
      alpn = Alpn::kHttp;
    }
    std::string sni = SniName(port_.number, subset_, in_.service.hostname);
    std::vector<std::string> names = names_;
    if (policy_.tls != nullptr) {
      if (!policy_.tls->sni().empty()) sni = policy_.tls->sni();
      const auto& wanted = policy_.tls->subject_alt_names();
      if (!wanted.empty()) names.assign(wanted.begin(), wanted.end());
    }
    if (sni.size() > 255)
      sni.clear();  // Envoy refuses longer names; the connection then works within one network.
    WriteUpstreamMtls(sni, names, alpn, socket);
  }

  /// False where a sidecar may not use the credential: rules without a workload selector would hand
  /// it to all.
  bool WriteOrigination(bool* auto_sni, bool* auto_san, core::TransportSocket* socket) const {
    const v1::ClientTLSSettings& tls = *policy_.tls;
    if (!tls.credential_name().empty() && !in_.proxy.router() && !in_.rule->selects) return false;
    std::vector<std::string> names(tls.subject_alt_names().begin(), tls.subject_alt_names().end());
    if (names.empty()) names = in_.service.subject_alt_names;
    *auto_sni = tls.sni().empty();
    *auto_san = *auto_sni && names.empty() && !tls.insecure_skip_verify().value();
    WriteUpstreamTls(tls, names, SpeaksHttp2(in_.mesh, policy_, port_.protocol), socket);
    return true;
  }

  void WriteProxyProtocol(core::TransportSocket* socket, Cluster* cluster) const {
    if (policy_.proxy_protocol == nullptr) {
      if (socket != nullptr) *cluster->mutable_transport_socket() = std::move(*socket);
      return;
    }
    envoy::extensions::transport_sockets::proxy_protocol::v3::ProxyProtocolUpstreamTransport
        wrapper;
    wrapper.mutable_config()->set_version(policy_.proxy_protocol->version() ==
                                                  v1::TrafficPolicy::ProxyProtocol::V2
                                              ? core::ProxyProtocolConfig::V2
                                              : core::ProxyProtocolConfig::V1);
    if (socket != nullptr) {
      *wrapper.mutable_transport_socket() = std::move(*socket);
    } else {
      WriteRawBuffer(wrapper.mutable_transport_socket());
    }
    cluster->mutable_transport_socket()->set_name(
        "envoy.transport_sockets.upstream_proxy_protocol");
    Pack(wrapper, cluster->mutable_transport_socket()->mutable_typed_config());
  }

  const EndpointInputs& in_;
  const std::vector<std::string>& names_;
  const model::Port& port_;
  const std::string subset_;
  const bool sni_;
  const TrafficPolicy policy_;
};

}  // namespace

bool ClustersReadEndpoints(const ProxyClass& proxy, const model::Service& service) {
  switch (service.resolution) {
    case model::Resolution::kEndpoints:
      return false;
    case model::Resolution::kPassthrough:
      return !proxy.router();
    default:
      return true;
  }
}

bool UsesEndpointDiscovery(const ProxyClass& proxy, const model::Service& service) {
  return !ClustersReadEndpoints(proxy, service);
}

std::shared_ptr<const ServiceClusters> BuildOutboundClusters(const EndpointInputs& in, bool sni) {
  auto result = std::make_shared<ServiceClusters>();
  if (in.service.resolution == model::Resolution::kAlias ||
      in.service.resolution == model::Resolution::kDynamicDns || (sni && in.service.external)) {
    return result;
  }
  const std::vector<std::string> names = SubjectNames(in);
  for (const model::Port& port : in.service.ports) {
    if (port.protocol == model::Protocol::kUdp) continue;
    std::vector<const v1::Subset*> subsets = {nullptr};
    if (in.rule != nullptr)
      subsets.insert(subsets.end(), in.rule->subsets.begin(), in.rule->subsets.end());
    for (const v1::Subset* subset : subsets) {
      google::protobuf::Arena arena;
      auto* cluster = Arena::CreateMessage<Cluster>(&arena);
      ClusterBuilder(in, names, port, subset, sni).Build(cluster);
      if (cluster->name().empty()) continue;
      if (cluster->type() == Cluster::EDS) {
        result->requests.push_back(
            {cluster->name(), port.number, subset == nullptr ? "" : subset->name(), sni});
      }
      result->clusters.push_back(MakeResource(cluster->name(), kClusterType, *cluster));
    }
  }
  return result;
}

}  // namespace isthmus::translate
