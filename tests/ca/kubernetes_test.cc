// What of the CA lives in Kubernetes: the self-signed root's secret, root config maps, token
// reviews; and plugged-in files that change.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <optional>

#include "base/encoding.h"
#include "ca/certificate_authority.h"
#include "ca/root_publisher.h"
#include "ca/token_authenticator.h"
#include "tests/ca/fake_api.h"

namespace isthmus::ca {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

constexpr char kSecretPath[] = "/api/v1/namespaces/istio-system/secrets/istio-ca-secret";

struct SelfSignedTest : ::testing::Test {
  base::Loop loop;
  base::ManualClock clock{TestTime()};
  FakeApi api{loop};
  std::unique_ptr<kubeclient::Client> client = api.MakeClient();

  struct Replica {
    Authority authority;
    std::unique_ptr<SelfSignedCa> ca;
  };
  std::unique_ptr<Replica> Start() {
    auto replica = std::make_unique<Replica>();
    replica->ca = std::make_unique<SelfSignedCa>(loop, clock, replica->authority, client.get(),
                                                 SelfSignedOptions{});
    replica->ca->Start();
    return replica;
  }
  bool Until(const std::function<bool()>& holds) { return loop.RunUntil(holds, 10s); }
};

TEST_F(SelfSignedTest, MakesTheSecretOfTheContract) {
  auto replica = Start();
  ASSERT_TRUE(Until([&] { return replica->authority.ready(); }));
  const Json& secret = api.objects.at(kSecretPath);
  EXPECT_EQ(secret["type"], "istio.io/ca-root");
  for (const char* key :
       {"ca-cert.pem", "ca-key.pem", "root-cert.pem", "cert-chain.pem", "key.pem"})
    EXPECT_TRUE(secret["data"].contains(key)) << key;
  EXPECT_EQ(secret["data"]["cert-chain.pem"], "");
  const pki::Certificate& root = replica->authority.material().ca.certificate();
  EXPECT_EQ(root.subject(), "O=cluster.local");
  EXPECT_EQ(root.not_after() - root.not_before(), 3650 * pki::kDay);
  EXPECT_EQ(Must(base::Base64Decode(secret["data"]["root-cert.pem"].get<std::string>())),
            replica->authority.roots_pem());
  const auto answer =
      Must(replica->authority.Sign(CsrPem(), {"spiffe://cluster.local/ns/a/sa/b"}, pki::kDay));
  EXPECT_EQ(answer.size(), 2u) << "leaf and root";
}

TEST_F(SelfSignedTest, ReplicasShareOneRoot) {
  auto one = Start();
  auto two = Start();
  ASSERT_TRUE(Until([&] { return one->authority.ready() && two->authority.ready(); }));
  EXPECT_EQ(one->authority.roots_pem(), two->authority.roots_pem());
  auto later = Start();
  ASSERT_TRUE(Until([&] { return later->authority.ready(); }));
  EXPECT_EQ(later->authority.roots_pem(), one->authority.roots_pem());
}

TEST_F(SelfSignedTest, TriesAgainUntilTheApiServerAnswers) {
  api.refuse[std::string("GET ") + kSecretPath] = 500;
  auto replica = Start();
  EXPECT_TRUE(Until([&] { return replica->authority.ready(); }));
}

TEST_F(SelfSignedTest, AnOldRootIsRenewedWithTheSameKey) {
  auto one = Start();
  auto two = Start();
  ASSERT_TRUE(Until([&] { return one->authority.ready() && two->authority.ready(); }));
  const std::string before = one->authority.roots_pem();
  const std::string key = one->authority.material().ca.key().public_pem();
  one->ca->Check();
  clock.Advance(2900 * pki::kDay);
  const auto leaf =
      Must(one->authority.Sign(CsrPem(), {"spiffe://cluster.local/ns/a/sa/b"}, pki::kDay));
  clock.Advance(100 * pki::kDay);
  one->ca->Check();
  ASSERT_TRUE(Until([&] { return one->authority.roots_pem() != before; }));
  EXPECT_EQ(one->authority.material().ca.key().public_pem(), key);
  EXPECT_EQ(one->authority.material().ca.not_after(), clock.Now() + 3650 * pki::kDay);
  const auto again =
      Must(one->authority.Sign(CsrPem(), {"spiffe://cluster.local/ns/a/sa/b"}, pki::kDay));
  // Proxies that have only the old root believe leaves of the new one.
  EXPECT_TRUE(Must(pki::TrustBundle::FromPem(before))
                  .Verify(Must(pki::Certificate::ChainFromPem(again[0])), clock.Now())
                  .ok());
  two->ca->Check();
  EXPECT_TRUE(Until([&] { return two->authority.roots_pem() == one->authority.roots_pem(); }));
}

TEST_F(SelfSignedTest, WithoutKubernetesTheRootIsInMemory) {
  Authority authority;
  SelfSignedCa ca(loop, clock, authority, nullptr, SelfSignedOptions{});
  ca.Start();
  EXPECT_TRUE(authority.ready());
}

struct PluggedFilesTest : ::testing::Test {
  base::Loop loop;
  pki::TestCa test;
  std::string folder;
  Authority authority;
  void SetUp() override {
    char pattern[] = "/tmp/isthmus-cacerts-XXXXXX";
    folder = mkdtemp(pattern);
  }
  void TearDown() override { std::filesystem::remove_all(folder); }
  void Write(const KeySet& keys) {
    for (const auto& [name, content] : keys) std::ofstream(folder + "/" + name) << content;
  }
  std::unique_ptr<CertificateAuthority> Make(bool multi_root = false) {
    CertificateAuthorityOptions options;
    options.folder = folder;
    options.multi_root = multi_root;
    return std::make_unique<CertificateAuthority>(loop, test.clock, authority, nullptr, options);
  }
};

TEST_F(PluggedFilesTest, ANewIntermediateIsTakenLive) {
  Write(PluggedKeys(test));
  auto loader = Make();
  ASSERT_TRUE(loader->Start().ok());
  EXPECT_EQ(authority.material().ca.certificate(), test.intermediate.chain.front());
  const pki::KeyCertificate next = Must(test.root_ca.IssueIntermediate(
      Must(pki::PrivateKey::GenerateEcdsaP256()), {.common_name = "Next"}, 0, 200 * pki::kDay));
  Write(PluggedKeys(test, next));
  EXPECT_TRUE(loop.RunUntil(
      [&] { return authority.material().ca.certificate() == next.chain.front(); }, 10s));
}

TEST_F(PluggedFilesTest, OtherRootsAreRefused) {
  Write(PluggedKeys(test));
  auto loader = Make();
  ASSERT_TRUE(loader->Start().ok());
  pki::TestCa other;
  Write(PluggedKeys(other));
  EXPECT_THAT(loader->Reload().message(), HasSubstr("root-cert.pem has changed"));
  EXPECT_EQ(authority.material().ca.certificate(), test.intermediate.chain.front());
  Write({{"ca-key.pem", "garbage"}});
  EXPECT_FALSE(loader->Reload().ok());
  EXPECT_TRUE(authority.ready());
}

TEST_F(PluggedFilesTest, AnAddedRootIsTakenInAMultiRootMesh) {
  Write(PluggedKeys(test));
  auto loader = Make(/*multi_root=*/true);
  ASSERT_TRUE(loader->Start().ok());
  pki::TestCa other;
  KeySet keys = PluggedKeys(test);
  keys["root-cert.pem"] += other.root.chain_pem();
  Write(keys);
  ASSERT_TRUE(loader->Reload().ok());
  EXPECT_EQ(authority.roots()->roots().size(), 2u);
}

TEST_F(PluggedFilesTest, APartialSetRefusesToStart) {
  KeySet keys = PluggedKeys(test);
  keys.erase("cert-chain.pem");
  Write(keys);
  EXPECT_THAT(Make()->Start().message(), HasSubstr("cert-chain.pem missing"));
  EXPECT_FALSE(authority.ready());
}

TEST_F(PluggedFilesTest, NoFilesMakeASelfSignedRoot) {
  ASSERT_TRUE(Make()->Start().ok());
  EXPECT_EQ(authority.material().source, SigningMaterial::Source::kSelfSigned);
}

struct RootPublisherTest : ::testing::Test {
  base::Loop loop;
  pki::TestCa test;
  FakeApi api{loop};
  std::unique_ptr<kubeclient::Client> client = api.MakeClient();
  Authority authority;

