#include <gtest/gtest.h>

#include <algorithm>

#include "config/crds.h"
#include "config/hosts.h"
#include "config/kinds.h"
#include "config/validate.h"
#include "config/visibility.h"

namespace isthmus::config {
namespace {

using kubeapi::Json;

TEST(KindsTest, FindsByAnyName) {
  ASSERT_NE(FindKind("networking.istio.io", "VirtualService"), nullptr);
  EXPECT_EQ(FindKind("networking.istio.io", "PeerAuthentication"), nullptr);
  for (const char* name : {"vs", "VirtualService", "virtualservices", "VIRTUALSERVICE"})
    EXPECT_EQ(FindKindByName(name)->kind, "VirtualService") << name;
  EXPECT_EQ(FindKindByName("pod"), nullptr);
  EXPECT_EQ(FindKindByName("gw")->resource().Path("a", "b"),
            "/apis/networking.istio.io/v1/namespaces/a/gateways/b");
}

TEST(HostsTest, MatchesWildcards) {
  EXPECT_TRUE(HostWithin("a.b.c", "*.b.c"));
  EXPECT_TRUE(HostWithin("*.b.c", "*.c"));
  EXPECT_FALSE(HostWithin("*.c", "*.b.c"));
  EXPECT_FALSE(HostWithin("b.c", "*.b.c"));
  EXPECT_TRUE(HostWithin("x", "*"));
  EXPECT_TRUE(HostsOverlap("*.c", "a.b.c"));
  EXPECT_TRUE(HostsOverlap("*.c", "*.b.c"));
  EXPECT_FALSE(HostsOverlap("*.a", "*.b"));
  EXPECT_FALSE(HostsOverlap("a", "b"));
}

TEST(HostsTest, OrdersBySpecificity) {
  std::vector<std::string> hosts = {"*", "*.com", "a.com", "*.a.com", "b.a.com"};
  std::sort(hosts.begin(), hosts.end(), MoreSpecificHost);
  EXPECT_EQ(hosts, (std::vector<std::string>{"b.a.com", "a.com", "*.a.com", "*.com", "*"}));
  EXPECT_EQ(*MostSpecificHost("x.a.com", hosts), "*.a.com");
  EXPECT_EQ(MostSpecificHost("x.org", std::vector<std::string>{"*.com"}), nullptr);
}

TEST(HostsTest, CompletesShortNamesOnly) {
  EXPECT_EQ(FullHost("reviews", "ns", "cluster.local"), "reviews.ns.svc.cluster.local");
  EXPECT_EQ(FullHost("reviews.other", "ns", "cluster.local"), "reviews.other");
  EXPECT_EQ(FullHost("*", "ns", "cluster.local"), "*");
}

TEST(ExportToTest, ExpandsAndFallsBack) {
  using Strings = std::vector<std::string>;
  EXPECT_TRUE(ReadExportTo(Strings{}, Strings{}, "a").VisibleIn("z"));
  EXPECT_FALSE(ReadExportTo(Strings{}, Strings{"."}, "a").VisibleIn("z"));
  const ExportTo own = ReadExportTo(Strings{".", "b"}, Strings{"*"}, "a");
  EXPECT_TRUE(own.VisibleIn("a"));
  EXPECT_TRUE(own.VisibleIn("b"));
  EXPECT_FALSE(own.VisibleIn("c"));
  EXPECT_FALSE(ReadExportTo(Strings{"~"}, Strings{}, "a").VisibleIn("a"));
  EXPECT_TRUE(ReadExportTo(Strings{"a", "*"}, Strings{}, "a").all);
}

const Json& SpecSchema(const Json& crd) {
  return crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
}

// What Kubernetes demands of a structural schema: every property and item has a type.
void ExpectStructural(const Json& schema, const std::string& path) {
  ASSERT_TRUE(schema.contains("type")) << path;
  if (schema.contains("properties"))
    for (const auto& [name, property] : schema["properties"].items())
      ExpectStructural(property, path + "." + name);
  if (schema.contains("items")) ExpectStructural(schema["items"], path + "[]");
  if (schema.contains("additionalProperties"))
    ExpectStructural(schema["additionalProperties"], path + "{}");
}

TEST(CrdsTest, EveryKindHasAStructuralSchema) {
  const auto crds = Crds();
  ASSERT_EQ(crds.size(), Kinds().size());
  for (const Json& crd : crds) {
    int stored = 0;
    for (const Json& version : crd["spec"]["versions"]) {
      stored += version["storage"].get<bool>();
      ExpectStructural(version["schema"]["openAPIV3Schema"], crd["metadata"]["name"]);
    }
    EXPECT_EQ(stored, 1) << crd["metadata"]["name"];
  }
}

TEST(CrdsTest, SchemasFollowTheMessages) {
  for (const Json& crd : Crds()) {
    const Json& fields = SpecSchema(crd)["properties"];
    if (crd["metadata"]["name"] == "virtualservices.networking.istio.io") {
      const Json& route = fields["http"]["items"]["properties"];
      EXPECT_EQ(route["timeout"]["type"], "string");
      EXPECT_EQ(route["corsPolicy"]["properties"]["allowCredentials"]["type"], "boolean");
      EXPECT_EQ(route["match"]["items"]["properties"]["uri"]["oneOf"].size(), 4u);
      EXPECT_EQ(crd["spec"]["names"]["shortNames"][0], "vs");
      EXPECT_EQ(crd["spec"]["versions"].size(), 3u);
    }
    if (crd["metadata"]["name"] == "peerauthentications.security.istio.io") {
      EXPECT_EQ(fields["mtls"]["properties"]["mode"]["enum"].size(), 4u);
      EXPECT_EQ(fields["portLevelMtls"]["additionalProperties"]["type"], "object");
    }
    if (crd["metadata"]["name"] == "envoyfilters.networking.istio.io") {
      const Json& patch = fields["configPatches"]["items"]["properties"]["patch"];
      EXPECT_EQ(patch["properties"]["value"]["x-kubernetes-preserve-unknown-fields"], true);
    }
  }
}

}  // namespace
}  // namespace isthmus::config
