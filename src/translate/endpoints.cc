#include "translate/endpoints.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "envoy/config/endpoint/v3/endpoint.pb.h"
#include "istio/networking/v1/destination_rule.pb.h"
#include "translate/locality.h"
#include "translate/names.h"

namespace isthmus::translate {
namespace {

namespace v1 = istio::networking::v1;
namespace core = envoy::config::core::v3;
using Assignment = envoy::config::endpoint::v3::ClusterLoadAssignment;
constexpr uint64_t kMaxWeight = 4294967295;

/// Gateways into the networks, as one build asks for them again and again.
class Routes {
 public:
  Routes(const model::GatewayIndex& index, const ProxyClass& proxy, bool names)
      : index_(index), proxy_(proxy), names_(names) {}

  struct Ways {
    bool known = false;  ///< There are gateways, usable or not.
    std::vector<model::NetworkGateway> usable;
  };
  const Ways& Into(const model::NetworkId& network, const model::ClusterId& cluster) {
    auto [found, fresh] = ways_.try_emplace({network, cluster});
    if (!fresh) return found->second;
    Ways& ways = found->second;
    for (model::NetworkGateway& gateway : index_.Into(network, cluster)) {
      if (gateway.port == 0) continue;
      ways.known = true;
      if (!(IsIpAddress(gateway.address) ? proxy_.Reaches(gateway.address) : names_)) continue;
      ways.usable.push_back(std::move(gateway));
    }
    return ways;
  }

 private:
  const model::GatewayIndex& index_;
  const ProxyClass& proxy_;
  const bool names_;  ///< Envoy resolves host names itself.
  std::map<std::pair<model::NetworkId, model::ClusterId>, Ways> ways_;
};

/// Whether Envoy resolves the names of this service's hosts. Elsewhere it refuses them.
bool ResolvesNames(const model::Service& service) {
  return service.resolution == model::Resolution::kDns ||
         service.resolution == model::Resolution::kDnsRoundRobin;
}

/// One pass over the endpoints of a service for one port and subset.
class Selection {
 public:
  Selection(const EndpointInputs& inputs, const model::Port& port, std::string_view subset,
            bool sni)
      : in_(inputs), port_(port), policy_(PolicyFor(inputs.rule, port.number, subset)), sni_(sni) {
    if (inputs.rule != nullptr && !subset.empty()) subset_ = inputs.rule->FindSubset(subset);
    subset_missing_ = !subset.empty() && subset_ == nullptr;
    keep_unhealthy_ = policy_.outlier_detection == nullptr ||
                      policy_.outlier_detection->min_health_percent() <= 0;
  }

  std::vector<LocalityGroup> Run(Routes* routes) {
    std::map<std::string, Group> groups;
    if (in_.endpoints == nullptr || subset_missing_) return {};
    for (const auto& shard : in_.endpoints->shards) {
      for (const model::Endpoint& endpoint : shard->endpoints) {
        if (Included(endpoint)) Add(endpoint, routes, &groups[endpoint.locality.text()]);
      }
    }
    std::vector<LocalityGroup> result;
    for (auto& [locality, group] : groups) {
      for (auto& [key, through] : group.gateways) {
        group.out.endpoints.push_back(
            {nullptr, through.first, std::max<uint64_t>(through.second, 1), true});
      }
      result.push_back(std::move(group.out));
    }
    return result;
  }

  const TrafficPolicy& policy() const { return policy_; }

 private:
  struct Group {
    LocalityGroup out;
    std::map<std::tuple<std::string, uint16_t>, std::pair<const model::NetworkGateway*, uint64_t>>
        gateways;
  };

  bool Included(const model::Endpoint& endpoint) const {
    if (endpoint.port_name != port_.name) return false;
    if (subset_ != nullptr) {
      for (const auto& [key, value] : subset_->labels()) {
        const std::string* label = endpoint.FindLabel(key);
        if (label == nullptr || *label != value) return false;
      }
    }
    const ProxyClass& proxy = in_.proxy;
    if (in_.service.node_local && endpoint.node != proxy.node) return false;
    if (in_.service.cluster_local && endpoint.cluster != proxy.cluster) return false;
    if (!proxy.network_view.empty() && !endpoint.network.empty() &&
        !proxy.network_view.contains(endpoint.network)) {
      return false;
    }
    // What came in by SNI has crossed networks already: a gateway that sent it on to another's
    // would get it back.
    if (sni_ && proxy.network_view.empty() && !proxy.network.empty() && !endpoint.network.empty() &&
        endpoint.network != proxy.network) {
      return false;
    }
    switch (endpoint.health) {
      case model::Health::kHealthy:
        return true;
      case model::Health::kUnhealthy:
        return keep_unhealthy_;
      case model::Health::kDraining:
        return in_.service.labels.contains("istio.io/persistent-session");
      case model::Health::kTerminating:
        return false;
    }
    return false;
  }

