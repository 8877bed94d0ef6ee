#include "install/mesh_verify.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "install/expected_view.h"
#include "install/mesh_requests.h"
#include "kubeapi/meta.h"

namespace isthmus::install {
namespace {

using base::Code;
using kubeapi::Find;
using kubeapi::StringAt;

const Resource& EndpointSlices() {
  static const Resource resource{"discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", true};
  return resource;
}

/// A pod with a proxy in it.
struct ProxyPod {
  std::string ns;
  std::string name;
  bool east_west = false;
};

struct ClusterState {
  ClusterFacts facts;
  std::vector<ProxyPod> proxies;
};

bool HasProxy(const Json& pod) {
  for (auto path : {"containers", "initContainers"}) {
    const Json* containers = Find(pod, {"spec", path});
    if (containers == nullptr || !containers->is_array()) continue;
    for (const Json& container : *containers)
      if (StringAt(container, {"name"}) == "istio-proxy") return true;
  }
  return false;
}

base::Status ReadCluster(ClusterAccess& access, ClusterState& state) {
  ASSIGN_OR_RETURN(std::vector<Json> services, access.List(Services(), ""), "");
  ASSIGN_OR_RETURN(std::vector<Json> slices, access.List(EndpointSlices(), ""), "");
  ASSIGN_OR_RETURN(std::vector<Json> pods, access.List(Pods(), ""), "");
  state.facts = ReadFacts(services, slices, pods);
  state.proxies.clear();
  for (const Json& pod : pods) {
    if (!HasProxy(pod) || StringAt(pod, {"status", "phase"}) != "Running" ||
        kubeapi::IsBeingDeleted(pod))
      continue;
    state.proxies.push_back(ProxyPod{kubeapi::NamespaceOf(pod), kubeapi::NameOf(pod),
                                     kubeapi::LabelOf(pod, "istio") == "eastwestgateway"});
  }
  return {};
}

/// What differs between wanted and held, each with where to look; empty when nothing does.
std::vector<std::string> Differences(
    const std::map<std::string, std::set<ExpectedEndpoint>>& wanted,
    const std::map<std::string, std::set<std::string>>& held) {
  std::vector<std::string> differences;
  for (const auto& [name, endpoints] : wanted) {
    auto found = held.find(name);
    if (found == held.end()) {
      differences.push_back(fmt::format(
          "{} is not known to the proxy: its control plane does not see the Service", name));
      continue;
    }
    std::set<std::string> addresses;
    for (const ExpectedEndpoint& endpoint : endpoints) {
      addresses.insert(endpoint.address);
      if (!found->second.contains(endpoint.address))
        differences.push_back(
            fmt::format("{} lacks {} ({})", name, endpoint.address, endpoint.origin));
    }
    for (const std::string& address : found->second)
      if (!addresses.contains(address))
        differences.push_back(
            fmt::format("{} has {}, which no ready pod and no gateway explains", name, address));
  }
  return differences;
}

/// East-west gateways send only to pods of their own network.
std::vector<std::string> GatewayDifferences(
    const Topology& topology, const TopologyCluster& own,
    const std::map<std::string, ClusterState>& states,
    const std::map<std::string, std::set<std::string>>& held) {
  std::vector<std::string> differences;
  for (const auto& [name, addresses] : held) {
    if (!name.starts_with("outbound_.")) continue;
    for (const std::string& address : addresses) {
      bool of_network = false;
      for (const TopologyCluster& cluster : topology.clusters)
        if (cluster.network == own.network)
          for (const auto& [key, ready] : states.at(cluster.name).facts.ready)
            of_network |= ready.contains(address);
      if (!of_network)
        differences.push_back(fmt::format("{} has {}, which is no ready pod of network {}", name,
                                          address, own.network));
    }
  }
  return differences;
}

base::Result<VerifyLine> CheckProxy(MeshSession& session,
                                    const std::map<std::string, ClusterState>& states,
                                    const TopologyCluster& cluster, const ProxyPod& proxy,
                                    const PodCommand& run) {
  VerifyLine line{cluster.name, "endpoints of " + proxy.name + "." + proxy.ns, true, ""};
  ClusterAccess& access = session.access(cluster.name);
  auto answer = run(access, proxy.ns, proxy.name, "istio-proxy",
                    {"pilot-agent", "request", "GET", "clusters?format=json"});
  if (!answer.ok()) {
    line.ok = false;
    line.detail = "its Envoy does not answer: " + answer.status().message();
    return line;
  }
  ASSIGN_OR_RETURN(auto held, ReadEnvoyClusters(*answer), line.what);
  std::vector<std::string> differences;
  if (proxy.east_west) {
    differences = GatewayDifferences(session.topology(), cluster, states, held);
    line.detail =
        fmt::format("{} SNI routes", std::count_if(held.begin(), held.end(), [](const auto& one) {
                      return one.first.starts_with("outbound_.");
                    }));
  } else {
    std::map<std::string, ClusterFacts> facts;
    for (const auto& [name, state] : states) facts[name] = state.facts;
    auto wanted = ExpectedViews(session.topology(), facts, cluster.name);
    differences = Differences(wanted, held);
    line.detail = fmt::format("{} services as expected", wanted.size());
  }
  if (!differences.empty()) {
    line.ok = false;
    line.detail = fmt::format("{}", fmt::join(differences, "\n"));
  }
  return line;
}

/// One look at everything; the world may still be settling.
base::Result<std::vector<VerifyLine>> CheckProxies(MeshSession& session, const PodCommand& run) {
  std::map<std::string, ClusterState> states;
  std::map<std::string, std::vector<VerifyLine>> lines;
  for (const TopologyCluster& cluster : session.topology().clusters) {
    states[cluster.name];
    lines[cluster.name];
  }
  RETURN_IF_ERROR(session.OnAll([&](const TopologyCluster& cluster, ClusterAccess& access) {
    return ReadCluster(access, states.at(cluster.name));
  }),
                  "reading the clusters");
  RETURN_IF_ERROR(
      session.OnAll([&](const TopologyCluster& cluster, ClusterAccess& access) -> base::Status {
        const ClusterState& state = states.at(cluster.name);
        if (state.proxies.empty())
          lines.at(cluster.name)
              .push_back({cluster.name, "proxies", false,
                          "no running pod has a proxy: is the namespace labelled for injection?"});
        for (const ProxyPod& proxy : state.proxies) {
          ASSIGN_OR_RETURN(VerifyLine line, CheckProxy(session, states, cluster, proxy, run), "");
          lines.at(cluster.name).push_back(std::move(line));
        }
        return {};
      }),
      "asking the proxies");
  std::vector<VerifyLine> all;
  for (const TopologyCluster& cluster : session.topology().clusters)
    for (VerifyLine& line : lines.at(cluster.name)) all.push_back(std::move(line));
  return all;
}

}  // namespace

base::Result<std::vector<VerifyLine>> Verify(MeshSession& session, const PodCommand& run,
                                             const VerifyOptions& options) {
  auto end = std::chrono::steady_clock::now() + options.settle;
  std::vector<VerifyLine> lines;
  while (true) {
    ASSIGN_OR_RETURN(lines, CheckProxies(session, run), "");
    bool ok =
        std::all_of(lines.begin(), lines.end(), [](const VerifyLine& line) { return line.ok; });
    if (ok || std::chrono::steady_clock::now() >= end) break;
    session.access(session.topology().clusters.front().name)
        .loop()
        .RunUntil([] { return false; }, std::chrono::milliseconds(300));
  }
  if (!options.traffic) return lines;
  for (const TopologyRequest& request : session.topology().requests) {
    ASSIGN_OR_RETURN(VerifyLine line, MakeRequests(session, request, run),
                     "requests to " + request.url);
    lines.push_back(std::move(line));
  }
  return lines;
}

}  // namespace isthmus::install
