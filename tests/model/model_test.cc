#include <gtest/gtest.h>

#include "model/network.h"
#include "model/service.h"
#include "model/snapshot.h"
#include "model/view.h"
#include "model/workload.h"

namespace isthmus::model {
namespace {

TEST(LocalityTest, ReadsSlashesOrDots) {
  EXPECT_EQ(Locality::Parse("r1/z1/s1"), (Locality{"r1", "z1", "s1"}));
  EXPECT_EQ(Locality::Parse("r1.z1.s1"), (Locality{"r1", "z1", "s1"}));
  EXPECT_EQ(Locality::Parse("eu.west/z1"), (Locality{"eu.west", "z1", ""}));
  EXPECT_EQ(Locality::Parse("r1/z1/s1/rest"), (Locality{"r1", "z1", "s1"}));
  EXPECT_TRUE(Locality::Parse("").empty());
}

TEST(LocalityTest, PrintsWithoutEmptyTail) {
  EXPECT_EQ((Locality{"r1", "z1", ""}).text(), "r1/z1");
  EXPECT_EQ((Locality{"r1", "", "s1"}).text(), "r1//s1");
  EXPECT_EQ(Locality{}.text(), "");
}

struct ProtocolCase {
  bool udp;
  std::string app, name;
  int number;
  Protocol want;
};
class ProtocolTest : public testing::TestWithParam<ProtocolCase> {};
TEST_P(ProtocolTest, FollowsTheRules) {
  const ProtocolCase& c = GetParam();
  EXPECT_EQ(ParseProtocol(c.udp, c.app, c.name, c.number), c.want) << c.app << " " << c.name;
}
INSTANTIATE_TEST_SUITE_P(
    All, ProtocolTest,
    testing::Values(ProtocolCase{true, "http", "http", 80, Protocol::kUdp},
                    ProtocolCase{false, "kubernetes.io/h2c", "tcp", 80, Protocol::kHttp2},
                    ProtocolCase{false, "kubernetes.io/wss", "tcp", 80, Protocol::kHttps},
                    ProtocolCase{false, "HTTP2", "tcp", 80, Protocol::kHttp2},
                    ProtocolCase{false, "example.com/own", "http-web", 80, Protocol::kHttp},
                    ProtocolCase{false, "", "HTTP", 80, Protocol::kHttp},
                    ProtocolCase{false, "", "grpc-web-x", 80, Protocol::kGrpcWeb},
                    ProtocolCase{false, "", "grpc-webbing", 80, Protocol::kGrpc},
                    ProtocolCase{false, "", "https-dns", 15012, Protocol::kHttps},
                    ProtocolCase{false, "", "httpx", 8080, Protocol::kAuto},
                    ProtocolCase{false, "", "status-port", 15021, Protocol::kAuto},
                    ProtocolCase{false, "", "", 3306, Protocol::kTcp},
                    ProtocolCase{false, "", "mysql", 3306, Protocol::kMysql}));

TEST(ServiceTest, AddressPrefersTheProxysCluster) {
  Service service;
  service.default_address = "10.1.0.1";
  service.auto_address = "240.240.0.1";
  service.cluster_vips[ClusterId("c2")] = {"10.2.0.1"};
  service.cluster_vips[ClusterId("c3")] = {};
  EXPECT_EQ(service.AddressFor(ClusterId("c2"), true), "10.2.0.1");
  EXPECT_EQ(service.AddressFor(ClusterId("c3"), false), "10.1.0.1");
  EXPECT_EQ(service.AddressFor(ClusterId("c4"), true), "240.240.0.1");
}

NetworkGateway Gateway(const char* network, const char* cluster, const char* address) {
  return {NetworkId(network), ClusterId(cluster), address, 15443};
}

TEST(GatewayIndexTest, PrefersTheClustersOwnAndScalesByAllCounts) {
  // The worked example of the reference: one gateway into n1, three into n2 of which two in B.
  GatewayIndex index({Gateway("n2", "C", "g4"), Gateway("n1", "A", "g1"), Gateway("n2", "B", "g2"),
                      Gateway("n2", "B", "g3"), Gateway("n2", "B", "g3")});
  EXPECT_EQ(index.all().size(), 4u);
  EXPECT_EQ(index.scale(), 6u);
  EXPECT_EQ(index.Into(NetworkId("n2"), ClusterId("B")).size(), 2u);
  EXPECT_EQ(index.Into(NetworkId("n2"), ClusterId("D")).size(), 3u);
  EXPECT_TRUE(index.Into(NetworkId("n3"), ClusterId("B")).empty());
  EXPECT_EQ(index, GatewayIndex({Gateway("n1", "A", "g1"), Gateway("n2", "B", "g2"),
                                 Gateway("n2", "B", "g3"), Gateway("n2", "C", "g4")}));
  EXPECT_EQ(GatewayIndex().scale(), 1u);
}

TEST(GatewayIndexTest, ScaleNeverWraps) {
  std::vector<NetworkGateway> gateways;
  const int primes[] = {2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31};  // Their product exceeds 2^32.
  for (int prime : primes)
    for (int i = 0; i < prime; ++i)
      gateways.push_back(
          Gateway(("n" + std::to_string(prime)).c_str(), "c", ("g" + std::to_string(i)).c_str()));
  EXPECT_EQ(GatewayIndex(gateways).scale(), 924241890u);
}

std::shared_ptr<const Workload> Pod(const char* cluster, const char* ns, const char* name,
                                    const char* address) {
  auto pod = std::make_shared<Workload>();
  pod->cluster = ClusterId(cluster);
  pod->ns = ns;
  pod->name = name;
  pod->addresses = {address};
  pod->labels = std::make_shared<const Labels>();
  return pod;
}

TEST(WorkloadIndexTest, CopiesDoNotSeeLaterChanges) {
  WorkloadIndex index;
  index.Put(Pod("c1", "a", "p1", "10.0.0.1"));
  index.Put(Pod("c1", "b", "p1", "10.0.0.2"));
  index.Put(Pod("c2", "a", "p1", "10.0.0.1"));
  const WorkloadIndex before = index;
  index.Put(Pod("c1", "a", "p2", "10.0.0.3"));
  index.Remove(ClusterId("c1"), "b", "p1");
  EXPECT_EQ(before.size(), 3u);
  EXPECT_EQ(before.InNamespace(ClusterId("c1"), "a").size(), 1u);
  EXPECT_EQ(index.size(), 3u);
  EXPECT_EQ(index.Find(ClusterId("c1"), "b", "p1"), nullptr);
  EXPECT_EQ(index.FindByAddress(ClusterId("c1"), "10.0.0.3")->name, "p2");
  EXPECT_EQ(index.FindByAddress(ClusterId("c2"), "10.0.0.3"), nullptr);
  index.RemoveCluster(ClusterId("c1"));
  EXPECT_EQ(index.size(), 1u);
  EXPECT_NE(index.Find(ClusterId("c2"), "a", "p1"), nullptr);
  EXPECT_FALSE(index == before);
}

std::shared_ptr<const Resource> Named(const char* name, uint64_t hash) {
  return std::make_shared<const Resource>(Resource{name, base::Slice(), hash});
}

TEST(ResourceSetTest, TheFirstOfOneNameWins) {
  const ResourceSet set({Named("a", 1), Named("b", 1), Named("a", 9)});
  EXPECT_EQ(set.all().size(), 2u);
  EXPECT_EQ((*set.Find("a"))->hash, 1u);
  EXPECT_EQ(set.Find("c"), nullptr);
}

TEST(ViewTest, FindsInTheFirstSetThatHasTheName) {
  View view;
  view.types["t"] = {
      std::make_shared<const ResourceSet>(ResourceSet({Named("a", 1)})),
      std::make_shared<const ResourceSet>(ResourceSet({Named("a", 2), Named("b", 2)}))};
  EXPECT_EQ(view.Find("t", "a")->hash, 1u);
  EXPECT_EQ(view.Find("t", "b")->hash, 2u);
  EXPECT_EQ(view.Find("t", "c"), nullptr);
  EXPECT_EQ(view.Find("u", "a"), nullptr);
}

TEST(ChangeSetTest, MergesAllParts) {
  ChangeSet changes;
  EXPECT_TRUE(changes.empty());
  ChangeSet later;
  later.endpoints.insert("h/ns");
  later.gateways = true;
  changes.Merge(later);
  EXPECT_FALSE(changes.empty());
  EXPECT_TRUE(changes.gateways);
  EXPECT_EQ(changes.endpoints.size(), 1u);
}

TEST(EndpointTest, ComparesLabelsByValue) {
  Endpoint a, b;
  a.labels = std::make_shared<const Labels>(Labels{{"app", "x"}});
  b.labels = std::make_shared<const Labels>(Labels{{"app", "x"}});
  EXPECT_TRUE(a == b);
  b.labels = std::make_shared<const Labels>(Labels{{"app", "y"}});
  EXPECT_FALSE(a == b);
}

}  // namespace
}  // namespace isthmus::model
