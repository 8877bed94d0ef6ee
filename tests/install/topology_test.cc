#include "install/topology.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/files.h"
#include "install/ip_range.h"
#include "install/topology_manifests.h"
#include "install/trust.h"

namespace isthmus::install {
namespace {

using testing::HasSubstr;
using testing::Not;

std::string File(const std::string& clusters) {
  return "apiVersion: isthmus.dev/v1\nkind: Topology\nmetadata: {name: t}\nspec:\n  clusters:\n" +
         clusters;
}

std::string ErrorOf(const std::string& text) {
  auto topology = ParseTopology(text, "t.yaml");
  return topology.ok() ? "" : topology.status().message();
}

constexpr char kTwo[] =
    "    - {name: c1, network: n1, context: k1, eastWestGateway: {externalIPs: [10.9.0.1], "
    "exposes: [services]}}\n"
    "    - {name: c2, network: n2, context: k2, eastWestGateway: {exposes: [services, istiod]}}\n";

TEST(TopologyTest, ReadsClustersWithTheirDefaults) {
  auto topology = ParseTopology(File(kTwo), "t.yaml");
  ASSERT_TRUE(topology.ok()) << topology.status().message();
  ASSERT_EQ(topology->clusters.size(), 2u);
  EXPECT_TRUE(topology->clusters[0].primary());
  EXPECT_EQ(topology->clusters[0].gateway.external_ips, std::vector<std::string>{"10.9.0.1"});
  EXPECT_TRUE(topology->clusters[1].gateway.exposes_istiod);
  EXPECT_EQ(topology->primaries().size(), 2u);
  EXPECT_FALSE(topology->on_lab());
}

constexpr char kExternal[] =
    "    - {name: p, context: kp, externalControlPlane: {externalIPs: [10.9.0.9]}}\n"
    "    - {name: c1, network: n1, context: k1, controlPlane: p, eastWestGateway: {exposes: "
    "[services]}}\n"
    "    - {name: c2, network: n2, context: k2, controlPlane: p, eastWestGateway: {exposes: "
    "[services]}}\n";

TEST(TopologyTest, TheFirstClusterOfAnExternalControlPlaneKeepsTheConfiguration) {
  auto topology = ParseTopology(File(kExternal), "t.yaml");
  ASSERT_TRUE(topology.ok()) << topology.status().message();
  ASSERT_EQ(topology->clusters.size(), 2u);
  ASSERT_EQ(topology->hosts.size(), 1u);
  EXPECT_EQ(topology->hosts[0].serves, "c1");
  const TopologyCluster& first = topology->clusters[0];
  const TopologyCluster& second = topology->clusters[1];
  EXPECT_TRUE(first.primary());
  EXPECT_FALSE(first.has_istiod());
  EXPECT_EQ(second.control_plane, "c1");
  EXPECT_EQ(topology->HostOf(second), &topology->hosts[0]);

  auto kinds = [](const Json& iop) {
    std::string all;
    auto rendered = RenderOperator(iop, "test");
    if (!rendered.ok()) return rendered.status().message();
    for (const Component& component : rendered->components)
      for (const Json& object : component.objects)
        all += kubeapi::StringAt(object, {"kind"}) + " " +
               kubeapi::StringAt(object, {"metadata", "name"}) + "\n";
    return all;
  };
  // Where istiod runs there is only istiod; what it reads and who it is are in the first cluster.
  const std::string host = kinds(HostOperatorOf(*topology, topology->hosts[0]));
  EXPECT_THAT(host, HasSubstr("Deployment istiod\n"));
  EXPECT_THAT(host, Not(HasSubstr("Webhook")));
  EXPECT_THAT(host, Not(HasSubstr("CustomResourceDefinition")));
  const std::string keeper = kinds(OperatorOf(*topology, first, "10.9.0.9"));
  for (const char* wanted :
       {"ServiceAccount istiod\n", "ConfigMap istio\n", "ConfigMap istio-sidecar-injector\n",
        "ValidatingWebhookConfiguration istio-validator-istio-system\n", "EndpointSlice istiod\n"})
    EXPECT_THAT(keeper, HasSubstr(wanted));
  EXPECT_THAT(keeper, Not(HasSubstr("Deployment")));
  const std::string other = kinds(OperatorOf(*topology, second, "10.9.0.9"));
  EXPECT_THAT(other, HasSubstr("EndpointSlice istiod\n"));
  EXPECT_THAT(other, Not(HasSubstr("ConfigMap istio\n")));
}

TEST(TopologyTest, AnExternalControlPlaneServesSomebody) {
  EXPECT_THAT(ErrorOf(File("    - {name: p, context: kp, externalControlPlane: {}}\n"
                           "    - {name: c1, context: k1}\n")),
              HasSubstr("no cluster names it as controlPlane"));
  EXPECT_THAT(ErrorOf(File("    - {name: p, network: n, context: kp, externalControlPlane: {}}\n"
                           "    - {name: c1, context: k1, controlPlane: p}\n")),
              HasSubstr("network is not a field here"));
}

TEST(TopologyTest, TheDemoIsValid) {
  auto topology = LoadTopology(std::string(ISTHMUS_SOURCE_DIR) + "/topologies/demo.yaml");
  ASSERT_TRUE(topology.ok()) << topology.status().message();
  EXPECT_TRUE(topology->on_lab());
  EXPECT_EQ(topology->requests.size(), 4u);
}

TEST(TopologyTest, EveryTopologyOfTheFolderIsValid) {
  for (const auto& entry :
       std::filesystem::directory_iterator(std::string(ISTHMUS_SOURCE_DIR) + "/topologies")) {
    if (entry.path().extension() != ".yaml") continue;
    auto topology = LoadTopology(entry.path().string());
    EXPECT_TRUE(topology.ok()) << topology.status().message();
  }
}

constexpr char kReachedAt[] =
    "    - {name: c1, network: n1, context: k1, eastWestGateway: {exposes: [services, istiod], "
    "clusterIP: 10.9.0.7, nodePorts: {tls: 31674}, reachedAt: [\"10.1.1.1:31674\"]}}\n"
    "    - {name: c2, network: n2, context: k2, controlPlane: c1, "
    "remotePilotAddress: 10.9.0.7, install: {profile: remote}, "
    "eastWestGateway: {service: istio-ingressgateway, exposes: [services]}}\n";

TEST(TopologyTest, GatewaysMayBeReachedWhereTheirServiceDoesNotSay) {
  auto topology =
      ParseTopology(File(kReachedAt), std::string(ISTHMUS_SOURCE_DIR) + "/topologies/t.yaml");
  ASSERT_TRUE(topology.ok()) << topology.status().message();
  Json networks = MeshNetworksOf(*topology);
  EXPECT_EQ(kubeapi::ToJson(networks), R"({"n1":{"endpoints":[{"fromRegistry":"c1"}],)"
                                       R"("gateways":[{"address":"10.1.1.1","port":31674}]}})");
  Json service = EastWestOperatorOf(
      *topology,
      topology->clusters[0])["spec"]["components"]["ingressGateways"][0]["k8s"]["service"];
  EXPECT_EQ(service["clusterIP"], "10.9.0.7");
  EXPECT_EQ(service["ports"][1]["nodePort"], 31674);
  EXPECT_THAT(ErrorOf(File("    - {name: c1, context: k, eastWestGateway: {reachedAt: [here]}}\n")),
              HasSubstr("address:port"));
}

TEST(TopologyTest, TheIngressGatewayMayCarryWhatPassesBetweenNetworks) {
  auto topology =
      ParseTopology(File(kReachedAt), std::string(ISTHMUS_SOURCE_DIR) + "/topologies/t.yaml");
  ASSERT_TRUE(topology.ok()) << topology.status().message();
  const TopologyCluster& remote = topology->clusters[1];
  Json iop = OperatorOf(*topology, remote, "10.9.0.7");
  Json values = iop["spec"]["values"];
  EXPECT_EQ(values["istiodRemote"]["injectionPath"], "/inject/cluster/c2/net/n2");
  // Of a profile with a gateway: the label is on the Service and not in what it selects.
  iop["spec"].erase("profile");
  auto rendered = RenderOperator(iop, "test");
  ASSERT_TRUE(rendered.ok()) << rendered.status().message();
  for (const Component& component : rendered->components)
    for (const Json& object : component.objects) {
      if (object["kind"] != "Service" || object["metadata"]["name"] != "istio-ingressgateway")
        continue;
      EXPECT_EQ(object["metadata"]["labels"]["networking.istio.io/gatewayPort"], "443");
      EXPECT_EQ(object["metadata"]["labels"]["topology.istio.io/network"], "n2");
      EXPECT_EQ(object["spec"]["selector"].size(), 2u);
    }
  auto exposure = ExposureOf(*topology, remote);
  ASSERT_TRUE(exposure.ok()) << exposure.status().message();
  ASSERT_EQ(exposure->size(), 1u);
  EXPECT_EQ((*exposure)[0]["spec"]["servers"][0]["port"]["number"], 443);
  EXPECT_EQ((*exposure)[0]["spec"]["selector"]["istio"], "ingressgateway");
}

TEST(TopologyTest, ReportsEverythingThatIsWrongAtOnce) {
  std::string error =
      ErrorOf(File("    - {name: C_1, context: k, netwrok: n}\n    - {name: C_1, context: k, "
                   "controlPlane: c9}\n"));
  EXPECT_THAT(error, HasSubstr("netwrok"));
  EXPECT_THAT(error, HasSubstr("two clusters named C_1"));
  EXPECT_THAT(error, HasSubstr("DNS label"));
  EXPECT_THAT(error, HasSubstr("c9"));
}

TEST(TopologyTest, OverlappingPodRangesOfOneNetworkAreRefused) {
  auto lab = [](const char* name, const char* network, const char* pods) {
    return fmt::format(
        "    - {{name: {}, network: {}, eastWestGateway: {{externalIPs: [1.2.3.9], exposes: "
        "[services]}}, lab: "
        "{{apiServer: '1.2.3.4:6443', "
        "nodes: [{{name: {}-n, address: 1.2.3.4, podCIDR: {}}}]}}}}\n",
        name, network, name, pods);
  };
  EXPECT_THAT(ErrorOf(File(lab("c1", "n1", "172.20.0.0/16") + lab("c2", "n1", "172.20.3.0/24"))),
              HasSubstr("overlap"));
  EXPECT_EQ(ErrorOf(File(lab("c1", "n1", "172.20.0.0/16") + lab("c2", "n2", "172.20.3.0/24"))), "");
}

TEST(TopologyTest, ANetworkWithoutAGatewayIsRefused) {
  EXPECT_THAT(
      ErrorOf(File(
          "    - {name: c1, network: n1, context: a}\n    - {name: c2, network: n2, context: b, "
          "eastWestGateway: {exposes: [services]}}\n")),
      HasSubstr("network n1 has no gateway"));
}

TEST(TopologyTest, AGatewayThatGetsNoAddressIsRefused) {
  const auto lab = [](const char* balancer, const char* install) {
    return fmt::format(
        "    - {{name: c1, network: n1, install: {}, eastWestGateway: {{exposes: [services]}}, "
        "lab: {{{}}}}}\n",
        install, balancer);
  };
  EXPECT_THAT(ErrorOf(File(lab("", "{}"))),
              HasSubstr("cluster c1: its eastWestGateway gets no address"));
  EXPECT_EQ(ErrorOf(File(lab("loadBalancer: {pool: [10.0.0.1-10.0.0.9]}", "{}"))), "");
  EXPECT_EQ(ErrorOf(File(lab("", "{values: {global: {meshNetworks: {n1: {}}}}}"))), "");
}

TEST(TopologyTest, ARemoteNeedsAWayToItsPrimary) {
  EXPECT_THAT(ErrorOf(File("    - {name: c1, network: n1, context: a}\n    - {name: c2, network: "
                           "n1, context: b, controlPlane: c1}\n")),
              HasSubstr("expose istiod"));
}

TEST(TopologyTest, MissingFilesAndContextsAreNamed) {
  std::string error =
      ErrorOf(File("    - {name: c1, workloads: [{namespace: x, files: [no/such.yaml]}]}\n"));
  EXPECT_THAT(error, HasSubstr("no/such.yaml"));
  EXPECT_THAT(error, HasSubstr("context"));
}

TEST(TopologyTest, OtherDocumentsAreRefused) {
  EXPECT_THAT(ErrorOf("kind: Pod"), HasSubstr("kind is \"Pod\""));
  EXPECT_THAT(ErrorOf("a: [1"), HasSubstr("t.yaml"));
  EXPECT_NE(
      ErrorOf(
          "apiVersion: isthmus.dev/v1\nkind: Topology\nmetadata: {name: t}\nspec: {clusters: 3}"),
      "");
  EXPECT_NE(ErrorOf("apiVersion: isthmus.dev/v1\nkind: Topology\nmetadata: {name: t}\nspec: [1]"),
            "");
}

TEST(IpRangeTest, OverlapsAndErrors) {
  auto range = [](const char* text) { return IpRange::Parse(text); };
  EXPECT_TRUE(range("10.0.0.0/8")->Overlaps(*range("10.200.0.0/16")));
  EXPECT_FALSE(range("10.0.0.0/24")->Overlaps(*range("10.0.1.0/24")));
  EXPECT_TRUE(range("0.0.0.0/0")->Overlaps(*range("255.255.255.255/32")));
  for (const char* wrong :
       {"", "10.0.0.0", "10.0.0.0/33", "10.0.0/8", "a/8", "10.0.0.0/x", "10.0.0.0/8x"})
    EXPECT_FALSE(range(wrong).ok()) << wrong;
}

TEST(TopologyManifestsTest, OperatorsCarryMeshClusterAndNetwork) {
  auto topology = ParseTopology(File(kTwo), "t.yaml");
  ASSERT_TRUE(topology.ok());
  Json iop = OperatorOf(*topology, topology->clusters[0], "");
  EXPECT_EQ(kubeapi::StringAt(iop, {"spec", "values", "global", "network"}), "n1");
  EXPECT_EQ(kubeapi::StringAt(iop, {"spec", "values", "global", "multiCluster", "clusterName"}),
            "c1");
  auto gateway = RenderOperator(EastWestOperatorOf(*topology, topology->clusters[0]), "gateway");
  ASSERT_TRUE(gateway.ok()) << gateway.status().message();
  bool found = false;
  for (const Component& component : gateway->components)
    for (const Json& object : component.objects)
      if (object["kind"] == "Service") {
        found = true;
        EXPECT_EQ(object["spec"]["externalIPs"], Json::array({"10.9.0.1"}));
        EXPECT_EQ(object["spec"]["ports"].size(), 4u);
      }
  EXPECT_TRUE(found);
}

class TrustTest : public testing::Test {
 protected:
  std::string folder_ = testing::TempDir() + "/isthmus-trust-" +
                        testing::UnitTest::GetInstance()->current_test_info()->name();
  base::SystemClock clock_;
  void SetUp() override { ASSERT_EQ(std::system(("rm -rf " + folder_).c_str()), 0); }
};

TEST_F(TrustTest, MakesARootOnceAndKeepsIt) {
  auto first = LoadOrMakeRoot(folder_, clock_);
  ASSERT_TRUE(first.ok()) << first.status().message();
  EXPECT_TRUE(first->made);
  auto second = LoadOrMakeRoot(folder_, clock_);
  ASSERT_TRUE(second.ok()) << second.status().message();
  EXPECT_FALSE(second->made);
  EXPECT_EQ(first->ca.certificate(), second->ca.certificate());
}

TEST_F(TrustTest, IntermediatesChainToTheRootAndOthersAreRefused) {
  auto root = LoadOrMakeRoot(folder_, clock_);
  auto stranger = LoadOrMakeRoot(folder_ + "/other", clock_);
  ASSERT_TRUE(root.ok() && stranger.ok());
  auto secret = MakeCaCerts(*root, "c1", "istio-system");
  ASSERT_TRUE(secret.ok()) << secret.status().message();
  EXPECT_TRUE(CheckCaCerts(*secret, root->ca.roots(), clock_).ok());
  base::Status foreign = CheckCaCerts(*secret, stranger->ca.roots(), clock_);
  EXPECT_THAT(foreign.message(), HasSubstr("does not lead to the root"));
  (*secret)["data"].erase("ca-key.pem");
  EXPECT_THAT(CheckCaCerts(*secret, root->ca.roots(), clock_).message(), HasSubstr("ca-key.pem"));
}

TEST_F(TrustTest, ABrokenRootIsNamed) {
  ASSERT_TRUE(LoadOrMakeRoot(folder_, clock_).ok());
  ASSERT_TRUE(base::WriteFile(folder_ + "/root-cert.pem", "garbage").ok());
  auto root = LoadOrMakeRoot(folder_, clock_);
  ASSERT_FALSE(root.ok());
  EXPECT_THAT(root.status().message(), HasSubstr("root-cert.pem"));
}

}  // namespace
}  // namespace isthmus::install
