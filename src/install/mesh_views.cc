#include "install/mesh_views.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/strings.h"
#include "kubeapi/meta.h"

namespace isthmus::install {
namespace {

using kubeapi::ItemsAt;
using kubeapi::StringAt;

bool HasProxy(const Json& pod) {
  for (const char* path : {"containers", "initContainers"})
    for (const Json& container : ItemsAt(pod, {"spec", path}))
      if (StringAt(container, {"name"}) == "istio-proxy") return true;
  return false;
}

/// The cluster whose pod or gateway has the address, as seen from `viewer`; its own first.
std::string OwnerOf(const std::string& address, const Topology& topology, const MeshState& state,
                    const std::string& viewer) {
  std::vector<const TopologyCluster*> order = {topology.Find(viewer)};
  for (const TopologyCluster& cluster : topology.clusters)
    if (cluster.name != viewer) order.push_back(&cluster);
  const std::string ip = address.substr(0, address.rfind(':'));
  for (const TopologyCluster* cluster : order) {
    if (cluster == nullptr || !state.facts.contains(cluster->name)) continue;
    const auto& stated = cluster->gateway.reached_at;
    if (std::find(stated.begin(), stated.end(), address) != stated.end()) return cluster->name;
    const ClusterFacts& facts = state.facts.at(cluster->name);
    const auto& gateways = facts.gateway_addresses;
    if (std::find(gateways.begin(), gateways.end(), ip) != gateways.end()) return cluster->name;
    for (const auto& [service, addresses] : facts.ready)
      if (addresses.contains(address)) return cluster->name;
  }
  return "";
}

/// Whether a Sidecar object may keep services from the proxies of a namespace on purpose.
bool ScopedBySidecar(const Topology& topology, const MeshState& state, const std::string& cluster,
                     const std::string& ns) {
  const TopologyCluster* own = topology.Find(cluster);
  if (own == nullptr || !state.objects.contains(own->control_plane)) return false;
  for (const Json& sidecar : state.objects.at(own->control_plane).sidecars)
    if (kubeapi::NamespaceOf(sidecar) == ns || kubeapi::NamespaceOf(sidecar) == "istio-system")
      return true;
  return false;
}

std::vector<Difference> CompareGateway(const Topology& topology, const MeshState& state,
                                       const std::string& cluster, const ProxyPod& proxy,
                                       const HeldEndpoints& held) {
  std::vector<Difference> differences;
  const TopologyCluster* own = topology.Find(cluster);
  for (const auto& [name, addresses] : held) {
    if (!name.starts_with("outbound_.")) continue;
    for (const std::string& address : addresses) {
      bool of_network = false;
      for (const TopologyCluster& other : topology.clusters)
        if (other.network == own->network && state.facts.contains(other.name))
          for (const auto& [key, ready] : state.facts.at(other.name).ready)
            of_network |= ready.contains(address);
      if (!of_network)
        differences.push_back({Difference::Kind::kExtra, cluster, proxy.full(), name, address,
                               OwnerOf(address, topology, state, cluster)});
    }
  }
  return differences;
}

std::set<std::string> Addresses(const std::set<ExpectedEndpoint>& endpoints) {
  std::set<std::string> addresses;
  for (const ExpectedEndpoint& endpoint : endpoints) addresses.insert(endpoint.address);
  return addresses;
}

}  // namespace

std::vector<ProxyPod> ProxiesOf(const std::vector<Json>& pods) {
  std::vector<ProxyPod> proxies;
  for (const Json& pod : pods)
    if (HasProxy(pod) && StringAt(pod, {"status", "phase"}) == "Running" &&
        !kubeapi::IsBeingDeleted(pod))
      proxies.push_back({kubeapi::NamespaceOf(pod), kubeapi::NameOf(pod),
                         kubeapi::LabelOf(pod, "istio") == "eastwestgateway"});
  return proxies;
}

std::vector<Difference> CompareViews(const Topology& topology, const MeshState& state,
                                     const std::string& cluster, const ProxyPod& proxy,
                                     const HeldEndpoints& held) {
  if (proxy.east_west) return CompareGateway(topology, state, cluster, proxy, held);
  std::vector<Difference> differences;
  const bool scoped = ScopedBySidecar(topology, state, cluster, proxy.ns);
  for (const auto& [name, endpoints] : ExpectedViews(topology, state.facts, cluster)) {
    const auto found = held.find(name);
    if (found == held.end()) {
      if (scoped) continue;
      Difference unknown{Difference::Kind::kUnknownService, cluster, proxy.full(), name, "", ""};
      for (const ExpectedEndpoint& endpoint : endpoints)
        if (unknown.source.empty() || unknown.source == cluster) unknown.source = endpoint.cluster;
      differences.push_back(std::move(unknown));
      continue;
    }
    for (const ExpectedEndpoint& endpoint : endpoints)
      if (!found->second.contains(endpoint.address))
        differences.push_back({Difference::Kind::kLacks, cluster, proxy.full(), name,
                               endpoint.address, endpoint.cluster});
    const std::set<std::string> wanted = Addresses(endpoints);
    for (const std::string& address : found->second)
      if (!wanted.contains(address))
        differences.push_back({Difference::Kind::kExtra, cluster, proxy.full(), name, address,
                               OwnerOf(address, topology, state, cluster)});
  }
  return differences;
}

void AddToViews(const std::map<std::string, std::set<ExpectedEndpoint>>& expected,
                const ProxyPod& proxy, const HeldEndpoints& held,
                const std::vector<Difference>& differences,
                std::map<std::string, ServiceView>& views) {
  std::set<std::string> differing;
  for (const Difference& difference : differences) differing.insert(difference.service);
  for (const auto& [name, endpoints] : expected) {
    ServiceView& view = views[name];
    view.service = name;
    view.expected = endpoints;
    if (!differing.contains(name)) {
      ++view.agree;
      continue;
    }
    const auto found = held.find(name);
    view.others[proxy.full()] = found == held.end() ? std::set<std::string>() : found->second;
  }
}

std::string ShortService(const std::string& service) {
  std::string rest = service;
  for (const char* prefix : {"outbound|", "outbound_."})
    if (rest.starts_with(prefix)) rest = rest.substr(std::string_view(prefix).size());
  const bool sni = service.starts_with("outbound_.");
  const std::string separator = sni ? "_." : "|";
  const size_t first = rest.find(separator);
  const size_t last = rest.rfind(separator);
  if (first == rest.npos) return service;
  const std::string port = rest.substr(0, first);
  std::string host = rest.substr(last + separator.size());
  const std::string suffix = ".svc.cluster.local";
  if (host.ends_with(suffix)) host.resize(host.size() - suffix.size());
  return host + ":" + port;
}

std::string Describe(const Difference& difference) {
  const std::string service = ShortService(difference.service);
  switch (difference.kind) {
    case Difference::Kind::kUnknownService:
      return service + " is not known to it";
    case Difference::Kind::kLacks:
      return fmt::format("{} lacks {}, for pods of {}", service, difference.address,
                         difference.source);
    case Difference::Kind::kExtra:
      return fmt::format("{} has {}, {}", service, difference.address,
                         difference.source.empty() ? "which is no ready pod and no gateway"
                                                   : "which is of " + difference.source);
  }
  return "";
}

}  // namespace isthmus::install
