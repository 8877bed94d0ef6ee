#include "ads/server.h"

#include <envoy/admin/v3/config_dump_shared.pb.h>
#include <envoy/service/discovery/v3/discovery.pb.h>
#include <envoy/service/status/v3/csds.pb.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>

#include "ads/debug.h"
#include "tests/ads/fake_client.h"

namespace isthmus::ads {
namespace {

using envoy::service::discovery::v3::DeltaDiscoveryRequest;
using envoy::service::discovery::v3::DeltaDiscoveryResponse;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

constexpr const char* kNodeId = "sidecar~10.0.0.1~web-1.shop~shop.svc.cluster.local";

// A call whose client is the test.
class FakeCall final : public rpc::ServerCall {
 public:
  const std::string& method() const override { return method_; }
  const http::Headers& metadata() const override { return metadata_; }
  const http::PeerInfo& peer() const override { return peer_; }
  void OnMessage(std::function<void(std::string_view)> message,
                 std::function<void()> half_close) override {
    message_ = std::move(message);
    half_close_ = std::move(half_close);
  }
  void OnClose(std::function<void()> callback) override { close_ = std::move(callback); }
  void Send(std::vector<base::Slice> parts) override {
    std::string bytes;
    for (const auto& part : parts) bytes += part.view();
    sent.emplace_back().ParseFromString(bytes);
  }
  void Finish(const base::Status& status) override { finished = status; }
  size_t buffered() const override { return stuck; }
  void OnDrain(std::function<void()> callback) override { drain_ = std::move(callback); }

  void Ask(std::string_view type, const Names& names = {}, const std::string& account = "",
           const char* node = kNodeId) {
    DeltaDiscoveryRequest request;
    request.mutable_node()->set_id(node);
    auto& metadata = *request.mutable_node()->mutable_metadata()->mutable_fields();
    if (!account.empty()) metadata["SERVICE_ACCOUNT"].set_string_value(account);
    metadata["PROXY_CONFIG"].mutable_struct_value();
    metadata["CLUSTER_ID"].set_string_value("cluster1");
    request.set_type_url(std::string(type));
    for (const auto& name : names) request.add_resource_names_subscribe(name);
    message_(request.SerializeAsString());
  }
  void Ack() {
    DeltaDiscoveryRequest request;
    request.set_type_url(sent.back().type_url());
    request.set_response_nonce(sent.back().nonce());
    message_(request.SerializeAsString());
  }
  void Drain() {
    stuck = 0;
    drain_();
  }
  void HangUp() { close_(); }
  void HalfClose() { half_close_(); }

  std::deque<DeltaDiscoveryResponse> sent;
  std::optional<base::Status> finished;
  size_t stuck = 0;
  http::PeerInfo peer_;

 private:
  std::string method_;
  http::Headers metadata_;
  std::function<void(std::string_view)> message_;
  std::function<void()> half_close_;
  std::function<void()> close_;
  std::function<void()> drain_;
};

// Answers when the test says so.
class FakeAuthenticator final : public Authenticator {
 public:
  void Authenticate(const rpc::ServerCall&,
                    std::function<void(base::Result<std::vector<std::string>>)> done) override {
    waiting.push_back(std::move(done));
  }
  void Answer(base::Result<std::vector<std::string>> identities) {
    waiting.back()(std::move(identities));
    waiting.pop_back();
  }
  std::vector<std::function<void(base::Result<std::vector<std::string>>)>> waiting;
};

class ServerTest : public testing::Test {
 protected:
  ServerTest() {
    views_.Set(kClusterType, {MakeSet({{"c1", "C1"}})});
    views_.Set(kListenerType, {MakeSet({{"l1", "L1"}})});
    server_.SetReady(true);
  }
  std::shared_ptr<FakeCall> Open(Authenticator* authenticator = nullptr) {
    auto call = std::make_shared<FakeCall>();
    call->peer_.address = "10.0.0.1:4000";
    server_.Serve(call, Protocol::kDelta, authenticator);
    return call;
  }

