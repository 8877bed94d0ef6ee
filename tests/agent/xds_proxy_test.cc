#include "agent/xds_proxy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rpc/protobuf_wire.h"
#include "tests/agent/network_fixture.h"

namespace isthmus::agent {
namespace {

using ::testing::HasSubstr;
constexpr char kDelta[] =
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";

std::string NameTableAny(const std::string& host) {
  std::string info;
  rpc::PutBytes(info, 1, "10.0.0.1");
  std::string entry;
  rpc::PutBytes(entry, 1, host);
  rpc::PutBytes(entry, 2, info);
  std::string table;
  rpc::PutBytes(table, 1, entry);
  return MakeAny(kNameTableType, table);
}

/// The first request of an Envoy that has a listener already.
std::string KnowingRequest() {
  std::string request = MakeXdsRequest(XdsForm::kDelta, kListenerType, "", "", "");
  std::string version;
  rpc::PutBytes(version, 1, "l");
  rpc::PutBytes(request, 5, version);
  return request;
}

/// A control plane whose every answer the test gives.
struct XdsProxyTest : NetworkTest {
  std::vector<std::string> requests;  // Of the newest upstream stream.
  int streams = 0;
  std::weak_ptr<rpc::ServerCall> upstream_call;
  std::unique_ptr<ConfigStore> store;
  std::unique_ptr<XdsProxy> proxy;
  std::string socket;