  bool DoesMtls(const model::Endpoint& endpoint) const {
    if (!endpoint.mtls) return false;
    if (policy_.tls != nullptr) return policy_.tls->mode() == v1::ClientTLSSettings::ISTIO_MUTUAL;
    return !in_.authentication.Disabled(endpoint);
  }

  void Add(const model::Endpoint& endpoint, Routes* routes, Group* group) const {
    group->out.locality = endpoint.locality;
    const bool mtls = DoesMtls(endpoint);
    if (sni_ && !mtls) return;
    const uint64_t weight = std::min<uint64_t>(
        uint64_t{std::max(endpoint.weight, 1u)} * in_.gateways.scale(), kMaxWeight);
    const bool same = endpoint.network.empty() || endpoint.network == in_.proxy.network;
    if (!same && !in_.gateways.empty()) {
      const Routes::Ways& ways = routes->Into(endpoint.network, endpoint.cluster);
      if (ways.known) {
        // The gateway picks the service by SNI, so what does no mTLS cannot be reached through it.
        if (!mtls || ways.usable.empty()) return;
        for (const model::NetworkGateway& gateway : ways.usable) {
          auto& through = group->gateways[{gateway.address, gateway.port}];
          through.first = &gateway;
          through.second += weight / ways.usable.size();
        }
        return;
      }
    }
    if (endpoint.address.empty()) return;
    const bool usable = IsIpAddress(endpoint.address)
                            ? in_.proxy.Reaches(endpoint.address)
                            : ResolvesNames(in_.service) || endpoint.address.starts_with("unix:");
    if (!usable) return;
    group->out.endpoints.push_back({&endpoint, nullptr, weight, mtls});
  }

