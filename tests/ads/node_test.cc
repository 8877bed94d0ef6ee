#include "ads/node.h"

#include <envoy/config/core/v3/base.pb.h>
#include <gmock/gmock.h>
#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>

namespace isthmus::ads {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

base::Result<Node> Parse(const std::string& id, const std::string& metadata = "{}") {
  envoy::config::core::v3::Node node;
  node.set_id(id);
  EXPECT_TRUE(google::protobuf::util::JsonStringToMessage(metadata, node.mutable_metadata()).ok());
  node.mutable_locality()->set_region("r1");
  return ParseNode(node.SerializeAsString());
}

TEST(NodeTest, IdTellsTypeAddressNameAndDomain) {
  const auto node = Parse("router~10.0.0.7~gw-abc.istio-system~istio-system.svc.mesh.example");
  ASSERT_TRUE(node.ok()) << node.status().message();
  EXPECT_EQ(node->proxy.type, model::ProxyType::kRouter);
  EXPECT_THAT(node->proxy.addresses, ElementsAre("10.0.0.7"));
  EXPECT_EQ(node->proxy.id, "gw-abc.istio-system");
  EXPECT_EQ(node->proxy.pod, "gw-abc");
  EXPECT_EQ(node->proxy.ns, "istio-system");
  EXPECT_EQ(node->proxy.domain_suffix, "mesh.example");
  EXPECT_EQ(node->claimed_namespace, "istio-system");
  EXPECT_EQ(node->proxy.locality.region, "r1");
}

TEST(NodeTest, MetadataWinsAndAcceptsStringsForBooleansAndNumbers) {
  const auto node = Parse("sidecar~10.0.0.7~web.shop~shop.svc.cluster.local", R"({
    "NAMESPACE": "other", "SERVICE_ACCOUNT": "web", "CLUSTER_ID": "cluster1", "NETWORK": "network1",
    "INSTANCE_IPS": "10.0.0.8, fd00::8,nonsense", "DNS_CAPTURE": "true", "UNPRIVILEGED_POD": true, "HTTP10": 1,
    "REQUESTED_NETWORK_VIEW": "network1,network2", "LABELS": {"app": "web"}, "STATIC_LABELS": {"app": "x", "v": 2},
    "PROXY_CONFIG": {"statusPort": 15020}, "INTERCEPTION_MODE": "TPROXY", "GENERATOR": "event"})");
  ASSERT_TRUE(node.ok()) << node.status().message();
  const model::Proxy& proxy = node->proxy;
  EXPECT_EQ(node->claimed_namespace, "other");
  EXPECT_EQ(node->claimed_account, "web");
  EXPECT_EQ(proxy.cluster.text(), "cluster1");
  EXPECT_EQ(proxy.network.text(), "network1");
  EXPECT_THAT(proxy.addresses, ElementsAre("10.0.0.8", "fd00::8"));
  EXPECT_TRUE(proxy.dns_capture && proxy.unprivileged && proxy.http10);
  EXPECT_EQ(proxy.network_view.size(), 2u);
  EXPECT_THAT(proxy.labels, ElementsAre(Pair("app", "web"), Pair("v", "2")));
  EXPECT_EQ(proxy.raw_proxy_config, R"({"statusPort":15020})");
  EXPECT_EQ(proxy.interception, model::Proxy::Interception::kTproxy);
  EXPECT_TRUE(node->is_proxy);
  EXPECT_EQ(node->generator, "event");
}

TEST(NodeTest, WrongIdsAreRefusedWithTheReason) {
  EXPECT_THAT(Parse("").status().message(), HasSubstr("missing node information"));
  EXPECT_THAT(Parse("sidecar~10.0.0.7~web.shop").status().message(), HasSubstr("four parts"));
  EXPECT_THAT(Parse("ztunnel~10.0.0.7~web.shop~d").status().message(),
              HasSubstr("'ztunnel' is not served"));
  EXPECT_THAT(Parse("sidecar~nowhere~web.shop~d").status().message(), HasSubstr("no valid IP"));
  EXPECT_FALSE(ParseNode("\xff").ok());
}

}  // namespace
}  // namespace isthmus::ads
