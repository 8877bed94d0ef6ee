#include "controlplane/standby.h"

#include "kubeapi/meta.h"
#include "tests/controlplane/failover_world.h"

namespace isthmus::controlplane {
namespace {

using kubeapi::Json;

constexpr char kSlice[] = "istio-system/istiod-standby-cluster1";

class StandbyTest : public FailoverWorld {
 protected:
  ~StandbyTest() override { standby_.reset(); }

  void Start(bool enabled = true, const std::string& roots = "ROOTS") {
    StartRegistry();
    StandbyOptions options;
    options.enabled = enabled;
    options.cluster = "cluster1";
    options.roots = [roots] { return roots; };
    standby_ = std::make_unique<Standby>(loop_, *registry_, std::move(options));
    changed_ = [this] { standby_->Changed(); };
  }
  /// "<address> <port of discovery> <port of webhooks>"
  std::string Offered() {
    const Json* slice = other_.Find("EndpointSlice", kSlice);
    if (slice == nullptr) return "nothing";
    const Json& endpoint = slice->at("endpoints").at(0);
    return endpoint["addresses"][0].get<std::string>() + " " +
           slice->at("ports")[0]["port"].dump() + " " + slice->at("ports")[1]["port"].dump();
  }

  std::unique_ptr<Standby> standby_;
};

TEST_F(StandbyTest, GatewayOfOurNetworkStandsByWhereTheOthersPodsAreNotReady) {
  Start();
  ASSERT_TRUE(Until([this] { return Offered() != "nothing"; }));
  EXPECT_EQ(Offered(), "192.168.229.100 15443 15443");
  const Json& slice = *other_.Find("EndpointSlice", kSlice);
  EXPECT_EQ(kubeapi::LabelOf(slice, "kubernetes.io/service-name"), "istiod");
  EXPECT_EQ(slice["metadata"]["ownerReferences"][0]["uid"], "u-1");
  // Taken by kube-proxy only where nothing is ready.
  EXPECT_EQ(slice["endpoints"][0]["conditions"],
            Json({{"ready", false}, {"serving", true}, {"terminating", true}}));
  // In the mesh it is no endpoint of that control plane.
  EXPECT_TRUE(registry_->HomeOf(model::ClusterId("cluster2")).ready);
  PutEndpoint(other_, "172.21.0.9", false);
  EXPECT_TRUE(Until([this] { return !registry_->HomeOf(model::ClusterId("cluster2")).ready; }));
}

TEST_F(StandbyTest, OnOneNetworkOurPodsStandByAndAreFollowed) {
  other_.Put(
      "apiVersion: v1\nkind: Namespace\nmetadata: {name: istio-system, labels: "
      "{topology.istio.io/network: network1}}\n");
  Start();
  ASSERT_TRUE(Until([this] { return Offered() == "172.20.0.9 15012 15017"; })) << Offered();
  PutControlPlane(own_, "172.20.0.10", true);
  EXPECT_TRUE(Until([this] { return Offered() == "172.20.0.10 15012 15017"; })) << Offered();
}

TEST_F(StandbyTest, TheLastPodThatEndsTakesTheOfferBack) {
  Start();
  ASSERT_TRUE(Until([this] { return Offered() != "nothing"; }));
  const auto gone = [this] { return Offered() == "nothing"; };
  // A pod that is not ready for a while may come back.
  PutEndpoint(own_, "172.20.0.9", false);
  EXPECT_FALSE(loop_.RunUntil(gone, std::chrono::milliseconds(500)));
  // Another pod that is ready goes on.
  PutEndpoint(own_, "172.20.0.9", true);
  ASSERT_TRUE(Until([this] { return registry_->HomeOf(model::ClusterId("cluster1")).ready; }));
  standby_->Leave();
  EXPECT_FALSE(loop_.RunUntil(gone, std::chrono::milliseconds(500)));
  PutEndpoint(own_, "172.20.0.9", false);
  EXPECT_TRUE(Until(gone));
}

TEST_F(StandbyTest, SwitchedOffItTakesTheOfferBack) {
  other_.Put(
      "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: "
      "istiod-standby-cluster1, "
      "namespace: istio-system, labels: {kubernetes.io/service-name: istiod}}\naddressType: "
      "IPv4\n");
  Start(false);
  EXPECT_TRUE(Until([this] { return other_.Find("EndpointSlice", kSlice) == nullptr; }));
}

TEST_F(StandbyTest, NoOfferToAClusterWithOtherRootsOrWithoutAControlPlane) {
  Start(true, "OTHER");
  EXPECT_FALSE(
      loop_.RunUntil([this] { return Offered() != "nothing"; }, std::chrono::milliseconds(500)));
  changed_ = nullptr;
  standby_.reset();
  registry_.reset();
  // A Service without a selector leads to somebody else's control plane.
  other_.Put(
      "apiVersion: v1\nkind: Service\nmetadata: {name: istiod, namespace: istio-system}\nspec: "
      "{clusterIP: 10.0.0.9, ports: [{name: tcp-istiod, port: 15012}]}\n");
  Start();
  EXPECT_FALSE(registry_->HomeOf(model::ClusterId("cluster2")).present);
  EXPECT_FALSE(
      loop_.RunUntil([this] { return Offered() != "nothing"; }, std::chrono::milliseconds(500)));
}

}  // namespace
}  // namespace isthmus::controlplane
