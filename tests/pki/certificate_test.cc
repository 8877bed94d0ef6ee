#include "pki/certificate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "pki/digest.h"
#include "tests/pki/pki_fixture.h"

namespace isthmus::pki {
namespace {

TEST(CertificateTest, TellsWhatItSays) {
  TestCa test;
  const KeyCertificate leaf =
      Must(test.ca.IssueLeaf({.common_name = "system:node:n1",
                              .organizations = {"system:nodes", "extra"},
                              .dns_sans = {"istiod.istio-system.svc", "b.example"},
                              .ip_sans = {"10.0.0.1", "fd00::1"}},
                             {}, kDay));
  const Certificate& certificate = leaf.chain.front();
  EXPECT_EQ(certificate.common_name(), "system:node:n1");
  EXPECT_EQ(certificate.organizations(), (std::vector<std::string>{"system:nodes", "extra"}));
  EXPECT_EQ(certificate.dns_sans(),
            (std::vector<std::string>{"istiod.istio-system.svc", "b.example"}));
  EXPECT_EQ(certificate.ip_sans(), (std::vector<std::string>{"10.0.0.1", "fd00::1"}));
  EXPECT_TRUE(certificate.uri_sans().empty());
  EXPECT_EQ(certificate.issuer(), "L=cluster1,CN=Intermediate CA,O=Istio");
  EXPECT_EQ(test.root.chain.front().subject(), "CN=Root CA,O=Istio");
  EXPECT_FALSE(certificate.is_ca());
  EXPECT_TRUE(test.root.chain.front().is_ca());
  EXPECT_EQ(certificate.not_after(), TestTime() + kDay);
  EXPECT_EQ(certificate.sha256(), Sha256Hex(certificate.der()));
}

TEST(CertificateTest, PemAndDerComeBackTheSame) {
  TestCa test;
  const Certificate& root = test.root.chain.front();
  EXPECT_EQ(Must(Certificate::FromPem(root.pem())), root);
  EXPECT_EQ(Must(Certificate::FromDer(root.der())), root);
  EXPECT_FALSE(Certificate::FromDer(root.der() + "x").ok());
}

TEST(CertificateTest, ReadsChainsWithTextAround) {
  TestCa test;
  const std::string pem = "# comment\n" + test.intermediate.chain.front().pem() + "\n\nnote\n" +
                          test.root.chain.front().pem();
  const std::vector<Certificate> chain = Must(Certificate::ChainFromPem(pem));
  ASSERT_EQ(chain.size(), 2u);
  EXPECT_EQ(chain[1], test.root.chain.front());
}

TEST(CertificateTest, RefusesBrokenPem) {
  TestCa test;
  EXPECT_EQ(Certificate::ChainFromPem("").status().message(), "no certificate in PEM text");
  EXPECT_FALSE(Certificate::ChainFromPem(test.root.key.pem()).ok());
  std::string cut = test.root.chain.front().pem();
  cut.resize(cut.size() / 2);
  EXPECT_FALSE(Certificate::ChainFromPem(cut).ok());
  const base::Status second =
      Certificate::ChainFromPem(test.root.chain.front().pem() + cut).status();
  EXPECT_THAT(second.message(), ::testing::HasSubstr("certificate 2"));
  std::string damaged = test.root.chain.front().pem();
  damaged[100] = '!';
  EXPECT_FALSE(Certificate::ChainFromPem(damaged).ok());
  EXPECT_FALSE(Certificate::ChainFromPem(std::string(5 << 20, 'a')).ok());
}

TEST(CertificateTest, EveryTruncationOfDerIsRefused) {
  TestCa test;
  const std::string der = test.root.chain.front().der();
  for (size_t size = 0; size < der.size(); ++size)
    EXPECT_FALSE(Certificate::FromDer(std::string_view(der).substr(0, size)).ok()) << size;
}

TEST(PrivateKeyTest, ReadsItsOwnPemAndOtherForms) {
  const PrivateKey key = Must(PrivateKey::GenerateEcdsaP256());
  EXPECT_EQ(Must(PrivateKey::FromPem(key.pem())).public_pem(), key.public_pem());
  EXPECT_FALSE(PrivateKey::FromPem(key.public_pem()).ok());
  EXPECT_FALSE(PrivateKey::FromPem("").ok());
  EXPECT_FALSE(PrivateKey::GenerateRsa(512).ok());
}

TEST(PrivateKeyTest, EncryptedKeysAreRefusedWithoutAskingForAPassword) {
  constexpr std::string_view kEncrypted =
      "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n"
      "DEK-Info: AES-128-CBC,00112233445566778899AABBCCDDEEFF\n\nAAAA\n-----END RSA PRIVATE "
      "KEY-----\n";
  EXPECT_FALSE(PrivateKey::FromPem(kEncrypted).ok());
}

TEST(KeyCertificateTest, KeyMustFitTheFirstCertificate) {
  TestCa test;
  const std::string chain = test.intermediate.chain_pem() + test.root.chain_pem();
  EXPECT_EQ(Must(KeyCertificate::FromPem(test.intermediate.key.pem(), chain)).chain.size(), 2u);
  const base::Status wrong = KeyCertificate::FromPem(test.root.key.pem(), chain).status();
  EXPECT_THAT(wrong.message(), ::testing::HasSubstr("the key does not fit"));
}

TEST(TrustBundleTest, FollowsIntermediatesToARoot) {
  TestCa test;
  TestCa other;  // Same subject names, other keys.
  const KeyCertificate leaf = Must(test.ca.IssueLeaf({.dns_sans = {"a.example"}}, {}, kDay));
  ASSERT_EQ(leaf.chain.size(), 2u);
  EXPECT_TRUE(test.roots.Verify(leaf.chain, TestTime()).ok());
  EXPECT_FALSE(test.roots.Verify({leaf.chain.front()}, TestTime()).ok())
      << "intermediate is missing";
  EXPECT_FALSE(other.roots.Verify(leaf.chain, TestTime()).ok());
  EXPECT_FALSE(TrustBundle().Verify(leaf.chain, TestTime()).ok());
  EXPECT_FALSE(test.roots.Verify({}, TestTime()).ok());
}

TEST(TrustBundleTest, RootsThatShareASubjectDoNotHideOneAnother) {
  TestCa test;
  TestCa other;
  const KeyCertificate leaf = Must(test.ca.IssueLeaf({.dns_sans = {"a.example"}}, {}, kDay));
  const TrustBundle both = Must(TrustBundle::FromPem(other.roots.pem() + test.roots.pem()));
  EXPECT_TRUE(both.Verify(leaf.chain, TestTime()).ok());
  const TrustBundle turned = Must(TrustBundle::FromPem(test.roots.pem() + other.roots.pem()));
  EXPECT_TRUE(turned.Verify(leaf.chain, TestTime()).ok());
}

TEST(TrustBundleTest, TimeCounts) {
  TestCa test;
  const KeyCertificate leaf = Must(test.ca.IssueLeaf({.dns_sans = {"a.example"}}, {}, kDay));
  const base::Status late = test.roots.Verify(leaf.chain, TestTime() + 2 * kDay);
  EXPECT_EQ(late.code(), base::Code::kUnauthenticated);
  EXPECT_THAT(late.message(), ::testing::HasSubstr("expired"));
  EXPECT_FALSE(test.roots.Verify(leaf.chain, TestTime() - kDay).ok());
}

TEST(TrustBundleTest, ALeafMayNotSign) {
  TestCa test;
  const KeyCertificate leaf =
      Must(test.ca.IssueLeaf({.common_name = "x", .dns_sans = {"x"}}, {}, kDay));
  const base::Status status = IssuingCa::Create(leaf, test.roots, test.clock).status();
  EXPECT_THAT(status.message(), ::testing::HasSubstr("not a CA certificate"));
}

}  // namespace
}  // namespace isthmus::pki
