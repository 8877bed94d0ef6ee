#include <algorithm>

#include "base/strings.h"
#include "envoy/config/cluster/v3/cluster.pb.h"
#include "envoy/config/route/v3/route.pb.h"
#include "translate/patch_list.h"

namespace isthmus::translate {
namespace {

using envoy::config::route::v3::Route;
using envoy::config::route::v3::RouteConfiguration;
using envoy::config::route::v3::VirtualHost;
using istio::networking::v1::EnvoyFilter;
using Patch = EnvoyFilter::Patch;
using ObjectMatch = EnvoyFilter::EnvoyConfigObjectMatch;

/// What the name of a route configuration says: "80", "host:80", "inbound|8080||", "http.8080",
/// "https.443.<port name>.<gateway>.<namespace>".
struct RouteName {
  uint32_t port = 0;
  std::string port_name;
  std::string gateway;  ///< "namespace/name"
};

uint32_t PortOf(std::string_view text) {
  const auto number = base::ParseInt(text);
  return number.ok() ? static_cast<uint32_t>(*number) : 0;
}

RouteName ParseRouteName(const std::string& name) {
  RouteName result;
  if (name.starts_with("inbound|")) {
    result.port = PortOf(base::Split(name, '|')[1]);
  } else if (name.starts_with("http.")) {
    result.port = PortOf(base::Split(name, '.')[1]);
  } else if (name.starts_with("https.")) {
    const auto parts = base::Split(name, '.');
    if (parts.size() < 5) return result;
    result.port = PortOf(parts[1]);
    result.port_name = parts[2];
    result.gateway = std::string(parts.back()) + "/" + std::string(parts[parts.size() - 2]);
  } else {
    const size_t colon = name.rfind(':');
    result.port = PortOf(colon == std::string::npos ? name : name.substr(colon + 1));
  }
  return result;
}

bool MatchesConfig(const EnvoyPatch& patch, PatchSide side, const std::string& name) {
  const auto& match = patch.spec->match();
  if (match.object_types_case() == ObjectMatch::OBJECT_TYPES_NOT_SET) return true;
  if (!match.has_route_configuration()) return false;
  const auto& wanted = match.route_configuration();
  const RouteName parsed = ParseRouteName(name);
  if (!wanted.name().empty() && wanted.name() != name) return false;
  if (wanted.port_number() != 0 && wanted.port_number() != parsed.port) return false;
  if (side != PatchSide::kGateway) return true;
  return (wanted.port_name().empty() || wanted.port_name() == parsed.port_name) &&
         (wanted.gateway().empty() || wanted.gateway() == parsed.gateway);
}

bool MatchesHost(const EnvoyPatch& patch, const VirtualHost& host) {
  const auto& wanted = patch.spec->match().route_configuration().vhost();
  if (!wanted.name().empty() && wanted.name() != host.name()) return false;
  const auto& domains = host.domains();
  return wanted.domain_name().empty() ||
         std::find(domains.begin(), domains.end(), wanted.domain_name()) != domains.end();
}

bool MatchesRoute(const EnvoyPatch& patch, const Route& route) {
  using Match = EnvoyFilter::RouteConfigurationMatch::RouteMatch;
  const Match& wanted = patch.spec->match().route_configuration().vhost().route();
  if (!wanted.name().empty() && wanted.name() != route.name()) return false;
  switch (wanted.action()) {
    case Match::ROUTE:
      return route.has_route();
    case Match::REDIRECT:
      return route.has_redirect();
    case Match::DIRECT_RESPONSE:
      return route.has_direct_response();
    default:
      return true;
  }
}

void PatchRoutesOf(const std::vector<const EnvoyPatch*>& all, VirtualHost* host) {
  std::vector<ListPatch> patches;
  for (const EnvoyPatch* patch : all)
    if (patch->spec->apply_to() == EnvoyFilter::HTTP_ROUTE && MatchesHost(*patch, *host))
      patches.push_back({patch, patch->spec->match().route_configuration().vhost().route().name()});
  if (patches.empty()) return;
  PatchList<Route>(
      patches,
      [](const ListPatch& patch, const Route& route) { return MatchesRoute(*patch.patch, route); },
      0, host->mutable_routes());
}

void PatchHosts(const std::vector<const EnvoyPatch*>& all, RouteConfiguration* config) {
  for (int i = 0; i < config->virtual_hosts_size(); ++i) {
    VirtualHost* host = config->mutable_virtual_hosts(i);
    bool removed = false;
    for (const EnvoyPatch* patch : all) {
      if (patch->spec->apply_to() != EnvoyFilter::VIRTUAL_HOST || !MatchesHost(*patch, *host))
        continue;
      const Patch::Operation operation = patch->spec->patch().operation();
      if (operation == Patch::MERGE) MergeMessage(*patch->value, host);
      removed = removed || operation == Patch::REMOVE;
    }
    if (removed) {
      config->mutable_virtual_hosts()->DeleteSubrange(i--, 1);
    } else {
      PatchRoutesOf(all, host);
    }
  }
  for (const EnvoyPatch* patch : all) {
    const Patch::Operation operation = patch->spec->patch().operation();
    if (patch->spec->apply_to() == EnvoyFilter::VIRTUAL_HOST && operation != Patch::MERGE &&
        operation != Patch::REMOVE)
      *config->add_virtual_hosts() = static_cast<const VirtualHost&>(*patch->value);
  }
}

/// What the name of a cluster says: "outbound|80|v1|host", "outbound_.80_.v1_.host",
/// "inbound|8080||".
struct ClusterName {
  uint32_t port = 0;
  std::string subset;
  std::string host;
};

ClusterName ParseClusterName(const std::string& name) {
  std::vector<std::string> parts;
  if (name.find('|') != std::string::npos) {
    for (std::string_view part : base::Split(name, '|')) parts.emplace_back(part);
  } else {
    std::string_view rest = name;
    for (int i = 0; i < 3; ++i) {
      const auto [part, after] = base::Cut(rest, "_.");
      parts.emplace_back(part);
      rest = after;
    }
    parts.emplace_back(rest);
  }
  if (parts.size() < 4) return {};
  return {PortOf(parts[1]), parts[2], parts[3]};
}

bool MatchesCluster(const EnvoyPatch& patch, const std::string& name) {
  const auto& match = patch.spec->match();
  if (match.object_types_case() == ObjectMatch::OBJECT_TYPES_NOT_SET) return true;
  if (!match.has_cluster()) return false;
  const auto& wanted = match.cluster();
  if (!wanted.name().empty()) return wanted.name() == name;
  const ClusterName parsed = ParseClusterName(name);
  return (wanted.subset().empty() || wanted.subset() == parsed.subset) &&
         (wanted.service().empty() || wanted.service() == parsed.host) &&
         (wanted.port_number() == 0 || wanted.port_number() == parsed.port);
}

}  // namespace

bool InContext(const EnvoyPatch& patch, PatchSide side) {
  switch (patch.spec->match().context()) {
    case EnvoyFilter::ANY:
      return true;
    case EnvoyFilter::SIDECAR_INBOUND:
      return side == PatchSide::kInbound;
    case EnvoyFilter::SIDECAR_OUTBOUND:
      return side == PatchSide::kOutbound;
    case EnvoyFilter::GATEWAY:
      return side == PatchSide::kGateway;
    default:
      return false;
  }
}

void PatchRouteConfiguration(const EnvoyPatches& patches, PatchSide side,
                             RouteConfiguration* config) {
  std::vector<const EnvoyPatch*> all;
  for (const auto& patch : patches)
    if (InContext(*patch, side) && MatchesConfig(*patch, side, config->name()))
      all.push_back(patch.get());
  for (const EnvoyPatch* patch : all)
    if (patch->spec->apply_to() == EnvoyFilter::ROUTE_CONFIGURATION &&
        patch->spec->patch().operation() == Patch::MERGE)
      MergeMessage(*patch->value, config);
  PatchHosts(all, config);
}

bool PatchCluster(const EnvoyPatches& patches, PatchSide side,
                  envoy::config::cluster::v3::Cluster* cluster) {
  for (const auto& patch : patches) {
    if (patch->spec->apply_to() != EnvoyFilter::CLUSTER || !InContext(*patch, side)) continue;
    if (!MatchesCluster(*patch, cluster->name())) continue;
    if (patch->spec->patch().operation() == Patch::REMOVE) return false;
    if (patch->spec->patch().operation() != Patch::MERGE) continue;
    envoy::config::cluster::v3::Cluster value =
        static_cast<const envoy::config::cluster::v3::Cluster&>(*patch->value);
    if (value.has_transport_socket()) {
      // Clusters of the mesh choose among several sockets: the one of that kind is meant.
      bool merged = false;
      for (auto& match : *cluster->mutable_transport_socket_matches()) {
        if (match.transport_socket().name() != value.transport_socket().name()) continue;
        MergeMessage(value.transport_socket(), match.mutable_transport_socket());
        merged = true;
      }
      if (merged) value.clear_transport_socket();
    }
    MergeMessage(value, cluster);
  }
  return true;
}

}  // namespace isthmus::translate
