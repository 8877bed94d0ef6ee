#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "install/mesh_findings.h"

namespace isthmus::install {

/// A running pod with a proxy in it.
struct ProxyPod {
  std::string ns;
  std::string name;
  bool east_west = false;
  std::string full() const { return name + "." + ns; }
};

/// "ip:port" by Envoy cluster name, as one Envoy holds it.
using HeldEndpoints = std::map<std::string, std::set<std::string>>;

/// One service as the proxies of one cluster should hold it and do.
struct ServiceView {
  std::string cluster;
  std::string service;  ///< "outbound|5000||helloworld.sample.svc.cluster.local"
  std::set<ExpectedEndpoint> expected;
  int agree = 0;                                        ///< Proxies that hold just that.
  std::map<std::string, std::set<std::string>> others;  ///< What each of the others holds.
};

/// Everything that was read of all clusters.
struct MeshState {
  std::map<std::string, ClusterFacts> facts;
  std::map<std::string, ClusterObjects> objects;
  std::map<std::string, std::vector<ProxyPod>> proxies;
};

/// Running pods that have a proxy.
std::vector<ProxyPod> ProxiesOf(const std::vector<Json>& pods);

/// What a proxy lacks or has too much of. Services that a Sidecar object keeps from it are no
/// difference. Pure.
std::vector<Difference> CompareViews(const Topology& topology, const MeshState& state,
                                     const std::string& cluster, const ProxyPod& proxy,
                                     const HeldEndpoints& held);

/// The same by service, with what earlier proxies of the cluster added.
void AddToViews(const std::map<std::string, std::set<ExpectedEndpoint>>& expected,
                const ProxyPod& proxy, const HeldEndpoints& held,
                const std::vector<Difference>& differences,
                std::map<std::string, ServiceView>& views);

/// "helloworld.sample:5000 lacks 192.168.229.101:15443 (gateway into network2)".
std::string Describe(const Difference& difference);
/// "helloworld.sample:5000" of an Envoy cluster name.
std::string ShortService(const std::string& service);

}  // namespace isthmus::install
