#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/ca_client.h"
#include "agent/sds_server.h"
#include "agent/workload_secret.h"
#include "agent/xds_message.h"
#include "base/files.h"
#include "rpc/protobuf_wire.h"
#include "tests/agent/network_fixture.h"

namespace isthmus::agent {
namespace {

using ::testing::HasSubstr;
constexpr char kSleep[] = "spiffe://cluster.local/ns/sample/sa/sleep";

/// A CA behind the method that agents call, which a test can make fail.
struct SecretTest : NetworkTest {
  pki::TestCa ca;
  std::unique_ptr<pki::TestCa> other_ca;
  int calls = 0;
  std::vector<base::Status> failures;  // Answered first, one each.
  std::string last_metadata;
  std::unique_ptr<CaClient> ca_client;
  std::unique_ptr<WorkloadSecretSource> source;

  void SetUp() override {
    NetworkTest::SetUp();
    router.Add("/istio.v1.auth.IstioCertificateService/CreateCertificate",
               [this](std::shared_ptr<rpc::ServerCall> call) {
                 auto* raw = call.get();
                 raw->OnMessage([this, call](std::string_view message) { Answer(*call, message); },
                                [] {});
               });
    ca_client = std::make_unique<CaClient>(loop, *control_plane, "");
  }
  void TearDown() override {
    source.reset();
    ca_client.reset();
    NetworkTest::TearDown();
  }

  void Answer(rpc::ServerCall& call, std::string_view message) {
    ++calls;
    last_metadata = std::string(call.metadata().Get("clusterid").value_or(""));
    if (!failures.empty()) {
      const base::Status failure = failures.front();
      failures.erase(failures.begin());
      return call.Finish(failure);
    }
    std::string csr_pem;
    int64_t ttl = 0;
    rpc::WireReader in(message);
    while (in.Next()) {
      if (in.field() == 1) csr_pem = in.bytes();
      if (in.field() == 3) ttl = static_cast<int64_t>(in.number());
    }
    pki::TestCa& signer = other_ca != nullptr ? *other_ca : ca;
    signer.clock = clock;
    const pki::Csr csr = Must(pki::Csr::FromPem(csr_pem));
    EXPECT_EQ(csr.names().uri_sans, std::vector<std::string>{kSleep});
    const pki::Certificate leaf =
        Must(signer.ca.SignWorkload(csr, {kSleep}, std::chrono::seconds(ttl)));
    std::string response;
    rpc::PutBytes(response, 1, leaf.pem());
    rpc::PutBytes(response, 1, signer.intermediate.chain.front().pem());
    rpc::PutBytes(response, 1, signer.root.chain_pem());
    call.Send({base::Slice(response)});
    call.Finish(base::Status());
  }

