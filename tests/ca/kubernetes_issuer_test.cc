#include "ca/kubernetes_issuer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <optional>

#include "base/encoding.h"
#include "kubeapi/meta.h"
#include "tests/ca/fake_api.h"

namespace isthmus::ca {
namespace {

using namespace std::chrono_literals;
using kubeapi::StringAt;
using ::testing::HasSubstr;
constexpr char kRequestsPath[] = "/apis/certificates.k8s.io/v1/certificatesigningrequests/";

/// The requests meet an API server whose signer is the test.
struct KubernetesIssuerTest : ::testing::Test {
  pki::TestCa test;
  base::Loop loop;
  FakeApi api{loop};
  std::unique_ptr<kubeclient::Client> client = api.MakeClient();
  std::vector<SignerRoots> mesh_roots = {{{"example.com/mesh"}, test.root.chain_pem()}};
  std::optional<base::Result<std::vector<std::string>>> answer;

  KubernetesIssuerOptions Options() {
    KubernetesIssuerOptions options;
    options.signer = "example.com/mesh";
    options.root_file = options.cluster_root_file = "/nowhere";
    options.mesh_roots = [this] { return mesh_roots; };
    return options;
  }
  void Issue(KubernetesIssuer& issuer, const pki::Names& names, const std::string& signer = "",
             std::chrono::seconds ttl = std::chrono::hours(1)) {
    answer.reset();
    issuer.Issue(CsrPem(names), {kSleep}, ttl, signer,
                 [this](auto got) { answer = std::move(got); });
  }
  bool Until(const std::function<bool()>& holds) { return loop.RunUntil(holds, 10s); }
  /// The one request that is open and approved; null when there is none.
  const Json* Approved() {
    for (const auto& [path, object] : api.objects)
      if (path.starts_with(kRequestsPath) && kubeapi::ConditionIsTrue(object, "Approved"))
        return &object;
    return nullptr;
  }
  void SetStatus(const std::function<void(Json&)>& change) {
    Json object = *Approved();
    change(object["status"]);
    api.Put(kRequestsPath + kubeapi::NameOf(object), object);
  }
  void Sign(const pki::IssuingCa& ca, bool with_chain) {
    const std::string pem = Must(base::Base64Decode(StringAt(*Approved(), {"spec", "request"})));
    const pki::Csr csr = Must(pki::Csr::FromPem(pem));
    std::string chain =
        Must(ca.SignWorkload(csr, csr.names().uri_sans, std::chrono::hours(1))).pem();
    if (with_chain) chain += ca.certificate().pem() + test.root.chain_pem();
    SetStatus([&](Json& status) { status["certificate"] = base::Base64Encode(chain); });
  }
};

TEST_F(KubernetesIssuerTest, TheSignerSignsWhatWasApproved) {
  KubernetesIssuer issuer(loop, test.clock, *client, Options());
  Issue(issuer, {.organizations = {""}, .uri_sans = {kSleep}});
  ASSERT_TRUE(Until([&] { return Approved() != nullptr; }));
  EXPECT_EQ(StringAt(*Approved(), {"spec", "signerName"}), "example.com/mesh");
  EXPECT_EQ(kubeapi::IntAt(*Approved(), {"spec", "expirationSeconds"}), 3600);
  EXPECT_FALSE(answer.has_value());
  Sign(test.ca, true);
  ASSERT_TRUE(Until([&] { return answer.has_value(); }));
  const std::vector<std::string> chain = Must(*answer);
  ASSERT_EQ(chain.size(), 3u) << "leaf, intermediate, root";
  EXPECT_EQ(Must(pki::Certificate::FromPem(chain[0])).uri_sans(), std::vector<std::string>{kSleep});
  EXPECT_EQ(chain.back(), test.root.chain_pem());
  EXPECT_TRUE(Until([&] { return Approved() == nullptr; })) << "the request is taken away";
}

TEST_F(KubernetesIssuerTest, OnlyTheProvenIdentityMayBeAskedFor) {
  KubernetesIssuer issuer(loop, test.clock, *client, Options());
  const pki::Names wrong[] = {{.uri_sans = {"spiffe://cluster.local/ns/kube-system/sa/admin"}},
                              {.uri_sans = {kSleep, kSleep}},
                              {.uri_sans = {kSleep}, .dns_sans = {"example.com"}},
                              {.uri_sans = {kSleep}, .ip_sans = {"10.0.0.1"}},
                              {.common_name = "system:masters", .uri_sans = {kSleep}}};
  for (const pki::Names& names : wrong) {
    Issue(issuer, names);
    ASSERT_TRUE(answer.has_value());
    EXPECT_EQ(answer->status().code(), base::Code::kInvalidArgument);
  }
  EXPECT_TRUE(api.writes.empty());
}

TEST_F(KubernetesIssuerTest, AnAnswerOfAnotherRootIsRefused) {
  pki::TestCa stranger;
  KubernetesIssuer issuer(loop, test.clock, *client, Options());
  Issue(issuer, {.uri_sans = {kSleep}});
  ASSERT_TRUE(Until([&] { return Approved() != nullptr; }));
  Sign(stranger.ca, true);
  ASSERT_TRUE(Until([&] { return answer.has_value(); }));
  EXPECT_THAT(answer->status().message(), HasSubstr("does not lead to its root"));
}

TEST_F(KubernetesIssuerTest, ARootIsFoundInTheChainOrMissed) {
  mesh_roots.clear();
  KubernetesIssuer issuer(loop, test.clock, *client, Options());
  Issue(issuer, {.uri_sans = {kSleep}});
  ASSERT_TRUE(Until([&] { return Approved() != nullptr; }));
  Sign(test.ca, true);
  ASSERT_TRUE(Until([&] { return answer.has_value(); }));
  EXPECT_EQ(Must(*answer).back(), test.root.chain_pem());
  ASSERT_TRUE(Until([&] { return Approved() == nullptr; }));
  Issue(issuer, {.uri_sans = {kSleep}});
  ASSERT_TRUE(Until([&] { return Approved() != nullptr; }));
  Sign(test.ca, false);
  ASSERT_TRUE(Until([&] { return answer.has_value(); }));
  EXPECT_THAT(answer->status().message(), HasSubstr("meshConfig.caCertificates"));
}

TEST_F(KubernetesIssuerTest, WorkloadsMayNameASignerOfTheDomain) {
  KubernetesIssuerOptions options = Options();
  options.signer_domain = "clusterissuers.cert-manager.io";
  KubernetesIssuer issuer(loop, test.clock, *client, options);
  Issue(issuer, {.uri_sans = {kSleep}}, "team", std::chrono::seconds(60));
  ASSERT_TRUE(Until([&] { return Approved() != nullptr; }));
  EXPECT_EQ(StringAt(*Approved(), {"spec", "signerName"}), "clusterissuers.cert-manager.io/team");
  EXPECT_EQ(kubeapi::IntAt(*Approved(), {"spec", "expirationSeconds"}), 600)
      << "shorter is refused by API servers";
  KubernetesIssuer without(loop, test.clock, *client, Options());
  Issue(without, {.uri_sans = {kSleep}}, "team");
  EXPECT_THAT(answer->status().message(), HasSubstr("CERT_SIGNER_DOMAIN"));
}

TEST_F(KubernetesIssuerTest, RefusalsSayWhy) {
  KubernetesIssuer issuer(loop, test.clock, *client, Options());
  Issue(issuer, {.uri_sans = {kSleep}});
  ASSERT_TRUE(Until([&] { return Approved() != nullptr; }));
  SetStatus([](Json& status) {
    status["conditions"].push_back(
        {{"type", "Failed"}, {"status", "True"}, {"message", "the issuer is on holiday"}});
  });
  ASSERT_TRUE(Until([&] { return answer.has_value(); }));
  EXPECT_THAT(answer->status().message(), HasSubstr("the issuer is on holiday"));
}

TEST_F(KubernetesIssuerTest, NobodySignsForEver) {
  KubernetesIssuerOptions options = Options();
  options.patience = 200ms;
  KubernetesIssuer issuer(loop, test.clock, *client, options);
  Issue(issuer, {.uri_sans = {kSleep}});
  ASSERT_TRUE(Until([&] { return answer.has_value(); }));
  EXPECT_THAT(answer->status().message(), HasSubstr("example.com/mesh has not signed"));
  EXPECT_TRUE(Until([&] { return Approved() == nullptr; }));
}

TEST_F(KubernetesIssuerTest, ClientsOfEverySignerAreKnown) {
  KubernetesIssuer issuer(loop, test.clock, *client, Options());
  EXPECT_EQ(issuer.Roots().roots(), test.roots.roots());
  mesh_roots.clear();
  EXPECT_TRUE(issuer.Roots().roots().empty());
}

}  // namespace
}  // namespace isthmus::ca
