#include "install/expected_view.h"

#include "config/hosts.h"
#include "kubeapi/meta.h"

namespace isthmus::install {
namespace {

using kubeapi::BoolAt;
using kubeapi::Find;
using kubeapi::IntAt;
using kubeapi::StringAt;

std::string HostOf(const std::string& name, const std::string& ns) {
  return name + "." + ns + ".svc.cluster.local";
}

bool LocalToItsCluster(const std::string& host) {
  return host.ends_with(".kube-system.svc.cluster.local") ||
         host == "kubernetes.default.svc.cluster.local" ||
         host.starts_with("istiod.istio-system.") ||
         host.starts_with("istiod-remote.istio-system.");
}

/// The hosts that a mesh configuration's serviceSettings keep to each cluster.
class KeptToClusters {
 public:
  explicit KeptToClusters(const Json& install) {
    const Json* settings = Find(install, {"meshConfig", "serviceSettings"});
    if (settings == nullptr || !settings->is_array()) return;
    for (const Json& setting : *settings) {
      const Json* hosts = Find(setting, {"hosts"});
      if (hosts == nullptr || !hosts->is_array()) continue;
      for (const Json& host : *hosts)
        if (host.is_string())
          (BoolAt(setting, {"settings", "clusterLocal"}) ? local_ : shared_)
              .insert(host.get<std::string>());
    }
  }
  bool Contain(const std::string& host) const {
    const std::string* local = config::MostSpecificHost(host, local_);
    const std::string* shared = config::MostSpecificHost(host, shared_);
    return local != nullptr && (shared == nullptr || config::MoreSpecificHost(*local, *shared));
  }

