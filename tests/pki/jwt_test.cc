#include "pki/jwt.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/encoding.h"
#include "pki/digest.h"
#include "tests/pki/pki_fixture.h"

namespace isthmus::pki {
namespace {

using ::testing::HasSubstr;

const PrivateKey& SigningKey() {
  static const PrivateKey key = Must(PrivateKey::GenerateRsa(2048));
  return key;
}

TokenClaims Claims() {
  TokenClaims claims;
  claims.issuer = "https://kubernetes.default.svc.cluster.local";
  claims.subject = "system:serviceaccount:sample:sleep";
  claims.audiences = {"istio-ca", "other"};
  claims.id = "b7a0";
  claims.issued_at = claims.not_before = TestTime();
  claims.expires = TestTime() + std::chrono::hours(12);
  claims.ns = "sample";
  claims.service_account = "sleep";
  claims.service_account_uid = "u1";
  claims.pod = "sleep-1";
  claims.pod_uid = "u2";
  return claims;
}

std::vector<PublicKey> Keys() { return {PublicKey::Of(SigningKey())}; }

TEST(TokenTest, SignedTokenVerifies) {
  const std::string token = Must(SignToken(SigningKey(), Claims()));
  EXPECT_EQ(Must(VerifyToken(token, Keys(), {"istio-ca"}, TestTime())), Claims());
  EXPECT_EQ(Must(VerifyToken(token, Keys(), {}, TestTime())), Claims());
  EXPECT_EQ(Must(ParseTokenClaims(token)), Claims());
}

TEST(TokenTest, AudienceAndTimesAreChecked) {
  const std::string token = Must(SignToken(SigningKey(), Claims()));
  EXPECT_THAT(VerifyToken(token, Keys(), {"vault"}, TestTime()).status().message(),
              HasSubstr("audiences"));
  EXPECT_THAT(
      VerifyToken(token, Keys(), {}, TestTime() + std::chrono::hours(12)).status().message(),
      HasSubstr("expired"));
  EXPECT_THAT(VerifyToken(token, Keys(), {}, TestTime() - seconds(1)).status().message(),
              HasSubstr("not valid before"));
  TokenClaims legacy = Claims();
  legacy.expires = legacy.not_before = legacy.issued_at = base::Time();
  legacy.audiences.clear();
  EXPECT_TRUE(VerifyToken(Must(SignToken(SigningKey(), legacy)), Keys(), {}, TestTime()).ok());
}

TEST(TokenTest, OtherKeysAndAlgorithmsAreRefused) {
  const std::string token = Must(SignToken(SigningKey(), Claims()));
  const PrivateKey other = Must(PrivateKey::GenerateRsa(2048));
  EXPECT_EQ(VerifyToken(token, {PublicKey::Of(other)}, {}, TestTime()).status().code(),
            base::Code::kUnauthenticated);
  EXPECT_FALSE(VerifyToken(token, {}, {}, TestTime()).ok());
  EXPECT_FALSE(SignToken(Must(PrivateKey::GenerateEcdsaP256()), Claims()).ok());
  const std::string payload = token.substr(token.find('.'), token.rfind('.') - token.find('.') + 1);
  EXPECT_FALSE(
      VerifyToken(base::Base64UrlEncode(R"({"alg":"none"})") + payload, Keys(), {}, TestTime())
          .ok());
  // The classic: HMAC keyed with the public key.
  const std::string signed_text =
      base::Base64UrlEncode(R"({"alg":"HS256"})") + payload.substr(0, payload.size() - 1);
  const std::string forged =
      signed_text + "." + base::Base64UrlEncode(HmacSha256(SigningKey().public_pem(), signed_text));
  EXPECT_THAT(VerifyToken(forged, Keys(), {}, TestTime()).status().message(), HasSubstr("RS256"));
}

TEST(TokenTest, ChangedPayloadIsRefused) {
  const std::string token = Must(SignToken(SigningKey(), Claims()));
  for (size_t i = 0; i < token.size(); i += 11) {
    std::string bad = token;
    bad[i] = bad[i] == 'A' ? 'B' : 'A';
    EXPECT_FALSE(VerifyToken(bad, Keys(), {}, TestTime()).ok()) << i;
  }
}

TEST(TokenTest, GarbageIsAnErrorNotACrash) {
  std::string nested;
  for (int i = 0; i < 20000; ++i) nested += R"({"a":)";
  for (const std::string& bad :
       {std::string(), std::string("a.b"), std::string("a.b.c.d"), std::string(".."),
        std::string("e30.e30"), std::string("e30.W10.e30"),
        base::Base64UrlEncode("{}") + "." + base::Base64UrlEncode(nested) + ".",
        std::string(70000, 'a'),
        base::Base64UrlEncode("{}") + "." + base::Base64UrlEncode(R"({"exp":"soon"})") + ".",
        base::Base64UrlEncode("{}") + "." + base::Base64UrlEncode(R"({"exp":1e300})") + "."})
    EXPECT_FALSE(ParseTokenClaims(bad).ok()) << bad.substr(0, 40);
  const TokenClaims odd = Must(ParseTokenClaims(
      base::Base64UrlEncode("{}") + "." +
      base::Base64UrlEncode(R"({"sub":7,"aud":["x",1],"kubernetes.io":[1]})") + "."));
  EXPECT_EQ(odd.subject, "");
  EXPECT_EQ(odd.audiences, std::vector<std::string>{"x"});
}

TEST(PublicKeyTest, ReadsKeysCertificatesAndPrivateKeys) {
  const PublicKey key = PublicKey::Of(SigningKey());
  EXPECT_EQ(Must(PublicKey::FromPem(key.pem())).id(), key.id());
  EXPECT_EQ(Must(PublicKey::FromPem(SigningKey().pem())).id(), key.id());
  TestCa test;
  EXPECT_EQ(Must(PublicKey::FromPem(test.root.chain.front().pem())).pem(),
            test.root.key.public_pem());
  EXPECT_FALSE(PublicKey::FromPem("none").ok());
  EXPECT_THAT(Must(key.Jwk()), HasSubstr(R"("e":"AQAB")"));
  EXPECT_FALSE(PublicKey::Of(test.root.key).Jwk().ok());
}

TEST(DigestTest, KnownAnswers) {
  EXPECT_EQ(Sha256Hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(base::HexEncode(HmacSha256("Jefe", "what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  EXPECT_EQ(base::HexEncode(Sha1("abc")), "a9993e364706816aba3e25717850c26c9cd0d89d");
}

TEST(DigestTest, UuidsLookRight) {
  const std::string uuid = RandomUuid();
  ASSERT_EQ(uuid.size(), 36u);
  EXPECT_EQ(uuid[14], '4');
  EXPECT_NE(uuid, RandomUuid());
}

}  // namespace
}  // namespace isthmus::pki
