#include "ca/signing_material.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "tests/ca/ca_fixture.h"

namespace isthmus::ca {
namespace {

using ::testing::HasSubstr;

TEST(PluggedInTest, WholeSetIsTaken) {
  pki::TestCa test;
  const SigningMaterial material = Material(test);
  EXPECT_EQ(material.source, SigningMaterial::Source::kPluggedIn);
  EXPECT_EQ(material.ca.certificate(), test.intermediate.chain.front());
  ASSERT_EQ(material.chain_pem.size(), 2u);
  EXPECT_EQ(material.chain_pem[0], test.intermediate.chain.front().pem());
  EXPECT_EQ(material.chain_pem[1], test.root.chain_pem());
  EXPECT_EQ(material.roots_pem, test.root.chain_pem());
}

TEST(PluggedInTest, TlsFormIsTaken) {
  pki::TestCa test;
  const KeySet keys = {{"tls.crt", test.intermediate.chain.front().pem()},
                       {"tls.key", test.intermediate.key.pem()},
                       {"ca.crt", test.root.chain_pem()}};
  const auto material = Must(ParsePluggedIn(keys, test.clock, {}));
  ASSERT_TRUE(material.has_value());
  EXPECT_EQ(material->chain_pem.size(), 2u);
  EXPECT_EQ(material->roots_pem, test.root.chain_pem());
}

TEST(PluggedInTest, NothingMeansSelfSigned) {
  pki::TestCa test;
  EXPECT_FALSE(Must(ParsePluggedIn({}, test.clock, {})).has_value());
  EXPECT_FALSE(Must(ParsePluggedIn({{"other", "x"}, {"root-cert.pem", test.root.chain_pem()}},
                                   test.clock, {}))
                   .has_value());
}

TEST(PluggedInTest, APartialSetNamesWhatIsMissing) {
  pki::TestCa test;
  for (const auto& [gone, _] : PluggedKeys(test)) {
    KeySet keys = PluggedKeys(test);
    keys.erase(gone);
    const base::Status status = ParsePluggedIn(keys, test.clock, {}).status();
    EXPECT_EQ(status.code(), base::Code::kInvalidArgument) << gone;
    EXPECT_THAT(status.message(), ::testing::StartsWith(gone + " missing")) << gone;
  }
  const KeySet tls = {{"tls.crt", test.intermediate.chain.front().pem()},
                      {"tls.key", test.intermediate.key.pem()}};
  EXPECT_THAT(ParsePluggedIn(tls, test.clock, {}).status().message(), HasSubstr("ca.crt missing"));
}

TEST(PluggedInTest, EveryPartIsChecked) {
  pki::TestCa test;
  pki::TestCa other;
  const auto with = [&](const std::string& name, const std::string& value) {
    KeySet keys = PluggedKeys(test);
    keys[name] = value;
    return ParsePluggedIn(keys, test.clock, {}).status().message();
  };
  EXPECT_THAT(with("ca-cert.pem", "garbage"), HasSubstr("ca-cert.pem: no certificate"));
  EXPECT_THAT(with("ca-key.pem", "garbage"), HasSubstr("ca-key.pem: no private key"));
  EXPECT_THAT(with("ca-key.pem", other.intermediate.key.pem()), HasSubstr("key does not fit"));
  EXPECT_THAT(with("root-cert.pem", "garbage"), HasSubstr("root-cert.pem"));
  EXPECT_THAT(with("cert-chain.pem", "garbage"), HasSubstr("cert-chain.pem"));
  EXPECT_THAT(with("root-cert.pem", other.root.chain_pem()), HasSubstr("signing certificate"));
  const pki::KeyCertificate leaf = Must(test.ca.IssueLeaf({.dns_sans = {"x"}}, {}, pki::kDay));
  EXPECT_THAT(with("root-cert.pem", leaf.chain.front().pem()), HasSubstr("not a CA certificate"));
  KeySet as_leaf = PluggedKeys(test);
  as_leaf["ca-cert.pem"] = leaf.chain.front().pem();
  as_leaf["ca-key.pem"] = leaf.key.pem();
  EXPECT_THAT(ParsePluggedIn(as_leaf, test.clock, {}).status().message(),
              HasSubstr("CA:true is missing"));
  test.clock.Advance(366 * pki::kDay);
  EXPECT_THAT(ParsePluggedIn(PluggedKeys(test), test.clock, {}).status().message(),
              HasSubstr("expired"));
}

TEST(PluggedInTest, ReadsAFolder) {
  pki::TestCa test;
  char pattern[] = "/tmp/isthmus-ca-XXXXXX";
  const std::string folder = ::mkdtemp(pattern);
  EXPECT_FALSE(Must(LoadPluggedIn(folder, test.clock, {})).has_value());
  EXPECT_FALSE(Must(LoadPluggedIn(folder + "/absent", test.clock, {})).has_value());
  for (const auto& [name, content] : PluggedKeys(test))
    std::ofstream(folder + "/" + name) << content;
  EXPECT_TRUE(Must(LoadPluggedIn(folder, test.clock, {})).has_value());
  std::filesystem::remove(folder + "/ca-key.pem");
  const std::string message = LoadPluggedIn(folder, test.clock, {}).status().message();
  EXPECT_THAT(message, ::testing::AllOf(HasSubstr(folder), HasSubstr("ca-key.pem missing")));
  std::filesystem::remove_all(folder);
}

TEST(SelfSignedMaterialTest, ReadsTheSecretsKeys) {
  pki::TestCa test;
  const KeySet keys = {
      {"ca-cert.pem", test.root.chain_pem()}, {"ca-key.pem", test.root.key.pem()}, {"key.pem", ""}};
  const SigningMaterial plain = Must(ParseSelfSigned(keys, "", test.clock, {}));
  EXPECT_TRUE(plain.chain_pem.empty());
  EXPECT_EQ(plain.roots_pem, test.root.chain_pem());
  pki::TestCa other;
  EXPECT_EQ(
      Must(ParseSelfSigned(keys, other.root.chain_pem(), test.clock, {})).ca.roots().roots().size(),
      2u);
  EXPECT_FALSE(ParseSelfSigned({}, "", test.clock, {}).ok());
}

}  // namespace
}  // namespace isthmus::ca