  void AddNamespace(const std::string& name, Json more = Json::object()) {
    api.Put("/api/v1/namespaces/" + name, more);
  }
  bool Until(const std::function<bool()>& holds) { return loop.RunUntil(holds, 10s); }
};

TEST_F(RootPublisherTest, EveryNamespaceHasTheRoots) {
  for (const char* name : {"default", "kube-system", "kube-public", "kube-node-lease"})
    AddNamespace(name);
  AddNamespace("going", {{"status", {{"phase", "Terminating"}}}});
  RootPublisher publisher(loop, *client, authority);
  authority.Use(Material(test));
  ASSERT_TRUE(
      Until([&] { return api.RootsIn("default") != "" && api.RootsIn("kube-system") != ""; }));
  EXPECT_EQ(api.RootsIn("default"), test.root.chain_pem());
  EXPECT_EQ(api.objects.at(FakeApi::RootMap("default"))["metadata"]["labels"]["istio.io/config"],
            "true");
  AddNamespace("new");
  ASSERT_TRUE(Until([&] { return api.RootsIn("new") != "" && publisher.settled(); }));
  EXPECT_EQ(api.RootsIn("kube-public"), "");
  EXPECT_EQ(api.RootsIn("kube-node-lease"), "");
  EXPECT_EQ(api.RootsIn("going"), "");
}

TEST_F(RootPublisherTest, EditsAndDeletionsAreUndone) {
  AddNamespace("default");
  authority.Use(Material(test));
  RootPublisher publisher(loop, *client, authority);
  ASSERT_TRUE(Until([&] { return api.RootsIn("default") != ""; }));
  api.Put(FakeApi::RootMap("default"),
          {{"data", {{"root-cert.pem", "edited"}, {"other", "kept"}}}});
  ASSERT_TRUE(Until([&] { return api.RootsIn("default") == test.root.chain_pem(); }));
  EXPECT_EQ(api.objects.at(FakeApi::RootMap("default"))["data"]["other"], "kept");
  api.Remove(FakeApi::RootMap("default"));
  EXPECT_TRUE(Until([&] { return api.RootsIn("default") == test.root.chain_pem(); }));
}

TEST_F(RootPublisherTest, NewRootsGoEverywhere) {
  for (int i = 0; i < 30; ++i) AddNamespace("ns" + std::to_string(i));
  authority.Use(Material(test));
  RootPublisher publisher(loop, *client, authority);
  ASSERT_TRUE(Until([&] { return api.RootsIn("ns29") != "" && publisher.settled(); }));
  pki::TestCa other;
  authority.Use(Material(other));
  ASSERT_TRUE(
      Until([&] { return publisher.settled() && api.RootsIn("ns9") == other.root.chain_pem(); }));
  for (int i = 0; i < 30; ++i)
    EXPECT_EQ(api.RootsIn("ns" + std::to_string(i)), other.root.chain_pem());
}

TEST_F(RootPublisherTest, WhatIsRightIsNotWrittenAgain) {
  AddNamespace("default");
  api.Put(FakeApi::RootMap("default"), {{"data", {{"root-cert.pem", test.root.chain_pem()}}}});
  authority.Use(Material(test));
  RootPublisher publisher(loop, *client, authority);
  ASSERT_TRUE(Until([&] { return publisher.settled(); }));
  EXPECT_TRUE(api.writes.empty());
}

TEST_F(RootPublisherTest, OneBadNamespaceDoesNotHoldUpTheOthers) {
  const std::string maps = "/api/v1/namespaces/forbidden/configmaps";
  AddNamespace("forbidden");
  AddNamespace("flaky");
  AddNamespace("good");
  api.refuse["POST " + maps] = 403;
  api.refuse["POST /api/v1/namespaces/flaky/configmaps"] = 500;
  authority.Use(Material(test));
  RootPublisher publisher(loop, *client, authority);
  EXPECT_TRUE(Until([&] {
    return api.RootsIn("good") != "" && api.RootsIn("flaky") != "" && publisher.settled();
  }));
  EXPECT_EQ(api.RootsIn("forbidden"), "");
}

Json ReviewOf(const std::string& user, std::vector<std::string> groups,
              std::vector<std::string> audiences, bool authenticated = true) {
  return {{"status",
           {{"authenticated", authenticated},
            {"audiences", audiences},
            {"user",
             {{"username", user},
              {"groups", groups},
              {"extra",
               {{"authentication.kubernetes.io/pod-name", {"sleep-1"}},
                {"authentication.kubernetes.io/pod-uid", {"u1"}}}}}}}}};
}
const std::vector<std::string> kAccounts = {"system:serviceaccounts", "system:authenticated"};

TEST(TokenReviewTest, AServiceAccountIsACaller) {
  const Caller caller =
      Must(CallerOfReview(ReviewOf("system:serviceaccount:sample:sleep", kAccounts, {"istio-ca"}),
                          {.trust_domain = "a@b"}));
  EXPECT_EQ(caller.identities, std::vector<std::string>{"spiffe://a.b/ns/sample/sa/sleep"});
  EXPECT_EQ(caller.pod, "sleep-1");
  EXPECT_EQ(caller.pod_uid, "u1");
}

TEST(TokenReviewTest, AnythingElseIsNot) {
  const auto refused = [](const Json& review) {
    return CallerOfReview(review, {}).status().message();
  };
  EXPECT_THAT(refused(ReviewOf("system:serviceaccount:a:b", kAccounts, {"istio-ca"}, false)),
              HasSubstr("does not accept"));
  EXPECT_THAT(refused(ReviewOf("system:serviceaccount:a:b", kAccounts, {"api"})),
              HasSubstr("audience"));
  EXPECT_THAT(refused(ReviewOf("system:serviceaccount:a:b", kAccounts, {})), HasSubstr("audience"));
  EXPECT_THAT(refused(ReviewOf("system:serviceaccount:a:b", {"system:masters"}, {"istio-ca"})),
              HasSubstr("not of a service account"));
  for (const char* user :
       {"alice", "system:serviceaccount:a", "system:serviceaccount:a:", "system:serviceaccount::b",
        "system:serviceaccount:a:b:c", "system:serviceaccount:"})
    EXPECT_THAT(refused(ReviewOf(user, kAccounts, {"istio-ca"})),
                HasSubstr("not a service account"))
        << user;
  EXPECT_FALSE(CallerOfReview(Json::array(), {}).ok());
  EXPECT_FALSE(CallerOfReview({{"status", {{"authenticated", "true"}}}}, {}).ok());
}

struct TokenAuthenticatorTest : ::testing::Test {
  base::Loop loop;
  FakeApi api{loop};
  std::unique_ptr<kubeclient::Client> client = api.MakeClient();
  TokenAuthenticator authenticator{{.client_of = [this](std::string_view cluster) {
    return cluster == "cluster1" ? client.get() : nullptr;
  }}};