  void SetUp() override {
    NetworkTest::SetUp();
    socket = folder + "/XDS";
    router.Add(kDelta, [this](std::shared_ptr<rpc::ServerCall> call) {
      ++streams;
      requests.clear();
      upstream_call = call;
      auto* raw = call.get();
      raw->OnMessage([this, call](std::string_view message) { requests.emplace_back(message); },
                     [] {});
    });
    store = Must(ConfigStore::Open(folder + "/store"));
    MakeProxy();
  }
  void TearDown() override {
    proxy.reset();
    NetworkTest::TearDown();
  }
  void MakeProxy() {
    XdsProxyOptions options;
    options.socket_path = socket;
    options.name_table = true;
    options.patience = 200ms;
    proxy =
        std::make_unique<XdsProxy>(loop, *control_plane, store.get(), metrics, std::move(options));
    const base::Status status = proxy->Start();
    ASSERT_TRUE(status.ok()) << status.message();
  }
  void Respond(const std::string& message) {
    auto call = upstream_call.lock();
    ASSERT_NE(call, nullptr);
    call->Send({base::Slice::Copy(message)});
  }
  /// Brings one listener through, acknowledged.
  void TeachOneListener(TestCall& envoy) {
    envoy.Send(MakeXdsRequest(XdsForm::kDelta, kListenerType, "", "", ""));
    ASSERT_TRUE(Until([&] { return requests.size() >= 1; }));
    Respond(MakeXdsResponse(XdsForm::kDelta, kListenerType, "n1", "v",
                            {MakeResource("l", "1", MakeAny(kListenerType, "config"))}));
    ASSERT_TRUE(Until([&] { return envoy.received.size() == 1; }));
    envoy.Send(MakeXdsRequest(XdsForm::kDelta, kListenerType, "n1", "", ""));
    ASSERT_TRUE(Until([&] { return !store->Names(kListenerType).empty(); }));
  }
};

TEST_F(XdsProxyTest, MessagesPassAsTheyAre) {
  TestCall envoy(loop, socket, kDelta);
  std::string odd = MakeXdsRequest(XdsForm::kDelta, kClusterType, "", "", "");
  rpc::PutBytes(odd, 1000, "a field that nobody knows");
  envoy.Send(odd);
  ASSERT_TRUE(Until([&] { return requests.size() == 1; }));
  EXPECT_EQ(requests[0], odd);
  std::string answer = MakeXdsResponse(XdsForm::kDelta, kClusterType, "n", "v", {});
  rpc::PutBytes(answer, 1001, "another");
  Respond(answer);
  ASSERT_TRUE(Until([&] { return envoy.received.size() == 1; }));
  EXPECT_EQ(envoy.received[0], answer);
}

TEST_F(XdsProxyTest, OtherTypesAreNotForwarded) {
  TestCall envoy(loop, socket, kDelta);
  envoy.Send(MakeXdsRequest(XdsForm::kDelta, kClusterType, "", "", ""));
  ASSERT_TRUE(Until([&] { return requests.size() == 1; }));
  Respond(MakeXdsResponse(XdsForm::kDelta, "type.googleapis.com/istio.secret.Thing", "n", "v", {}));
  Respond(MakeXdsResponse(XdsForm::kDelta, kClusterType, "n", "v", {}));
  ASSERT_TRUE(Until([&] { return !envoy.received.empty(); }));
  EXPECT_THAT(envoy.received[0], HasSubstr("Cluster"));
}

TEST_F(XdsProxyTest, NameTableIsAskedForAfterListenersAndKept) {
  TestCall envoy(loop, socket, kDelta);
  envoy.Send(MakeXdsRequest(XdsForm::kDelta, kListenerType, "", "", ""));
  ASSERT_TRUE(Until([&] { return requests.size() == 2; }));
  EXPECT_EQ(Must(ParseXdsRequest(XdsForm::kDelta, requests[1])).type_url, kNameTableType);
  Respond(MakeXdsResponse(XdsForm::kDelta, kNameTableType, "n7", "v",
                          {MakeResource("t", "1", NameTableAny("a.example"))}));
  ASSERT_TRUE(Until([&] { return requests.size() == 3; }));
  EXPECT_EQ(Must(ParseXdsRequest(XdsForm::kDelta, requests[2])).nonce, "n7");
  ASSERT_NE(proxy->name_table(), nullptr);
  EXPECT_TRUE(proxy->name_table()->hosts().contains("a.example"));
  EXPECT_TRUE(envoy.received.empty()) << "Envoy knows no name table";
  Respond(MakeXdsResponse(XdsForm::kDelta, kNameTableType, "n8", "v",
                          {MakeResource("t", "1", MakeAny(kNameTableType, "\x0a\x7f"))}));
  ASSERT_TRUE(Until([&] { return requests.size() == 4; }));
  EXPECT_TRUE(Must(ParseXdsRequest(XdsForm::kDelta, requests[3])).rejected);
  EXPECT_TRUE(proxy->name_table()->hosts().contains("a.example")) << "the last good one stays";
  // An agent that starts again has it at once.
  proxy.reset();
  MakeProxy();
  EXPECT_NE(proxy->name_table(), nullptr);
}

TEST_F(XdsProxyTest, RootsOfTheMeshAreAskedForBehindTheFirstRequestAndKept) {
  std::vector<MeshTrust> told;
  const auto note = [&](MeshTrust trust) { told.push_back(std::move(trust)); };
  proxy->OnMeshTrust(note);
  EXPECT_TRUE(told.empty());
  TestCall envoy(loop, socket, kDelta);
  envoy.Send(MakeXdsRequest(XdsForm::kDelta, kClusterType, "", "", ""));
  ASSERT_TRUE(Until([&] { return requests.size() == 2; }));
  EXPECT_EQ(Must(ParseXdsRequest(XdsForm::kDelta, requests[1])).type_url, kMeshTrustType);
  const auto respond = [&](const char* nonce, const std::string& pem) {
    std::string config;
    rpc::PutBytes(config, 32, pem);
    Respond(MakeXdsResponse(XdsForm::kDelta, kMeshTrustType, nonce, "v",
                            {MakeResource("t", nonce, MakeAny(kMeshTrustType, config))}));
  };
  respond("n1", pki::TestCa().root.chain_pem());
  ASSERT_TRUE(Until([&] { return told.size() == 1; }));
  EXPECT_FALSE(told[0].empty());
  respond("n2", "rubbish");
  ASSERT_TRUE(Until([&] { return requests.size() == 4; }));
  EXPECT_TRUE(Must(ParseXdsRequest(XdsForm::kDelta, requests[3])).rejected);
  EXPECT_EQ(told.size(), 1u) << "the last good ones stay";
  EXPECT_TRUE(envoy.received.empty()) << "Envoy knows nothing of them";
  proxy.reset();
  MakeProxy();
  proxy->OnMeshTrust(note);
  ASSERT_EQ(told.size(), 2u) << "an agent that starts again has them at once";
  EXPECT_EQ(told[1], told[0]);
  // Nothing left to tell: they are taken back.
  TestCall again(loop, socket, kDelta);
  again.Send(MakeXdsRequest(XdsForm::kDelta, kClusterType, "", "", ""));
  ASSERT_TRUE(Until([&] { return streams == 2; }));
  Respond(MakeXdsResponse(XdsForm::kDelta, kMeshTrustType, "n3", "v", {}, {"t"}));
  ASSERT_TRUE(Until([&] { return told.size() == 3; }));
  EXPECT_TRUE(told[2].empty());
}

TEST_F(XdsProxyTest, EitherSideEndsTheOther) {
  auto envoy = std::make_unique<TestCall>(loop, socket, kDelta);
  envoy->Send(MakeXdsRequest(XdsForm::kDelta, kClusterType, "", "", ""));
  ASSERT_TRUE(Until([&] { return requests.size() == 1; }));
  Respond(MakeXdsResponse(XdsForm::kDelta, kClusterType, "n", "v", {}));
  ASSERT_TRUE(Until([&] { return !envoy->received.empty(); }));
  upstream_call.lock()->Finish(base::Error(base::Code::kAborted, "max connection age"));
  ASSERT_TRUE(Until([&] { return envoy->closed.has_value(); }));
  EXPECT_EQ(envoy->closed->code(), base::Code::kUnavailable);

  envoy = std::make_unique<TestCall>(loop, socket, kDelta);
  envoy->Send(MakeXdsRequest(XdsForm::kDelta, kClusterType, "", "", ""));
  ASSERT_TRUE(Until([&] { return streams == 2 && requests.size() == 1; }));
  bool gone = false;
  upstream_call.lock()->OnClose([&] { gone = true; });
  envoy.reset();
  EXPECT_TRUE(Until([&] { return gone; }));
}

TEST_F(XdsProxyTest, ANewerStreamTakesThePlaceOfTheOld) {
  TestCall old(loop, socket, kDelta);
  old.Send(MakeXdsRequest(XdsForm::kDelta, kClusterType, "", "", ""));
  ASSERT_TRUE(Until([&] { return streams == 1; }));
  TestCall newer(loop, socket, kDelta);
  newer.Send(MakeXdsRequest(XdsForm::kDelta, kClusterType, "", "", ""));
  EXPECT_TRUE(Until([&] { return old.closed.has_value() && streams == 2; }));
  EXPECT_FALSE(newer.closed.has_value());
}

TEST_F(XdsProxyTest, RejectedConfigurationIsNotKept) {
  TestCall envoy(loop, socket, kDelta);
  TeachOneListener(envoy);
  Respond(MakeXdsResponse(XdsForm::kDelta, kListenerType, "n2", "v",
                          {MakeResource("l", "2", MakeAny(kListenerType, "broken"))}));
  ASSERT_TRUE(Until([&] { return envoy.received.size() == 2; }));
  envoy.Send(MakeXdsRequest(XdsForm::kDelta, kListenerType, "n2", "", "no such filter"));
  ASSERT_TRUE(Until([&] { return requests.size() >= 4; }));
  EXPECT_THAT(store->Read(kListenerType, "l"), HasSubstr("config"));
}

TEST_F(XdsProxyTest, AFreshEnvoyIsServedFromDiskAndAKnowingOneIsNot) {
  {
    TestCall envoy(loop, socket, kDelta);
    TeachOneListener(envoy);
  }
  upstream.reset();
  TestCall fresh(loop, socket, kDelta);
  fresh.Send(MakeXdsRequest(XdsForm::kDelta, kListenerType, "", "", ""));
  ASSERT_TRUE(Until([&] { return !fresh.received.empty(); }));
  EXPECT_THAT(fresh.received[0], HasSubstr("config"));
  // Names that are not stored are told as absent, so that nothing waits for them.
  fresh.Send(MakeXdsRequest(XdsForm::kDelta, kClusterType, "", "", "", {"none"}));
  ASSERT_TRUE(Until([&] { return fresh.received.size() == 2; }));
  EXPECT_THAT(Must(ParseXdsResponse(XdsForm::kDelta, fresh.received[1])).removed,
              ::testing::ElementsAre("none"));

  TestCall knowing(loop, socket, kDelta);
  knowing.Send(KnowingRequest());
  ASSERT_TRUE(Until([&] { return knowing.closed.has_value(); }));
  EXPECT_TRUE(knowing.received.empty());
}

// Envoy opens its stream first and says a little later what it has.
TEST_F(XdsProxyTest, AKnowingEnvoyThatIsSlowToSpeakIsNotServedFromDisk) {
  {
    TestCall envoy(loop, socket, kDelta);
    TeachOneListener(envoy);
  }
  upstream.reset();
  TestCall knowing(loop, socket, kDelta);
  EXPECT_FALSE(loop.RunUntil([&] { return knowing.closed.has_value(); }, 300ms));
  knowing.Send(KnowingRequest());
  ASSERT_TRUE(Until([&] { return knowing.closed.has_value(); })) << "so that it comes again";
  EXPECT_TRUE(knowing.received.empty());
}

TEST_F(XdsProxyTest, ASilentControlPlaneCountsAsDownAndItsReturnIsNoticed) {
  {
    TestCall envoy(loop, socket, kDelta);
    TeachOneListener(envoy);
  }
  TestCall fresh(loop, socket, kDelta);
  fresh.Send(MakeXdsRequest(XdsForm::kDelta, kListenerType, "", "", ""));
  ASSERT_TRUE(Until([&] { return !fresh.received.empty(); })) << "after its patience";
  const int before = streams;
  ASSERT_TRUE(Until([&] { return streams > before && !requests.empty(); })) << "probing";
  Respond(MakeXdsResponse(XdsForm::kDelta, kListenerType, "n", "v", {}));
  ASSERT_TRUE(Until([&] { return fresh.closed.has_value(); })) << "Envoy comes again by itself";
}

TEST_F(XdsProxyTest, GarbageEndsOnlyItsStream) {
  TestCall bad(loop, socket, kDelta);
  bad.Send("\xff\xff\xff");
  ASSERT_TRUE(Until([&] { return bad.closed.has_value(); }));
  EXPECT_EQ(bad.closed->code(), base::Code::kInvalidArgument);
  TestCall good(loop, socket, kDelta);
  good.Send(MakeXdsRequest(XdsForm::kDelta, kClusterType, "", "", ""));
  ASSERT_TRUE(Until([&] { return requests.size() == 1; }));
  Respond("\xff\xff\xff");
  EXPECT_TRUE(Until([&] { return good.closed.has_value(); }));
}

}  // namespace
}  // namespace isthmus::agent
