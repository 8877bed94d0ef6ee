#include "controlplane/adoption.h"

#include "istio/mesh/v1alpha1/config.pb.h"
#include "tests/controlplane/failover_world.h"

namespace isthmus::controlplane {
namespace {

using model::ClusterId;

const ClusterId kOther("cluster2");

class AdoptionTest : public FailoverWorld {
 protected:
  ~AdoptionTest() override { adoption_.reset(); }

  void Start() {
    StartRegistry();
    AdoptionOptions options;
    options.registry = options_;
    options.patience = std::chrono::milliseconds(500);
    adoption_ = std::make_unique<Adoption>(
        loop_, clock_, *registry_, authority_, std::move(options),
        Adoption::Events{[] {},
                         [this](const ClusterId& cluster, const base::Status& why) {
                           released_.push_back(cluster.text() + ": " + why.message());
                         },
                         [](const ClusterId&) { return true; }});
    changed_ = [this] { adoption_->Check(); };
  }
  void PutInjector() {
    other_.Put(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio-sidecar-injector, namespace: "
        "istio-system}\n"
        "data: {config: 'policy: enabled', values: '{\"global\": {\"network\": \"network2\"}}'}\n");
  }

  ca::Authority authority_;
  std::unique_ptr<Adoption> adoption_;
  std::vector<std::string> released_;
};

TEST_F(AdoptionTest, ProxiesSeeTheConfigurationOfTheirOwnCluster) {
  other_.Put(
      "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\n"
      "data: {mesh: 'accessLogFile: /of/cluster2'}\n");
  PutInjector();
  Start();
  EXPECT_FALSE(adoption_->Concerns(ClusterId("cluster1")));
  EXPECT_FALSE(adoption_->Concerns(ClusterId("unknown")));
  ASSERT_TRUE(adoption_->Concerns(kOther));
  std::string log, network;
  adoption_->WhenLoaded(kOther, [&](Adoption::World* world) {
    ASSERT_NE(world, nullptr);
    log = world->mesh->access_log_file();
    network = world->injector->Text({"global", "network"});
  });
  ASSERT_TRUE(Until([&] { return !log.empty(); }));
  EXPECT_EQ(log, "/of/cluster2");
  EXPECT_EQ(network, "network2");
  EXPECT_NE(adoption_->Find(kOther), nullptr);
  EXPECT_TRUE(released_.empty());
}

TEST_F(AdoptionTest, RemotesOfAnotherControlPlaneSeeTheConfigurationOfTheirLeader) {
  const ClusterId remote("cluster3");
  registry::FakeApiServer server(loop_);
  server.Put(
      "apiVersion: v1\nkind: Namespace\nmetadata: {name: istio-system, annotations: "
      "{topology.istio.io/controlPlaneClusters: 'cluster2'}}\n");
  own_.Put(
      "apiVersion: v1\nkind: Secret\nmetadata: {name: istio-remote-secret-cluster3, namespace: "
      "istio-system, labels: {istio/multiCluster: 'true'}}\ndata: {cluster3: '" +
      base::Base64Encode(server.Kubeconfig()) + "'}\n");
  other_.Put(
      "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\n"
      "data: {mesh: 'accessLogFile: /of/cluster2'}\n");
  PutInjector();
  Start();
  ASSERT_TRUE(Until([&] { return adoption_->Concerns(remote); }));
  EXPECT_EQ(registry_->LeaderOf(remote), kOther);
  EXPECT_TRUE(adoption_->Serves(kOther, remote));
  std::string log;
  adoption_->WhenLoaded(remote, [&](Adoption::World* world) {
    ASSERT_NE(world, nullptr);
    log = world->mesh->access_log_file();
  });
  ASSERT_TRUE(Until([&] { return !log.empty(); }));
  EXPECT_EQ(log, "/of/cluster2");
  EXPECT_EQ(adoption_->Find(remote), adoption_->Find(kOther));
  // Named by nobody it is ours.
  server.Put("apiVersion: v1\nkind: Namespace\nmetadata: {name: istio-system}\n");
  EXPECT_TRUE(Until([&] { return registry_->LeaderOf(remote) == ClusterId("cluster1"); }));
  // The server goes before them otherwise.
  adoption_.reset();
  registry_.reset();
}

// A gateway through which remotes come leads to them, as kube-proxy does.
TEST_F(AdoptionTest, WhatStandsByCountsWhileNothingElseDoes) {
  const auto put = [this](const std::string& name, const std::string& manager,
                          const std::string& address) {
    own_.Put("apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: " + name +
             ", namespace: istio-system, labels: {kubernetes.io/service-name: istiod, "
             "endpointslice.kubernetes.io/managed-by: " +
             manager +
             "}}\naddressType: IPv4\nports: [{name: https-dns, port: 15443, protocol: TCP}]\n"
             "endpoints: [{addresses: [" +
             address + "], conditions: {ready: false, serving: true, terminating: true}}]\n");
  };
  put("istiod-standby-cluster2", "standby.isthmus.dev", "192.168.229.101");
  put("by-hand", "somebody", "192.168.229.7");  // Ending is ending.
  Start();
  const auto healthy = [this] {
    std::string addresses;
    const auto& endpoints = *registry_->snapshot()->endpoints;
    const auto istiod = endpoints.find("istiod.istio-system.svc.cluster.local/istio-system");
    if (istiod == endpoints.end()) return addresses;
    for (const auto& shard : istiod->second->shards)
      for (const model::Endpoint& endpoint : shard->endpoints)
        if (shard->cluster == ClusterId("cluster1") && endpoint.health == model::Health::kHealthy)
          addresses += endpoint.address + " ";
    return addresses;
  };
  ASSERT_TRUE(Until([&] { return healthy() == "172.20.0.9 "; })) << healthy();
  PutEndpoint(own_, "172.20.0.9", false);
  EXPECT_TRUE(Until([&] { return healthy() == "192.168.229.101 "; })) << healthy();
  EXPECT_FALSE(registry_->HomeOf(ClusterId("cluster1")).ready);
}

TEST_F(AdoptionTest, ProxiesGoHomeWhenTheirControlPlaneIsBack) {
  PutInjector();
  Start();
  EXPECT_EQ(adoption_->Find(kOther), nullptr);
  ASSERT_TRUE(Until([this] { return adoption_->Find(kOther) != nullptr; }));
  PutEndpoint(other_, "172.21.0.9", false);
  ASSERT_TRUE(Until([this] { return !registry_->HomeOf(kOther).ready; }));
  EXPECT_TRUE(released_.empty());
  PutEndpoint(other_, "172.21.0.9", true);
  ASSERT_TRUE(Until([this] { return !released_.empty(); }));
  EXPECT_EQ(released_.front(), "cluster2: the control plane of cluster cluster2 is back");
}

TEST_F(AdoptionTest, WithoutTheClustersApiServerNobodyIsServedAGuess) {
  Start();
  other_.Stop();
  bool asked = false;
  adoption_->WhenLoaded(kOther, [&](Adoption::World* world) {
    asked = true;
    EXPECT_EQ(world, nullptr);
  });
  ASSERT_TRUE(Until([this] { return !released_.empty(); }));
  EXPECT_TRUE(asked);
  EXPECT_NE(released_.front().find("cannot be read"), std::string::npos) << released_.front();
  // It is tried on, so that who comes again later is served.
  PutInjector();
  other_.Start();
  EXPECT_TRUE(Until([this] { return adoption_->Find(kOther) != nullptr; }));
}

}  // namespace
}  // namespace isthmus::controlplane