  const EndpointInputs& in_;
  const model::Port& port_;
  TrafficPolicy policy_;
  const v1::Subset* subset_ = nullptr;
  bool subset_missing_ = false;
  bool keep_unhealthy_ = true;
  bool sni_;
};

/// Envoy keeps one host an address: what a gateway stands for in several localities of one priority
/// is added up in the first, so that no share is lost.
void JoinGateways(std::vector<LocalityGroup>* groups) {
  std::map<std::tuple<uint32_t, std::string, uint16_t>, LbEndpoint*> first;
  for (LocalityGroup& group : *groups) {
    std::erase_if(group.endpoints, [&](LbEndpoint& endpoint) {
      if (endpoint.gateway == nullptr) return false;
      auto [found, fresh] = first.try_emplace(
          {group.priority, endpoint.gateway->address, endpoint.gateway->port}, &endpoint);
      if (!fresh) found->second->weight += endpoint.weight;
      return !fresh;
    });
    for (LbEndpoint& endpoint : group.endpoints) {
      if (endpoint.gateway == nullptr) continue;
      first[{group.priority, endpoint.gateway->address, endpoint.gateway->port}] = &endpoint;
    }
  }
}

void Reweigh(std::vector<LocalityGroup>* groups) {
  for (LocalityGroup& group : *groups) {
    group.weight = 0;
    for (const LbEndpoint& endpoint : group.endpoints) group.weight += endpoint.weight;
  }
}

/// The same where the groups' weights are shares that a rule gives out: a gateway takes along its
/// part of the shares of the groups in which it is not kept.
void JoinShares(std::vector<LocalityGroup>* groups) {
  std::map<std::tuple<std::string, uint16_t>, int> groups_of;
  bool several = false;
  for (const LocalityGroup& group : *groups) {
    for (const LbEndpoint& endpoint : group.endpoints) {
      if (endpoint.gateway == nullptr) continue;
      several |= ++groups_of[{endpoint.gateway->address, endpoint.gateway->port}] > 1;
    }
  }
  if (!several) return;
  constexpr uint64_t kParts =
      10000;  // Of one per cent; what rounding loses is less than any share.
  for (LocalityGroup& group : *groups) {
    uint64_t total = 0;
    for (const LbEndpoint& endpoint : group.endpoints) total += endpoint.weight;
    for (LbEndpoint& endpoint : group.endpoints)
      endpoint.weight = std::max<uint64_t>(group.weight * kParts * endpoint.weight / total, 1);
  }
  JoinGateways(groups);
  Reweigh(groups);
}

std::string CanonicalName(const model::Endpoint& endpoint) {
  for (const char* key : {"service.istio.io/canonical-name", "app.kubernetes.io/name", "app"}) {
    auto found = endpoint.labels->find(key);
    if (found != endpoint.labels->end() && !found->second.empty()) return found->second;
  }
  return endpoint.workload;
}

std::string CanonicalRevision(const model::Endpoint& endpoint) {
  for (const char* key :
       {"service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"}) {
    auto found = endpoint.labels->find(key);
    if (found != endpoint.labels->end() && !found->second.empty()) {
      return found->second == "latest" ? "" : found->second;
    }
  }
  return "";
}

std::string TelemetryText(const LbEndpoint& endpoint) {
  if (endpoint.gateway != nullptr) return ";;;;" + endpoint.gateway->cluster.text();
  const model::Endpoint& e = *endpoint.endpoint;
  return e.workload + ";" + e.ns + ";" + CanonicalName(e) + ";" + CanonicalRevision(e) + ";" +
         e.cluster.text();
}

void WriteEndpoint(const LbEndpoint& endpoint, envoy::config::endpoint::v3::LbEndpoint* out) {
  core::Address* address = out->mutable_endpoint()->mutable_address();
  constexpr std::string_view kUnix = "unix://";
  if (endpoint.endpoint != nullptr && endpoint.endpoint->address.starts_with(kUnix)) {
    address->mutable_pipe()->set_path(endpoint.endpoint->address.substr(kUnix.size()));
  } else {
    auto* socket = address->mutable_socket_address();
    socket->set_address(endpoint.gateway != nullptr ? endpoint.gateway->address
                                                    : endpoint.endpoint->address);
    socket->set_port_value(endpoint.gateway != nullptr ? endpoint.gateway->port
                                                       : endpoint.endpoint->port);
  }
  out->mutable_load_balancing_weight()->set_value(
      static_cast<uint32_t>(std::clamp<uint64_t>(endpoint.weight, 1, kMaxWeight)));
  auto& metadata = *out->mutable_metadata()->mutable_filter_metadata();
  if (endpoint.mtls) {
    (*metadata["envoy.transport_socket_match"].mutable_fields())["tlsMode"].set_string_value(
        "istio");
  }
  (*metadata["istio"].mutable_fields())["workload"].set_string_value(TelemetryText(endpoint));
  if (endpoint.endpoint == nullptr) return;
  switch (endpoint.endpoint->health) {
    case model::Health::kUnhealthy:
      out->set_health_status(core::UNHEALTHY);
      break;
    case model::Health::kDraining:
      out->set_health_status(core::DRAINING);
      break;
    default:
      out->set_health_status(core::HEALTHY);
  }
}

}  // namespace

void FillLoadAssignment(const EndpointInputs& inputs, const model::Port& port,
                        std::string_view subset, bool sni, Assignment* assignment) {
  Routes routes(inputs.gateways, inputs.proxy, ResolvesNames(inputs.service));
  Selection selection(inputs, port, subset, sni);
  std::vector<LocalityGroup> groups = selection.Run(&routes);
  const LocalitySetting setting =
      ReadLocalitySetting(inputs.mesh, inputs.service, selection.policy());
  Reweigh(&groups);
  if (!setting.enabled || setting.setting == nullptr || setting.setting->distribute_size() == 0) {
    ApplyLocality(setting, inputs.proxy, &groups);
    JoinGateways(&groups);
    Reweigh(&groups);
  } else {
    ApplyLocality(setting, inputs.proxy, &groups);
    JoinShares(&groups);
  }
  for (const LocalityGroup& group : groups) {
    auto* out = assignment->add_endpoints();
    if (!group.locality.empty()) {
      out->mutable_locality()->set_region(group.locality.region);
      out->mutable_locality()->set_zone(group.locality.zone);
      out->mutable_locality()->set_sub_zone(group.locality.subzone);
    }
    out->set_priority(group.priority);
    if (group.weight > 0) {
      out->mutable_load_balancing_weight()->set_value(
          static_cast<uint32_t>(std::min(group.weight, kMaxWeight)));
    }
    for (const LbEndpoint& endpoint : group.endpoints)
      WriteEndpoint(endpoint, out->add_lb_endpoints());
  }
}

}  // namespace isthmus::translate
