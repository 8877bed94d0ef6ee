#include "cli/explain.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace isthmus::cli {
namespace {

using kubeapi::Json;
using testing::HasSubstr;

Json Endpoint(const char* address, const char* cluster, const char* network,
              const char* tls = "istio", int health = 1) {
  return {{"Addresses", {address}},
          {"EndpointPort", 5000},
          {"Network", network},
          {"TLSMode", tls},
          {"HealthStatus", health},
          {"ServicePortName", "http"},
          {"Locality", {{"ClusterID", cluster}}},
          {"Provenance", {{"Source", "EndpointSlice s"}, {"NetworkSource", "pod label"}}}};
}

Json Gateway(const char* network, const char* cluster, const char* address) {
  return {{"Network", network}, {"Cluster", cluster}, {"Addr", address}, {"Port", 15443}};
}

ExplainedEndpoint One(const Json& endpoint, const std::set<std::string>& held,
                      const Json& networks = Json::array({Gateway("n2", "c2", "9.9.9.9"),
                                                          Gateway("n2", "c3", "8.8.8.8")})) {
  const Json shards = {
      {"web.app", {{"app", {{"Shards", {{"Kubernetes/c", Json::array({endpoint})}}}}}}}};
  const auto all = Explain({"c1", "n1"}, "web.app", "", shards, networks, held);
  EXPECT_EQ(all.size(), 1u);
  return all.at(0);
}

TEST(ExplainTest, EachFateOfAnEndpointHasItsReason) {
  auto one = One(Endpoint("10.0.0.1", "c1", "n1"), {"10.0.0.1:5000"});
  EXPECT_EQ(one.sent_as, "itself: same network");
  EXPECT_TRUE(one.held);
  EXPECT_EQ(one.network, "n1 (pod label)");
  one = One(Endpoint("10.0.0.2", "c2", "n2"), {"9.9.9.9:15443"});
  EXPECT_EQ(one.sent_as, "9.9.9.9:15443: gateway into n2");
  EXPECT_TRUE(one.held);
  // A cluster without gateway of its own is entered through the others of its network.
  one = One(Endpoint("10.0.0.2", "c4", "n2"), {});
  EXPECT_THAT(one.sent_as, HasSubstr("9.9.9.9:15443, 8.8.8.8:15443: gateways into n2; not held"));
  EXPECT_THAT(One(Endpoint("10.0.0.2", "c2", "n2", "disabled"), {}).sent_as,
              HasSubstr("nothing: without a proxy"));
  EXPECT_THAT(One(Endpoint("10.0.0.2", "c2", "n2", "istio", 3), {}).sent_as,
              HasSubstr("going away"));
  EXPECT_EQ(One(Endpoint("10.0.0.3", "c3", "n9"), {}).sent_as, "itself: no gateway leads into n9");
  EXPECT_EQ(One(Endpoint("10.0.0.3", "c3", ""), {}).sent_as, "itself: its network is not known");
}

TEST(ExplainTest, OtherShapesGiveNothing) {
  EXPECT_TRUE(Explain({"c1", "n1"}, "x", "", Json(), Json(), {}).empty());
  EXPECT_TRUE(Explain({"c1", "n1"}, "x", "", {{"x", 3}}, "y", {}).empty());
}

}  // namespace
}  // namespace isthmus::cli