  base::Loop loop_;
  base::ManualClock clock_{base::Time{}};
  FakeViews views_;
  FakeAuthenticator authenticator_;
  Server server_{loop_, views_, clock_, {}};
};

TEST_F(ServerTest, RefusesStreamsUntilReady) {
  server_.SetReady(false);
  auto call = Open();
  ASSERT_TRUE(call->finished.has_value());
  EXPECT_EQ(call->finished->code(), base::Code::kUnavailable);
}

TEST_F(ServerTest, PushesToAllStreamsAndForgetsThoseThatEnded) {
  auto first = Open();
  auto second = Open();
  for (auto& call : {first, second}) {
    call->Ask(kClusterType);
    ASSERT_EQ(call->sent.size(), 1u);
    call->Ack();
  }
  const std::string before = server_.version();
  views_.Set(kClusterType, {MakeSet({{"c1", "new"}})});
  server_.Changed();
  EXPECT_NE(server_.version(), before);
  for (auto& call : {first, second}) {
    ASSERT_EQ(call->sent.size(), 2u);
    EXPECT_EQ(call->sent[1].resources(0).resource().value(), "new");
    EXPECT_EQ(call->sent[1].system_version_info(), server_.version());
  }
  EXPECT_NE(first->sent[1].nonce(), second->sent[1].nonce());
  first->HangUp();
  ASSERT_TRUE(
      loop_.RunUntil([&] { return server_.connection_count() == 1; }, std::chrono::seconds(5)));
}

TEST_F(ServerTest, SlowClientGetsTheNewestStateWhenItHasDrained) {
  auto call = Open();
  call->Ask(kClusterType);
  call->Ack();
  call->stuck = 1;
  for (const char* text : {"a", "b", "c"}) {
    views_.Set(kClusterType, {MakeSet({{"c1", text}})});
    server_.Changed();
  }
  EXPECT_EQ(call->sent.size(), 1u);
  call->Drain();
  ASSERT_EQ(call->sent.size(), 2u);
  EXPECT_EQ(call->sent[1].resources(0).resource().value(), "c");
}

TEST_F(ServerTest, RequestsWaitForAuthentication) {
  auto call = Open(&authenticator_);
  call->Ask(kClusterType, {}, "web");
  EXPECT_THAT(call->sent, IsEmpty());
  authenticator_.Answer(std::vector<std::string>{"spiffe://other.domain/ns/shop/sa/web"});
  ASSERT_EQ(call->sent.size(), 1u);
  EXPECT_EQ(server_.FindProxy("web-1.shop")->verified_ns(), "shop");
}

TEST_F(ServerTest, UnknownCallerIsRefused) {
  auto call = Open(&authenticator_);
  call->Ask(kClusterType);
  authenticator_.Answer(base::Error(base::Code::kUnauthenticated, "no credential"));
  ASSERT_TRUE(call->finished.has_value());
  EXPECT_EQ(call->finished->code(), base::Code::kUnauthenticated);
  EXPECT_THAT(call->sent, IsEmpty());
}

TEST_F(ServerTest, CallerOfAnotherNamespaceOrAccountIsRefused) {
  for (const char* identity : {"spiffe://cluster.local/ns/other/sa/web",
                               "spiffe://cluster.local/ns/shop/sa/db", "not a spiffe id"}) {
    auto call = Open(&authenticator_);
    call->Ask(kClusterType, {}, "web");
    authenticator_.Answer(std::vector<std::string>{identity});
    ASSERT_TRUE(call->finished.has_value()) << identity;
    EXPECT_EQ(call->finished->code(), base::Code::kPermissionDenied);
    EXPECT_THAT(call->finished->message(), HasSubstr("authorization failed"));
  }
}

TEST_F(ServerTest, TooMuchBeforeAuthenticationEndsTheStream) {
  auto call = Open(&authenticator_);
  const Names names(400, std::string(4000, 'x'));
  call->Ask(kEndpointType, names);
  ASSERT_TRUE(call->finished.has_value());
  EXPECT_EQ(call->finished->code(), base::Code::kResourceExhausted);
  authenticator_.Answer(std::vector<std::string>{});  // To no effect.
}

TEST_F(ServerTest, HalfCloseEndsTheStreamInOrder) {
  auto call = Open();
  call->Ask(kClusterType);
  call->HalfClose();
  ASSERT_TRUE(call->finished.has_value());
  EXPECT_TRUE(call->finished->ok());
}

class DebugTest : public ServerTest {
 protected:
  DebugTest() {
    server_.SetDebug(&debug_);
    views_.Set(kClusterType, {MakeSet({{"c1", "C1"}, {"c2", "C2"}})});
    proxy_ = Open();
    proxy_->Ask(kClusterType);
    proxy_->Ask(kListenerType);
  }
  // A debug client with a proved identity in `ns`.
  std::shared_ptr<FakeCall> Client(const std::string& ns) {
    auto call = Open(&authenticator_);
    authenticator_.Answer(
        std::vector<std::string>{"spiffe://cluster.local/ns/" + ns + "/sa/default"});
    node_ = "sidecar~10.0.0.2~istioctl." + ns + "~" + ns + ".svc.cluster.local";
    return call;
  }
  void Ask(FakeCall& client, std::string_view type, const Names& names = {}) {
    client.Ask(type, names, "", node_.c_str());
  }