  base::Result<Caller> Ask(const http::Headers& metadata) {
    std::optional<base::Result<Caller>> answer;
    authenticator.Authenticate({}, metadata,
                               [&](base::Result<Caller> caller) { answer = std::move(caller); });
    if (!loop.RunUntil([&] { return answer.has_value(); }, 10s))
      return base::Error(base::Code::kInternal, "no answer");
    return std::move(*answer);
  }
};

TEST_F(TokenAuthenticatorTest, TheClusterInTheMetadataReviews) {
  Json asked;
  api.review = [&](const Json& review) {
    asked = review;
    return ReviewOf("system:serviceaccount:sample:sleep", kAccounts, {"istio-ca"});
  };
  const Caller caller = Must(Ask({{"authorization", "Bearer abc"}, {"clusterid", "cluster1"}}));
  EXPECT_EQ(caller.identities,
            std::vector<std::string>{"spiffe://cluster.local/ns/sample/sa/sleep"});
  EXPECT_EQ(asked["spec"]["token"], "abc");
  EXPECT_EQ(asked["spec"]["audiences"], Json::array({"istio-ca"}));
}

TEST_F(TokenAuthenticatorTest, RefusesBeforeAskingAnyone) {
  EXPECT_THAT(Ask({{"authorization", "Bearer abc"}, {"clusterid", "elsewhere"}}).status().message(),
              HasSubstr("\"elsewhere\" is not known"));
  EXPECT_THAT(Ask({{"clusterid", "cluster1"}}).status().message(), HasSubstr("no bearer token"));
  EXPECT_FALSE(Ask({{"authorization", "Basic abc"}, {"clusterid", "cluster1"}}).ok());
  EXPECT_TRUE(api.writes.empty());
}

TEST_F(TokenAuthenticatorTest, AFailingApiServerIsARefusalThatNeverTellsTheToken) {
  api.refuse["POST /apis/authentication.k8s.io/v1/tokenreviews"] = 500;
  const base::Status status =
      Ask({{"authorization", "Bearer s3cret"}, {"clusterid", "cluster1"}}).status();
  EXPECT_EQ(status.code(), base::Code::kUnauthenticated);
  EXPECT_THAT(status.message(), ::testing::Not(HasSubstr("s3cret")));
}

}  // namespace
}  // namespace isthmus::ca