 private:
  std::set<std::string> local_, shared_;
};

void AddGateway(const Json& service, ClusterFacts& facts) {
  if (kubeapi::LabelOf(service, "topology.istio.io/network").empty()) return;
  if (std::string port = kubeapi::LabelOf(service, "networking.istio.io/gatewayPort");
      !port.empty())
    facts.gateway_port = std::atoi(port.c_str());
  if (const Json* ingress = Find(service, {"status", "loadBalancer", "ingress"});
      ingress != nullptr && ingress->is_array())
    for (const Json& one : *ingress)
      if (std::string ip = StringAt(one, {"ip"}); !ip.empty())
        facts.gateway_addresses.push_back(ip);
  if (const Json* external = Find(service, {"spec", "externalIPs"});
      external != nullptr && external->is_array())
    for (const Json& one : *external)
      if (one.is_string()) facts.gateway_addresses.push_back(one.get<std::string>());
}

/// Service port number by port name.
std::map<std::string, int64_t> PortsOf(const Json& service) {
  std::map<std::string, int64_t> ports;
  if (const Json* list = Find(service, {"spec", "ports"}); list != nullptr && list->is_array())
    for (const Json& port : *list)
      if (StringAt(port, {"protocol"}) != "UDP")
        ports[StringAt(port, {"name"})] = IntAt(port, {"port"});
  return ports;
}

void AddSlice(const Json& slice, const std::string& host,
              const std::map<std::string, int64_t>& ports, ClusterFacts& facts) {
  const Json* endpoints = Find(slice, {"endpoints"});
  const Json* targets = Find(slice, {"ports"});
  if (endpoints == nullptr || !endpoints->is_array() || targets == nullptr || !targets->is_array())
    return;
  for (const Json& target : *targets) {
    auto port = ports.find(StringAt(target, {"name"}));
    if (port == ports.end()) continue;
    std::string key = host + "|" + std::to_string(port->second);
    for (const Json& endpoint : *endpoints) {
      if (!BoolAt(endpoint, {"conditions", "ready"}, true)) continue;
      const Json* addresses = Find(endpoint, {"addresses"});
      if (addresses == nullptr || !addresses->is_array()) continue;
      for (const Json& address : *addresses)
        if (address.is_string())
          facts.ready[key].insert(address.get<std::string>() + ":" +
                                  std::to_string(IntAt(target, {"port"})));
    }
  }
}

}  // namespace

ClusterFacts ReadFacts(const std::vector<Json>& services, const std::vector<Json>& slices,
                       const std::vector<Json>& pods) {
  ClusterFacts facts;
  for (const Json& pod : pods)
    if (kubeapi::LabelOf(pod, "security.istio.io/tlsMode") == "istio")
      facts.mtls_ips.insert(StringAt(pod, {"status", "podIP"}));
  std::map<std::string, std::map<std::string, int64_t>> ports;
  for (const Json& service : services) {
    std::string host = HostOf(kubeapi::NameOf(service), kubeapi::NamespaceOf(service));
    if (StringAt(service, {"spec", "clusterIP"}) == "None") facts.headless.insert(host);
    if (StringAt(service, {"spec", "type"}) == "ExternalName") continue;
    ports[host] = PortsOf(service);
    for (const auto& [name, number] : ports[host]) facts.ready[host + "|" + std::to_string(number)];
    AddGateway(service, facts);
  }
  for (const Json& slice : slices) {
    std::string host =
        HostOf(kubeapi::LabelOf(slice, "kubernetes.io/service-name"), kubeapi::NamespaceOf(slice));
    if (auto found = ports.find(host); found != ports.end())
      AddSlice(slice, host, found->second, facts);
  }
  return facts;
}

std::map<std::string, std::set<ExpectedEndpoint>> ExpectedViews(
    const Topology& topology, const std::map<std::string, ClusterFacts>& facts,
    const std::string& viewer) {
  std::map<std::string, std::set<ExpectedEndpoint>> views;
  const TopologyCluster* own = topology.Find(viewer);
  if (own == nullptr) return views;
  const TopologyCluster* primary = topology.Find(own->control_plane);
  const KeptToClusters kept(primary == nullptr ? own->install : primary->install);
  std::map<std::string, std::vector<std::string>> ways_in;  // Gateway addresses by network.
  std::set<std::string> promised;  // Networks that the topology gives a gateway.
  for (const TopologyCluster& cluster : topology.clusters)
    for (const std::string& address : cluster.gateway.reached_at)
      ways_in[cluster.network].push_back(address);
  for (const TopologyCluster& cluster : topology.clusters) {
    if (!cluster.gateway.exposes_services || !facts.contains(cluster.name)) continue;
    promised.insert(cluster.network);
    const ClusterFacts& of = facts.at(cluster.name);
    for (const std::string& address : of.gateway_addresses)
      ways_in[cluster.network].push_back(address + ":" + std::to_string(of.gateway_port));
  }
  for (const TopologyCluster& cluster : topology.clusters) {
    if (!facts.contains(cluster.name)) continue;
    const ClusterFacts& of = facts.at(cluster.name);
    for (const auto& [key, addresses] : of.ready) {
      std::string host = key.substr(0, key.find('|'));
      if (LocalToItsCluster(host) || of.headless.contains(host)) continue;
      std::set<ExpectedEndpoint>& view =
          views["outbound|" + key.substr(key.find('|') + 1) + "||" + host];
      if (addresses.empty() || (cluster.name != viewer && kept.Contain(host))) continue;
      bool direct = cluster.network == own->network || cluster.network.empty() ||
                    !promised.contains(cluster.network);
      if (direct) {
        for (const std::string& address : addresses)
          view.insert({address, "pod of " + cluster.name, cluster.name});
        continue;
      }
      bool mtls = false;
      for (const std::string& address : addresses)
        mtls |= of.mtls_ips.contains(address.substr(0, address.rfind(':')));
      if (!mtls) continue;
      // A cluster's own gateway is preferred to the others of its network.
      std::vector<std::string> ways;
      if (cluster.gateway.exposes_services)
        for (const std::string& address : of.gateway_addresses)
          ways.push_back(address + ":" + std::to_string(of.gateway_port));
      if (ways.empty()) ways = ways_in[cluster.network];
      if (ways.empty()) ways = {"gateway of " + cluster.network};
      for (const std::string& way : ways)
        view.insert({way, "gateway into " + cluster.network, cluster.name});
    }
  }
  return views;
}

base::Result<std::map<std::string, std::set<std::string>>> ReadEnvoyClusters(
    const std::string& json) {
  ASSIGN_OR_RETURN(Json document, kubeapi::ParseJson(json), "Envoy's /clusters");
  const Json* statuses = Find(document, {"cluster_statuses"});
  if (statuses == nullptr || !statuses->is_array())
    return base::Error(base::Code::kInvalidArgument, "Envoy's /clusters has no cluster_statuses");
  std::map<std::string, std::set<std::string>> clusters;
  for (const Json& status : *statuses) {
    std::set<std::string>& hosts = clusters[StringAt(status, {"name"})];
    const Json* list = Find(status, {"host_statuses"});
    if (list == nullptr || !list->is_array()) continue;
    for (const Json& host : *list)
      hosts.insert(StringAt(host, {"address", "socket_address", "address"}) + ":" +
                   std::to_string(IntAt(host, {"address", "socket_address", "port_value"})));
  }
  return clusters;
}

}  // namespace isthmus::install