  Debug debug_{server_, views_, "istio-system",
               [](std::string_view page) -> base::Result<std::string> {
                 return "page " + std::string(page);
               }};
  std::shared_ptr<FakeCall> proxy_;
  std::string node_;
};

TEST_F(DebugTest, SyncStatusShowsEachTypeOfEachProxy) {
  proxy_->Ack();  // The listeners, which were sent last.
  auto client = Client("istio-system");
  Ask(*client, kDebugSyncType);
  ASSERT_EQ(client->sent.size(), 1u);
  const auto& answer = client->sent[0];
  EXPECT_EQ(answer.type_url(), kDebugSyncType);
  ASSERT_EQ(answer.resources_size(), 1) << "the debug client itself is no proxy";
  envoy::service::status::v3::ClientConfig config;
  ASSERT_TRUE(answer.resources(0).resource().UnpackTo(&config));
  EXPECT_EQ(config.node().id(), "web-1.shop");
  EXPECT_EQ(config.node().metadata().fields().at("CLUSTER_ID").string_value(), "cluster1");
  ASSERT_EQ(config.generic_xds_configs_size(), 2);
  EXPECT_EQ(config.generic_xds_configs(0).type_url(), kClusterType);
  EXPECT_EQ(config.generic_xds_configs(0).config_status(), envoy::service::status::v3::STALE);
  EXPECT_EQ(config.generic_xds_configs(1).config_status(), envoy::service::status::v3::SYNCED);
  // Asking again makes no subscription and gives a fresh answer.
  Ask(*client, kDebugSyncType);
  EXPECT_EQ(client->sent.size(), 2u);
}

TEST_F(DebugTest, ConfigDumpHasItsPartsInOrder) {
  auto client = Client("istio-system");
  Ask(*client, kDebugDumpType, {"web-1.shop"});
  ASSERT_EQ(client->sent.size(), 1u);
  std::vector<std::string> types;
  for (const auto& each : client->sent[0].resources()) {
    const std::string& url = each.resource().type_url();
    types.push_back(url.substr(url.rfind('.') + 1));
  }
  EXPECT_THAT(types, ElementsAre("BootstrapConfigDump", "ClustersConfigDump", "ListenersConfigDump",
                                 "ScopedRoutesConfigDump", "RoutesConfigDump", "SecretsConfigDump",
                                 "EcdsConfigDump"));
  envoy::admin::v3::ClustersConfigDump clusters;
  ASSERT_TRUE(client->sent[0].resources(1).resource().UnpackTo(&clusters));
  EXPECT_EQ(clusters.version_info(), server_.version());
  ASSERT_EQ(clusters.dynamic_active_clusters_size(), 2);
  EXPECT_EQ(clusters.dynamic_active_clusters(0).cluster().value(), "C1");
}

TEST_F(DebugTest, UnknownProxyGivesNoResources) {
  auto client = Client("istio-system");
  Ask(*client, kDebugDumpType, {"nobody.shop"});
  ASSERT_EQ(client->sent.size(), 1u);
  EXPECT_EQ(client->sent[0].resources_size(), 0);
  EXPECT_THAT(debug_.ConfigDumpJson("nobody.shop").status().message(),
              HasSubstr("Proxy not connected to this Pilot"));
}

TEST_F(DebugTest, PagesComeAsTheyAre) {
  auto client = Client("istio-system");
  Ask(*client, kDebugType, {"edsz?proxyID=web-1.shop"});
  ASSERT_EQ(client->sent.size(), 1u);
  EXPECT_EQ(client->sent[0].resources(0).resource().type_url(), kDebugType);
  EXPECT_EQ(client->sent[0].resources(0).resource().value(), "page edsz?proxyID=web-1.shop");
}

TEST_F(DebugTest, OthersSeeOnlyTheirOwnNamespace) {
  auto own = Client("shop");
  Ask(*own, kDebugDumpType, {"web-1.shop"});
  EXPECT_EQ(own->sent.size(), 1u);
  Ask(*own, kDebugSyncType);
  ASSERT_TRUE(own->finished.has_value());
  EXPECT_EQ(own->finished->code(), base::Code::kPermissionDenied);

  auto other = Client("other");
  Ask(*other, kDebugType, {"edsz?proxyID=web-1.shop"});
  ASSERT_TRUE(other->finished.has_value());
  EXPECT_EQ(other->finished->code(), base::Code::kPermissionDenied);

  auto unknown = Open();
  unknown->Ask(kDebugSyncType);
  ASSERT_TRUE(unknown->finished.has_value());
  EXPECT_EQ(unknown->finished->code(), base::Code::kUnauthenticated);
}

}  // namespace
}  // namespace isthmus::ads
