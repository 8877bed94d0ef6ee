#include "lab/world/lab_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/files.h"

namespace isthmus::lab::world {
namespace {

using testing::HasSubstr;

std::string Topology(const std::string& clusters, const std::string& lab = "") {
  return "kind: Topology\nmetadata: {name: t}\nspec:\n" + lab + "  clusters:\n" + clusters;
}

std::string ErrorOf(const std::string& yaml) {
  auto spec = LabSpec::Parse(yaml);
  return spec.ok() ? "no error" : spec.status().message();
}

TEST(LabSpecTest, ReadsTheDemo) {
  auto text = base::ReadFile(ISTHMUS_SOURCE_DIR "/topologies/demo.yaml");
  ASSERT_TRUE(text.ok());
  auto spec = LabSpec::Parse(*text);
  ASSERT_TRUE(spec.ok()) << spec.status().message();
  ASSERT_EQ(spec->clusters.size(), 2u);
  EXPECT_EQ(spec->clusters[0].api_server, "192.168.229.128");
  EXPECT_EQ(spec->clusters[1].nodes[0].pod_range, "172.21.0.0/24");
  EXPECT_EQ(spec->clusters[0].DnsAddress(), "10.68.0.10");
  EXPECT_EQ(spec->clusters[0].ingress_port, 8081);
  EXPECT_FALSE(spec->Routed("cluster1", "cluster2"));
}

TEST(LabSpecTest, ALabWillDoForAFileThatLeavesClustersOut) {
  auto parse = [](const std::string& clusters) { return *LabSpec::Parse(Topology(clusters)); };
  const std::string a = "  - {name: a, network: n1, lab: {nodes: [{address: 10.0.0.1}]}}\n";
  const std::string b =
      "  - {name: b, network: n1, lab: {nodes: [{address: 10.0.0.2, podCIDR: 172.30.0.0/24}]}}\n";
  const LabSpec both = parse(a + b);
  EXPECT_EQ(both.Lacks(both), "");
  EXPECT_EQ(both.Lacks(parse(a)), "");
  EXPECT_THAT(parse(a).Lacks(both), HasSubstr("no cluster b"));
  EXPECT_THAT(
      both.Lacks(parse("  - {name: a, network: n1, lab: {nodes: [{address: 10.0.0.3}]}}\n")),
      HasSubstr("cluster a"));
  EXPECT_THAT(both.Lacks(parse(a + "  - {name: b, network: n2, lab: {nodes: [{address: 10.0.0.2, "
                                   "podCIDR: 172.30.0.0/24}]}}\n")),
              HasSubstr("cluster b"));
}

TEST(LabSpecTest, ARunningLabGrowsByWholeClusters) {
  const std::string a = "  - {name: a, network: n1, lab: {nodes: [{address: 10.0.0.1}]}}\n";
  const std::string b = "  - {name: b, network: n2, lab: {nodes: [{address: 10.0.0.2}]}}\n";
  const std::string c = "  - {name: c, network: n1, lab: {nodes: [{address: 10.0.0.3}]}}\n";
  auto grown = GrownTopology(Topology(a + b), Topology(a + b + c));
  ASSERT_TRUE(grown.ok()) << grown.status().message();
  auto spec = LabSpec::Parse(*grown);
  ASSERT_TRUE(spec.ok()) << spec.status().message();
  EXPECT_EQ(spec->clusters.size(), 3u);
  EXPECT_TRUE(spec->Routed("a", "c"));
  EXPECT_FALSE(spec->Routed("b", "c"));
  // A file that leaves a running cluster out and names a new one keeps the running one.
  const std::string explicit_c =
      "  - {name: c, network: n1, lab: {nodes: [{address: 10.0.0.3, podCIDR: 172.30.0.0/24}], "
      "serviceCIDR: 10.80.0.0/16}}\n";
  grown = GrownTopology(Topology(a + b), Topology(a + explicit_c));
  ASSERT_TRUE(grown.ok()) << grown.status().message();
  EXPECT_EQ(LabSpec::Parse(*grown)->clusters.size(), 3u);
  grown = GrownTopology(Topology(a + b), Topology(a + b + c, "  lab: {routed: [[b, c]]}\n"));
  ASSERT_TRUE(grown.ok()) << grown.status().message();
  EXPECT_TRUE(LabSpec::Parse(*grown)->Routed("b", "c"));
  EXPECT_FALSE(LabSpec::Parse(*grown)->Routed("a", "c"));
  // What the running lab has otherwise stays an error.
  grown = GrownTopology(Topology(a + c), Topology(a + c + b, "  lab: {routed: []}\n"));
  ASSERT_FALSE(grown.ok());
  EXPECT_THAT(grown.status().message(), HasSubstr("routed"));
  grown = GrownTopology(
      Topology(a),
      Topology("  - {name: a, network: n1, lab: {nodes: [{address: 10.0.0.9}]}}\n" + b));
  ASSERT_FALSE(grown.ok());
  EXPECT_THAT(grown.status().message(), HasSubstr("cluster a"));
}

TEST(LabSpecTest, FillsInWhatIsLeftOut) {
  auto spec = LabSpec::Parse(
      Topology("  - {name: a, network: n1}\n  - {name: b, network: n1}\n  - {name: c}\n"));
  ASSERT_TRUE(spec.ok()) << spec.status().message();
  EXPECT_EQ(spec->clusters[1].nodes[0].address, "192.168.229.131");
  EXPECT_EQ(spec->clusters[1].service_range, "10.69.0.0/16");
  EXPECT_TRUE(spec->Routed("a", "b"));
  EXPECT_FALSE(spec->Routed("a", "c"));
  EXPECT_TRUE(spec->Routed("c", "c"));
}

TEST(LabSpecTest, RoutedGroupsReplaceNetworks) {
  auto spec = LabSpec::Parse(Topology("  - {name: a, network: n1}\n  - {name: b, network: n1}\n",
                                      "  lab: {routed: []}\n"));
  ASSERT_TRUE(spec.ok());
  EXPECT_FALSE(spec->Routed("a", "b"));
  EXPECT_THAT(ErrorOf(Topology("  - {name: a}\n", "  lab: {routed: [[a, x]]}\n")),
              HasSubstr("no lab cluster x"));
}

TEST(LabSpecTest, ReadsStaticRoutes) {
  auto spec = LabSpec::Parse(
      Topology("  - {name: a}\n  - {name: b}\n",
               "  lab: {routes: [{at: b, to: 10.68.0.0/16, via: 192.168.229.128}]}\n"));
  ASSERT_TRUE(spec.ok()) << spec.status().message();
  ASSERT_EQ(spec->routes.size(), 1u);
  EXPECT_EQ(spec->routes[0].via, "192.168.229.128");
  EXPECT_THAT(ErrorOf(Topology("  - {name: a}\n",
                               "  lab: {routes: [{at: x, to: 10.68.0.0/16, via: 1.2.3.4}]}\n")),
              HasSubstr("no lab cluster x"));
  EXPECT_THAT(ErrorOf(Topology("  - {name: a}\n", "  lab: {routes: [{at: a, to: there}]}\n")),
              HasSubstr("spec.lab.routes[0].to"));
}

TEST(LabSpecTest, TellsWhereTheFileIsWrong) {
  EXPECT_THAT(ErrorOf("kind: Pod"), HasSubstr("kind: must be Topology"));
  EXPECT_THAT(ErrorOf("a: [b"), HasSubstr("topology"));
  EXPECT_THAT(ErrorOf(Topology("  - {name: A_b}\n")),
              HasSubstr("spec.clusters[0].name: \"A_b\" is not a DNS label"));
  EXPECT_THAT(ErrorOf(Topology("  - {name: a}\n  - {name: a}\n")),
              HasSubstr("two clusters named a"));
  EXPECT_THAT(ErrorOf(Topology("  - {name: a, lab: {nods: []}}\n")),
              HasSubstr("spec.clusters[0].lab.nods: unknown field"));
  EXPECT_THAT(ErrorOf(Topology("  - {name: a, lab: {nodes: [{address: 1.2.3}]}}\n")),
              HasSubstr("nodes[0].address"));
  EXPECT_THAT(ErrorOf(Topology("  - {name: a, lab: {apiServer: '10.0.0.1:6443'}}\n")),
              HasSubstr("not the address of one of the cluster's nodes"));
  EXPECT_THAT(ErrorOf(Topology("  - {name: a, lab: {serviceCIDR: 10.0.0.1/16}}\n")),
              HasSubstr("serviceCIDR"));
  EXPECT_THAT(ErrorOf(Topology("  - {name: a, lab: {loadBalancer: {pool: [x]}}}\n")),
              HasSubstr("loadBalancer.pool"));
}

TEST(LabSpecTest, OverlapsCountOnlyWhereClustersMeet) {
  const std::string a =
      "  - {name: a, network: n1, lab: {serviceCIDR: 10.68.0.0/16, nodes: [{address: 10.1.0.1, "
      "podCIDR: 172.20.0.0/24}]}}\n";
  const std::string near =
      "  - {name: b, network: n1, lab: {nodes: [{address: 10.1.0.2, podCIDR: 172.20.0.0/16}]}}\n";
  const std::string far =
      "  - {name: b, network: m, lab: {nodes: [{address: 10.1.0.2, podCIDR: 172.20.0.0/24}]}}\n";
  EXPECT_THAT(ErrorOf(Topology(a + near)), HasSubstr("overlaps"));
  EXPECT_EQ(ErrorOf(Topology(a + far)), "no error");
  const std::string same_address = "  - {name: b, lab: {nodes: [{address: 10.1.0.1}]}}\n";
  EXPECT_THAT(ErrorOf(Topology(a + same_address)), HasSubstr("every node needs its own"));
}

}  // namespace
}  // namespace isthmus::lab::world