  void StartSource(std::function<double()> random = [] { return 0.5; }) {
    WorkloadSecretOptions options;
    options.spiffe_id = kSleep;
    options.random = std::move(random);
    source = std::make_unique<WorkloadSecretSource>(loop, clock, *ca_client, std::move(options));
    source->Start();
  }
};

TEST_F(SecretTest, AsksForItsOwnIdentity) {
  StartSource();
  ASSERT_TRUE(Until([&] { return source->current() != nullptr; }));
  const auto secret = source->current();
  EXPECT_EQ(secret->identity.chain.front().uri_sans(), std::vector<std::string>{kSleep});
  EXPECT_EQ(secret->identity.chain.size(), 2u);
  EXPECT_EQ(secret->root_pem, ca.root.chain_pem());
  EXPECT_EQ(secret->identity.chain.front().not_after(), clock.Now() + 24h);
  EXPECT_EQ(last_metadata, "cluster1");
}

TEST_F(SecretTest, FailuresThatMayPassAreTriedAgainAtOnce) {
  failures = {base::Error(base::Code::kUnavailable, "busy"),
              base::Error(base::Code::kInternal, "not ready")};
  StartSource();
  ASSERT_TRUE(Until([&] { return source->current() != nullptr; }));
  EXPECT_EQ(calls, 3);
}

TEST_F(SecretTest, ARefusalIsTriedAgainLater) {
  failures = {base::Error(base::Code::kUnauthenticated, "token expired")};
  StartSource();
  EXPECT_TRUE(Until([&] { return source->current() != nullptr; }));
  EXPECT_EQ(calls, 2);
}

TEST_F(SecretTest, RenewedAtHalfOfItsLifeAndTheOldOneServesMeanwhile) {
  StartSource();
  ASSERT_TRUE(Until([&] { return source->current() != nullptr; }));
  const auto first = source->current();
  EXPECT_EQ(RenewalTime(clock.Now(), clock.Now() + 24h, 0.5), clock.Now() + 12h);
  EXPECT_EQ(RenewalTime(clock.Now(), clock.Now() - 1h, 0.5), clock.Now() - 1h);
  EXPECT_EQ(RenewalTime(clock.Now(), clock.Now() + 24h, 7), clock.Now());
  int changes = 0;
  const auto handle = source->OnChange([&] { ++changes; });
  upstream.reset();
  EXPECT_EQ(source->current(), first);
  EXPECT_EQ(changes, 0);
}

TEST_F(SecretTest, AnswersThatMakeNoSenseAreRefused) {
  EXPECT_FALSE(ParseCertificateResponse("\xff").ok());
  std::string one;
  rpc::PutBytes(one, 1, "leaf");
  EXPECT_THAT(ParseCertificateResponse(one).status().message(), HasSubstr("1 elements"));
}

struct SdsTest : SecretTest {
  std::unique_ptr<SdsServer> server;
  std::string socket;
  void SetUp() override {
    SecretTest::SetUp();
    socket = folder + "/sub/sds";
  }
  void TearDown() override {
    server.reset();
    SecretTest::TearDown();
  }
  void StartServer() {
    server = std::make_unique<SdsServer>(loop, *source, socket);
    const base::Status status = server->Start();
    ASSERT_TRUE(status.ok()) << status.message();
  }
  static XdsResponse Read(XdsForm form, const std::string& message) {
    return Must(ParseXdsResponse(form, message));
  }
};

TEST_F(SdsTest, StateOfTheWorldGetsKeyAndRoots) {
  failures = {base::Error(base::Code::kUnauthenticated, "later")};
  StartSource();
  StartServer();
  TestCall call(loop, socket, "/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets");
  call.Send(MakeXdsRequest(XdsForm::kStateOfTheWorld, kSecretType, "", "", "", {"default"}));
  ASSERT_TRUE(Until([&] { return !call.received.empty(); }))
      << "answered when the certificate comes";
  const XdsResponse response = Read(XdsForm::kStateOfTheWorld, call.received[0]);
  EXPECT_EQ(response.type_url, kSecretType);
  ASSERT_EQ(response.resources.size(), 1u);
  const std::string_view secret = AnyValue(response.resources[0].any);
  EXPECT_THAT(std::string(secret), HasSubstr("BEGIN PRIVATE KEY"));
  EXPECT_THAT(std::string(secret), HasSubstr("BEGIN CERTIFICATE"));
  // An acknowledgement is not answered; another name is.
  call.Send(
      MakeXdsRequest(XdsForm::kStateOfTheWorld, kSecretType, response.nonce, "v", "", {"default"}));
  call.Send(
      MakeXdsRequest(XdsForm::kStateOfTheWorld, kSecretType, response.nonce, "v", "", {"ROOTCA"}));
  ASSERT_TRUE(Until([&] { return call.received.size() == 2; }));
  EXPECT_THAT(call.received[1], HasSubstr("ROOTCA"));
  EXPECT_THAT(call.received[1], ::testing::Not(HasSubstr("PRIVATE KEY")));
}

TEST_F(SdsTest, FurtherRootsOfTheMeshArePushedAndBoundToTheirTrustDomains) {
  StartSource();
  ASSERT_TRUE(Until([&] { return source->current() != nullptr; }));
  StartServer();
  TestCall call(loop, socket, "/envoy.service.secret.v3.SecretDiscoveryService/DeltaSecrets");
  call.Send(MakeXdsRequest(XdsForm::kDelta, kSecretType, "", "", "", {"default", "ROOTCA"}));
  ASSERT_TRUE(Until([&] { return call.received.size() == 1; }));
  const pki::TestCa other;
  std::string config, bound;
  rpc::PutBytes(config, 32, other.root.chain_pem());
  source->SetMeshTrust(Must(MeshTrust::Parse(config)));
  ASSERT_TRUE(Until([&] { return call.received.size() == 2; }));
  EXPECT_THAT(call.received[1], HasSubstr(source->current()->root_pem));
  EXPECT_THAT(call.received[1], HasSubstr(other.root.chain_pem()));
  EXPECT_THAT(call.received[1], ::testing::Not(HasSubstr("spiffe")));
  EXPECT_EQ(Read(XdsForm::kDelta, call.received[1]).resources.size(), 1u) << "no new key";

  rpc::PutBytes(bound, 1, "other.example");
  rpc::PutBytes(bound, 2, other.root.chain_pem());
  rpc::PutBytes(config, 22, bound);
  source->SetMeshTrust(Must(MeshTrust::Parse(config)));
  ASSERT_TRUE(Until([&] { return call.received.size() == 3; }));
  EXPECT_THAT(call.received[2], HasSubstr("envoy.tls.cert_validator.spiffe"));
  EXPECT_THAT(call.received[2], HasSubstr("other.example"));
  source->SetMeshTrust(MeshTrust());
  ASSERT_TRUE(Until([&] { return call.received.size() == 4; }));
  EXPECT_THAT(call.received[3], ::testing::Not(HasSubstr(other.root.chain_pem())));
}

TEST_F(SdsTest, DeltaTellsUnknownNamesAsAbsent) {
  StartSource();
  ASSERT_TRUE(Until([&] { return source->current() != nullptr; }));
  StartServer();
  TestCall call(loop, socket, "/envoy.service.secret.v3.SecretDiscoveryService/DeltaSecrets");
  call.Send(MakeXdsRequest(XdsForm::kDelta, kSecretType, "", "", "",
                           {"default", "ROOTCA", "kubernetes://x"}));
  ASSERT_TRUE(Until([&] { return !call.received.empty(); }));
  const XdsResponse response = Read(XdsForm::kDelta, call.received[0]);
  EXPECT_EQ(response.resources.size(), 2u);
  EXPECT_THAT(response.removed, ::testing::ElementsAre("kubernetes://x"));
  call.Send("\xff\xff");
  ASSERT_TRUE(Until([&] { return call.closed.has_value(); }));
  EXPECT_EQ(call.closed->code(), base::Code::kInvalidArgument);
}

TEST_F(SdsTest, FilesOfTheContainerAreServedByName) {
  StartSource();
  StartServer();
  const std::string root = folder + "/root.pem";
  ASSERT_TRUE(base::WriteFile(root, ca.root.chain_pem()).ok());
  TestCall call(loop, socket, "/envoy.service.secret.v3.SecretDiscoveryService/DeltaSecrets");
  call.Send(MakeXdsRequest(XdsForm::kDelta, kSecretType, "", "", "",
                           {"file-root:" + root, "file-cert:/nowhere/a.pem~/nowhere/b.pem"}));
  ASSERT_TRUE(Until([&] { return !call.received.empty(); }));
  const XdsResponse response = Read(XdsForm::kDelta, call.received[0]);
  ASSERT_EQ(response.resources.size(), 1u);
  EXPECT_EQ(response.resources[0].name, "file-root:" + root);
  EXPECT_THAT(response.removed, ::testing::ElementsAre("file-cert:/nowhere/a.pem~/nowhere/b.pem"));
  EXPECT_THAT(MakeFileSecret("file-cert:" + root + "~" + root), HasSubstr(root));
  EXPECT_EQ(MakeFileSecret("file-root:/nowhere"), "");
  EXPECT_EQ(MakeFileSecret("kubernetes://x"), "");
}

TEST_F(SdsTest, ASocketOfAnEarlierRunIsReplaced) {
  StartSource();
  StartServer();
  server.reset();
  StartServer();
  EXPECT_TRUE(std::filesystem::is_socket(socket));
  EXPECT_EQ(std::filesystem::status(socket).permissions(), std::filesystem::perms(0666));
}

struct ControlPlaneTest : NetworkTest {};

TEST_F(ControlPlaneTest, FailuresLeadToTheNextAddress) {
  ControlPlaneOptions options;
  options.addresses = {"a:1", "b:2"};
  options.plaintext = true;
  ControlPlane plane(loop, clock, std::move(options));
  EXPECT_TRUE(plane.client().ok());
  EXPECT_EQ(plane.address(), "a:1");
  plane.Failed();
  EXPECT_EQ(plane.address(), "b:2");
  EXPECT_TRUE(plane.client().ok());
  plane.Failed();
  EXPECT_EQ(plane.address(), "a:1");
}

TEST_F(ControlPlaneTest, TokensAndRootsAreReadAnew) {
  ControlPlaneOptions options;
  options.addresses = {"127.0.0.1:1"};
  options.root_file = folder + "/root";
  options.token_file = folder + "/token";
  options.headers = {{"x-extra", "1"}};
  ControlPlane plane(loop, clock, std::move(options));
  EXPECT_THAT(plane.client().status().message(), HasSubstr(folder + "/root"));
  EXPECT_FALSE(plane.metadata().Get("authorization").has_value());
  std::ofstream(folder + "/token") << "abc\n";
  std::ofstream(folder + "/root") << "garbage";
  EXPECT_EQ(plane.metadata().Get("authorization"), "Bearer abc");
  EXPECT_EQ(plane.metadata().Get("x-extra"), "1");
  EXPECT_FALSE(plane.client().ok());
  std::ofstream(folder + "/root") << pki::TestCa().root.chain_pem();
  EXPECT_TRUE(plane.client().ok());
}

}  // namespace
}  // namespace isthmus::agent
