#include "ca/authenticator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

#include "tests/ca/ca_fixture.h"

namespace isthmus::ca {
namespace {

using ::testing::HasSubstr;

/// The answer of an authenticator that answers at once.
base::Result<Caller> Ask(Authenticator& authenticator, const http::PeerInfo& peer) {
  std::optional<base::Result<Caller>> answer;
  authenticator.Authenticate(peer, {},
                             [&](base::Result<Caller> caller) { answer = std::move(caller); });
  if (!answer) return base::Error(base::Code::kInternal, "no answer");
  return std::move(*answer);
}

http::PeerInfo PeerWith(const pki::TestCa& test, const pki::Names& names) {
  http::PeerInfo peer;
  peer.tls = true;
  peer.chain = Must(test.ca.IssueLeaf(names, {}, pki::kDay)).chain;
  return peer;
}

TEST(ClientCertificateTest, OneSpiffeIdOfTheMeshIsBelieved) {
  pki::TestCa test;
  ClientCertificateAuthenticator authenticator({"cluster.local", "old.local"});
  const Caller caller = Must(Ask(authenticator, PeerWith(test, {.uri_sans = {kSleep}})));
  EXPECT_EQ(caller.identities, std::vector<std::string>{kSleep});
  EXPECT_EQ(caller.proof, Caller::Proof::kClientCertificate);
  EXPECT_TRUE(
      Ask(authenticator, PeerWith(test, {.uri_sans = {"spiffe://old.local/ns/a/sa/b"}})).ok());
}

TEST(ClientCertificateTest, AnythingElseIsRefused) {
  pki::TestCa test;
  ClientCertificateAuthenticator authenticator({"cluster.local"});
  EXPECT_FALSE(Ask(authenticator, {}).ok());
  EXPECT_FALSE(
      Ask(authenticator, PeerWith(test, {.common_name = "x", .dns_sans = {"sleep"}})).ok());
  EXPECT_FALSE(
      Ask(authenticator, PeerWith(test, {.uri_sans = {kSleep, "spiffe://cluster.local/ns/a/sa/b"}}))
          .ok());
  EXPECT_FALSE(Ask(authenticator, PeerWith(test, {.uri_sans = {"https://x/ns/a/sa/b"}})).ok());
  const base::Status foreign =
      Ask(authenticator, PeerWith(test, {.uri_sans = {"spiffe://other/ns/a/sa/b"}})).status();
  EXPECT_EQ(foreign.code(), base::Code::kUnauthenticated);
  EXPECT_THAT(foreign.message(), HasSubstr("another mesh"));
  http::PeerInfo plain = PeerWith(test, {.uri_sans = {kSleep}});
  plain.tls = false;
  EXPECT_FALSE(Ask(authenticator, plain).ok());
}

class Fixed final : public Authenticator {
 public:
  explicit Fixed(base::Result<Caller> answer) : answer_(std::move(answer)) {}
  void Authenticate(const http::PeerInfo&, const http::Headers&, Done done) override {
    done(answer_);
  }

 private:
  base::Result<Caller> answer_;
};

AuthenticatorChain Chain(AuthenticatorChain::Plaintext plaintext,
                         std::vector<base::Result<Caller>> answers) {
  std::vector<std::unique_ptr<Authenticator>> members;
  for (auto& answer : answers) members.push_back(std::make_unique<Fixed>(std::move(answer)));
  return AuthenticatorChain(std::move(members), plaintext);
}

TEST(AuthenticatorChainTest, TheFirstSuccessCounts) {
  http::PeerInfo peer{.address = "x", .tls = true, .chain = {}};
  Caller a, b;
  a.identities = {"a"};
  b.identities = {"b"};
  const base::Status no = base::Error(base::Code::kUnauthenticated, "no certificate");
  auto chain = Chain(AuthenticatorChain::Plaintext::kRefuse, {no, a, b});
  EXPECT_EQ(Must(Ask(chain, peer)).identities, a.identities);
  auto failing = Chain(AuthenticatorChain::Plaintext::kRefuse,
                       {no, base::Error(base::Code::kUnauthenticated, "no bearer token")});
  const base::Status status = Ask(failing, peer).status();
  EXPECT_EQ(status.code(), base::Code::kUnauthenticated);
  EXPECT_THAT(status.message(),
              ::testing::AllOf(HasSubstr("no certificate"), HasSubstr("no bearer token")));
}

TEST(AuthenticatorChainTest, NobodyIsBelievedInPlaintext) {
  Caller a;
  a.identities = {"a"};
  auto refusing = Chain(AuthenticatorChain::Plaintext::kRefuse, {a});
  EXPECT_FALSE(Ask(refusing, {}).ok());
  auto anonymous = Chain(AuthenticatorChain::Plaintext::kAnonymous, {a});
  EXPECT_TRUE(Must(Ask(anonymous, {})).identities.empty());
}

}  // namespace
}  // namespace isthmus::ca
