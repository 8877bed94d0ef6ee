#include "install/expected_view.h"

#include <gtest/gtest.h>

namespace isthmus::install {
namespace {

Json Service(const char* ns, const char* name) {
  return {
      {"metadata", {{"namespace", ns}, {"name", name}}},
      {"spec",
       {{"clusterIP", "10.0.0.1"}, {"ports", Json::array({{{"name", "http"}, {"port", 80}}})}}}};
}

Json Slice(const char* ns, const char* service, const char* ip, bool ready = true) {
  return {{"metadata", {{"namespace", ns}, {"labels", {{"kubernetes.io/service-name", service}}}}},
          {"ports", Json::array({{{"name", "http"}, {"port", 8080}}})},
          {"endpoints",
           Json::array({{{"addresses", Json::array({ip})}, {"conditions", {{"ready", ready}}}}})}};
}

Json Pod(const char* ip) {
  return {{"metadata", {{"labels", {{"security.istio.io/tlsMode", "istio"}}}}},
          {"status", {{"podIP", ip}}}};
}

Json Gateway(const char* address) {
  Json gateway = Service("istio-system", "istio-eastwestgateway");
  gateway["metadata"]["labels"]["topology.istio.io/network"] = "n";
  gateway["spec"]["externalIPs"] = Json::array({address});
  return gateway;
}

Topology TwoNetworks() {
  Topology topology;
  for (const char* n : {"1", "2"}) {
    TopologyCluster cluster;
    cluster.name = std::string("c") + n;
    cluster.network = std::string("n") + n;
    cluster.control_plane = cluster.name;
    cluster.gateway.present = cluster.gateway.exposes_services = true;
    topology.clusters.push_back(cluster);
  }
  return topology;
}

std::set<std::string> Addresses(const std::set<ExpectedEndpoint>& endpoints) {
  std::set<std::string> addresses;
  for (const ExpectedEndpoint& endpoint : endpoints) addresses.insert(endpoint.address);
  return addresses;
}

constexpr char kName[] = "outbound|80||web.app.svc.cluster.local";

std::map<std::string, ClusterFacts> Facts() {
  return {{"c1", ReadFacts({Service("app", "web"), Gateway("1.1.1.1")},
                           {Slice("app", "web", "172.20.0.5")}, {Pod("172.20.0.5")})},
          {"c2", ReadFacts({Service("app", "web"), Gateway("2.2.2.2")},
                           {Slice("app", "web", "172.21.0.5")}, {Pod("172.21.0.5")})}};
}

TEST(ExpectedViewsTest, OwnPodsAndTheOtherNetworksGateway) {
  auto views = ExpectedViews(TwoNetworks(), Facts(), "c1");
  EXPECT_EQ(Addresses(views[kName]), (std::set<std::string>{"172.20.0.5:8080", "2.2.2.2:15443"}));
  views = ExpectedViews(TwoNetworks(), Facts(), "c2");
  EXPECT_EQ(Addresses(views[kName]), (std::set<std::string>{"172.21.0.5:8080", "1.1.1.1:15443"}));
}

TEST(ExpectedViewsTest, OneNetworkSeesAllPods) {
  Topology topology = TwoNetworks();
  topology.clusters[1].network = "n1";
  EXPECT_EQ(Addresses(ExpectedViews(topology, Facts(), "c1")[kName]),
            (std::set<std::string>{"172.20.0.5:8080", "172.21.0.5:8080"}));
}

TEST(ExpectedViewsTest, PodsWithoutMtlsAreNotReachedThroughAGateway) {
  auto facts = Facts();
  facts["c2"].mtls_ips.clear();
  EXPECT_EQ(Addresses(ExpectedViews(TwoNetworks(), facts, "c1")[kName]),
            (std::set<std::string>{"172.20.0.5:8080"}));
}

TEST(ExpectedViewsTest, HostsThatTheMeshKeepsToEachCluster) {
  Topology topology = TwoNetworks();
  topology.clusters[0].install = *kubeapi::ParseYaml(
      "meshConfig: {serviceSettings: [{settings: {clusterLocal: true}, hosts: "
      "['*.app.svc.cluster.local']}]}");
  EXPECT_EQ(Addresses(ExpectedViews(topology, Facts(), "c1")[kName]),
            std::set<std::string>{"172.20.0.5:8080"});
  EXPECT_EQ(ExpectedViews(topology, Facts(), "c2")[kName].size(), 2u) << "another control plane";
}

TEST(ExpectedViewsTest, PodsThatAreNotReadyAndLocalHostsAreLeftOut) {
  ClusterFacts facts = ReadFacts(
      {Service("app", "web"), Service("kube-system", "dns"), Service("default", "kubernetes")},
      {Slice("app", "web", "172.20.0.5", false), Slice("kube-system", "dns", "172.20.0.6")}, {});
  auto views = ExpectedViews(TwoNetworks(), {{"c1", facts}}, "c1");
  EXPECT_EQ(views.size(), 1u);
  EXPECT_TRUE(views[kName].empty());
}

TEST(ReadEnvoyClustersTest, ReadsHostsAndRefusesOthers) {
  auto clusters = ReadEnvoyClusters(
      R"({"cluster_statuses":[{"name":"a","host_statuses":[{"address":{"socket_address":{"address":"1.2.3.4","port_value":80}}}]},{"name":"b"}]})");
  ASSERT_TRUE(clusters.ok());
  EXPECT_EQ((*clusters)["a"], std::set<std::string>{"1.2.3.4:80"});
  EXPECT_TRUE((*clusters)["b"].empty());
  EXPECT_FALSE(ReadEnvoyClusters("{}").ok());
  EXPECT_FALSE(ReadEnvoyClusters("not json").ok());
}

}  // namespace
}  // namespace isthmus::install
