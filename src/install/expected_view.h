#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "install/topology.h"

namespace isthmus::install {

/// What one cluster holds, as its own API server says; verify works its expectation out from this
/// and from the topology alone, never from what a control plane says.
struct ClusterFacts {
  /// Ready addresses with the numeric port, by "host|service port":
  /// "helloworld.sample.svc.cluster.local|5000".
  std::map<std::string, std::set<std::string>> ready;
  std::set<std::string>
      mtls_ips;  ///< Pods that speak the mesh's mTLS; only they are reached through gateways.
  std::set<std::string>
      headless;  ///< Hosts without a cluster IP: their callers dial pods directly.
  std::vector<std::string> gateway_addresses;  ///< Of its east-west gateway.
  int gateway_port = 15443;
};

/// Reads services, endpoint slices, pods and the gateway's address out of lists of Kubernetes
/// objects.
ClusterFacts ReadFacts(const std::vector<Json>& services, const std::vector<Json>& slices,
                       const std::vector<Json>& pods);

/// An endpoint that a proxy should hold, with where it comes from.
struct ExpectedEndpoint {
  std::string address;  ///< "ip:port"; of a gateway without address, its name in words.
  std::string origin;   ///< "pod of cluster1", "gateway of cluster2 (network2)"
  std::string cluster;  ///< Whose pods it stands for.
  auto operator<=>(const ExpectedEndpoint&) const = default;
};

/// By Envoy cluster name ("outbound|5000||host"): what a sidecar or ingress gateway of `viewer`
/// should hold. Hosts of kube-system, kubernetes.default and the control plane are local to each
/// cluster and left out, and so are headless ones.
std::map<std::string, std::set<ExpectedEndpoint>> ExpectedViews(
    const Topology& topology, const std::map<std::string, ClusterFacts>& facts,
    const std::string& viewer);

/// "ip:port" by Envoy cluster name, out of Envoy's /clusters?format=json. The error says what is
/// not as Envoy writes it.
base::Result<std::map<std::string, std::set<std::string>>> ReadEnvoyClusters(
    const std::string& json);

}  // namespace isthmus::install
