#include "pki/signer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/x509v3.h>

#include <set>

#include "pki/spiffe.h"
#include "tests/pki/pki_fixture.h"

namespace isthmus::pki {
namespace {

using ::testing::HasSubstr;

constexpr char kBookinfo[] = "spiffe://cluster.local/ns/bookinfo/sa/reviews";

bool ExtensionIsCritical(const Certificate& certificate, int nid) {
  const int at = X509_get_ext_by_NID(certificate.x509(), nid, -1);
  return at >= 0 && X509_EXTENSION_get_critical(X509_get_ext(certificate.x509(), at)) == 1;
}

TEST(IssuingCaTest, WorkloadCertificateHasTheFieldsOfTheContract) {
  TestCa test;
  const Csr csr = test.Request({.organizations = {""}, .uri_sans = {"spiffe://evil/ns/a/sa/b"}});
  const Certificate leaf = Must(test.ca.SignWorkload(csr, {kBookinfo}, std::chrono::hours(1)));
  EXPECT_EQ(leaf.uri_sans(), std::vector<std::string>{kBookinfo});
  EXPECT_EQ(leaf.subject(), "");
  EXPECT_TRUE(ExtensionIsCritical(leaf, NID_subject_alt_name));
  EXPECT_EQ(leaf.not_before(), TestTime() - std::chrono::minutes(2));
  EXPECT_EQ(leaf.not_after(), TestTime() + std::chrono::hours(1));
  EXPECT_EQ(X509_get_key_usage(leaf.x509()),
            static_cast<uint32_t>(KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT));
  EXPECT_EQ(X509_get_extended_key_usage(leaf.x509()),
            static_cast<uint32_t>(XKU_SSL_SERVER | XKU_SSL_CLIENT));
  EXPECT_TRUE(ExtensionIsCritical(leaf, NID_basic_constraints));
  EXPECT_FALSE(leaf.is_ca());
  EXPECT_EQ(leaf.serial().size(), 32u) << "128 bits";
  EXPECT_EQ(csr.names().uri_sans, std::vector<std::string>{"spiffe://evil/ns/a/sa/b"});
  EXPECT_TRUE(test.roots.Verify({leaf, test.ca.certificate()}, TestTime()).ok());
}

TEST(IssuingCaTest, ACommonNameInTheRequestAsksForOne) {
  TestCa test;
  const Csr csr = test.Request({.common_name = "anything"});
  EXPECT_EQ(Must(test.ca.SignWorkload(csr, {kBookinfo}, kDay)).common_name(), kBookinfo);
  const std::string long_id = "spiffe://cluster.local/ns/" + std::string(60, 'n') + "/sa/x";
  EXPECT_EQ(Must(test.ca.SignWorkload(csr, {long_id}, kDay)).common_name(), "");
}

TEST(IssuingCaTest, LifetimeIsBounded) {
  TestCa test;
  const Csr csr = test.Request();
  EXPECT_EQ(Must(test.ca.SignWorkload(csr, {kBookinfo}, seconds(0))).not_after(),
            TestTime() + kDay);
  EXPECT_EQ(Must(test.ca.SignWorkload(csr, {kBookinfo}, seconds(-5))).not_after(),
            TestTime() + kDay);
  const base::Status greedy = test.ca.SignWorkload(csr, {kBookinfo}, 91 * kDay).status();
  EXPECT_EQ(greedy.code(), base::Code::kInvalidArgument);
  EXPECT_THAT(greedy.message(), HasSubstr("lifetime"));
  EXPECT_FALSE(test.ca.SignWorkload(csr, {kBookinfo}, seconds(INT64_MAX)).ok());
}

TEST(IssuingCaTest, ALeafNeverOutlivesItsChain) {
  TestCa test;
  test.clock.Advance(365 * kDay - seconds(60));
  const Csr csr = test.Request();
  EXPECT_EQ(Must(test.ca.SignWorkload(csr, {kBookinfo}, kDay)).not_after(), test.ca.not_after());
  EXPECT_EQ(Must(test.ca.IssueLeaf({.dns_sans = {"x"}}, {}, seconds(INT64_MAX)))
                .chain.front()
                .not_after(),
            test.ca.not_after());
  test.clock.Advance(seconds(60));
  const base::Status ended = test.ca.SignWorkload(csr, {kBookinfo}, kDay).status();
  EXPECT_THAT(ended.message(), HasSubstr("renew it"));
}

TEST(IssuingCaTest, AnIntermediateMayNotOutliveItsSigner) {
  TestCa test;
  const auto issue = [&](seconds ttl) {
    return test.root_ca.IssueIntermediate(Must(PrivateKey::GenerateEcdsaP256()),
                                          {.common_name = "I"}, 0, ttl);
  };
  EXPECT_TRUE(issue(3650 * kDay).ok());
  EXPECT_THAT(issue(3651 * kDay).status().message(), HasSubstr("outlive"));
  EXPECT_FALSE(issue(seconds(0)).ok());
}

TEST(IssuingCaTest, PathLengthIsKept) {
  TestCa test;
  const base::Status status =
      test.ca
          .IssueIntermediate(Must(PrivateKey::GenerateEcdsaP256()), {.common_name = "N"}, 0, kDay)
          .status();
  EXPECT_THAT(status.message(), HasSubstr("path length"));
}

TEST(IssuingCaTest, SerialsDiffer) {
  TestCa test;
  const Csr csr = test.Request();
  std::set<std::string> serials;
  for (int i = 0; i < 20; ++i)
    serials.insert(Must(test.ca.SignWorkload(csr, {kBookinfo}, kDay)).serial());
  EXPECT_EQ(serials.size(), 20u);
}

TEST(IssuingCaTest, RefusesAForeignKeyChainOrRoot) {
  TestCa test;
  TestCa other;
  KeyCertificate mixed{other.intermediate.key, test.intermediate.chain};
  EXPECT_THAT(IssuingCa::Create(mixed, test.roots, test.clock).status().message(),
              HasSubstr("key does not fit"));
  EXPECT_FALSE(IssuingCa::Create(test.intermediate, other.roots, test.clock).ok());
  test.clock.Advance(366 * kDay);
  EXPECT_THAT(IssuingCa::Create(test.intermediate, test.roots, test.clock).status().message(),
              HasSubstr("expired"));
}

TEST(IssuingCaTest, RefusesNamesThatCannotBeWritten) {
  TestCa test;
  const Csr csr = test.Request();
  EXPECT_FALSE(test.ca.SignWorkload(csr, {}, kDay).ok());
  EXPECT_FALSE(test.ca.SignWorkload(csr, {std::string("spiffe://a\0b", 12)}, kDay).ok());
  EXPECT_FALSE(test.ca.SignLeaf(csr, {.dns_sans = {""}}, {}, kDay).ok());
  EXPECT_FALSE(test.ca.SignLeaf(csr, {.ip_sans = {"1.2.3"}}, {}, kDay).ok());
  EXPECT_FALSE(test.ca.SignLeaf(csr, {.common_name = std::string(65, 'x')}, {}, kDay).ok());
}

TEST(IssuingCaTest, RsaRootsSignToo) {
  base::ManualClock clock(TestTime());
  const PrivateKey key = Must(PrivateKey::GenerateRsa(2048));
  const KeyCertificate root =
      Must(MakeSelfSignedRoot(key, {.names = {.organizations = {"cluster.local"}}}, clock.Now()));
  EXPECT_EQ(root.chain.front().subject(), "O=cluster.local");
  EXPECT_EQ(root.chain.front().not_before(), TestTime());
  EXPECT_EQ(root.chain.front().not_after(), TestTime() + 3650 * kDay);
  const IssuingCa ca = Must(IssuingCa::Create(root, TrustBundle(root.chain), clock));
  const KeyCertificate leaf =
      Must(ca.IssueLeaf({.dns_sans = {"istiod.istio-system.svc"}}, {}, kDay));
  EXPECT_EQ(leaf.chain.size(), 1u) << "the root is not sent along";
  EXPECT_TRUE(ca.roots().Verify(leaf.chain, TestTime()).ok());
  // Renewed with the same key, old leaves still lead to the new root.
  clock.Advance(3000 * kDay);
  const KeyCertificate renewed =
      Must(MakeSelfSignedRoot(key, {.names = {.organizations = {"cluster.local"}}}, clock.Now()));
  EXPECT_TRUE(TrustBundle(renewed.chain)
                  .Verify(Must(ca.IssueLeaf({.dns_sans = {"x"}}, {}, kDay)).chain, clock.Now())
                  .ok());
}

TEST(CsrTest, CarriesNamesBothWays) {
  const PrivateKey key = Must(PrivateKey::GenerateEcdsaP256());
  const Csr csr = Must(Csr::FromPem(Must(MakeCsr(key, {.common_name = "cn",
                                                       .organizations = {""},
                                                       .uri_sans = {kBookinfo},
                                                       .dns_sans = {"d"},
                                                       .ip_sans = {"::1"}}))));
  EXPECT_EQ(csr.names().common_name, "cn");
  EXPECT_EQ(csr.names().organizations, std::vector<std::string>{""});
  EXPECT_EQ(csr.names().uri_sans, std::vector<std::string>{kBookinfo});
  EXPECT_EQ(csr.names().dns_sans, std::vector<std::string>{"d"});
  EXPECT_EQ(csr.names().ip_sans, std::vector<std::string>{"::1"});
  EXPECT_EQ(csr.public_pem(), key.public_pem());
}

TEST(CsrTest, RefusesHostileRequests) {
  const std::string good =
      Must(MakeCsr(Must(PrivateKey::GenerateEcdsaP256()), {.uri_sans = {kBookinfo}}));
  EXPECT_FALSE(Csr::FromPem("").ok());
  EXPECT_FALSE(Csr::FromPem(std::string(70 << 10, 'x')).ok());
  EXPECT_FALSE(Csr::FromPem(good.substr(0, good.size() / 2)).ok());
  // Every changed character of the body breaks either the encoding or the signature.
  int refused = 0;
  int tried = 0;
  for (size_t i = good.find('\n') + 1; i < good.find("\n-----END") - 4; i += 7) {
    if (good[i] == '\n') continue;
    std::string bad = good;
    bad[i] = bad[i] == 'A' ? 'B' : 'A';
    ++tried;
    if (!Csr::FromPem(bad).ok()) ++refused;
  }
  EXPECT_EQ(refused, tried);
  EXPECT_GT(tried, 30);
}

TEST(SpiffeIdTest, ParsesAndPrints) {
  const SpiffeId id = Must(SpiffeId::Parse(kBookinfo));
  EXPECT_EQ(id, (SpiffeId{"cluster.local", "bookinfo", "reviews"}));
  EXPECT_EQ(id.uri(), kBookinfo);
  for (const char* bad :
       {"", "spiffe://", "http://a/ns/b/sa/c", "spiffe://a/ns/b/sa/", "spiffe://a/ns/b/sa/c/d",
        "spiffe:///ns/b/sa/c", "spiffe://a/ns//sa/c", "spiffe://a/sa/b/ns/c", "spiffe://a/ns/b",
        "spiffe://a/ns/b/sa/c?x", "spiffe://a b/ns/b/sa/c", "SPIFFE://a/ns/b/sa/c"})
    EXPECT_FALSE(SpiffeId::Parse(bad).ok()) << bad;
}

}  // namespace
}  // namespace isthmus::pki
