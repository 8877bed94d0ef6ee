#include "ca/authority.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ca/serving_certificate.h"
#include "tests/ca/ca_fixture.h"

namespace isthmus::ca {
namespace {

using ::testing::HasSubstr;

TEST(AuthorityTest, AnswerIsLeafChainRoots) {
  pki::TestCa test;
  Authority authority;
  EXPECT_EQ(authority.Sign(CsrPem(), {kSleep}, pki::kDay).status().code(), base::Code::kInternal)
      << "not ready";
  authority.Use(Material(test));
  const std::vector<std::string> answer = Must(authority.Sign(CsrPem(), {kSleep}, pki::kDay));
  ASSERT_EQ(answer.size(), 4u);
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(answer[i].back(), '\n');
  EXPECT_EQ(answer[3], test.root.chain_pem());
  // What a client makes of it: the last is the bundle, all others the chain.
  const pki::TrustBundle bundle = Must(pki::TrustBundle::FromPem(answer.back()));
  const auto chain = Must(pki::Certificate::ChainFromPem(answer[0] + answer[1] + answer[2]));
  EXPECT_TRUE(bundle.Verify(chain, test.clock.Now()).ok());
  EXPECT_EQ(chain.front().uri_sans(), std::vector<std::string>{kSleep});
}

TEST(AuthorityTest, ErrorsHaveTheCodesOfTheContract) {
  pki::TestCa test;
  Authority authority;
  authority.Use(Material(test));
  EXPECT_EQ(authority.Sign("junk", {kSleep}, pki::kDay).status().code(),
            base::Code::kInvalidArgument);
  EXPECT_EQ(authority.Sign(CsrPem(), {kSleep}, 91 * pki::kDay).status().code(),
            base::Code::kInvalidArgument);
  test.clock.Advance(366 * pki::kDay);
  EXPECT_EQ(authority.Sign(CsrPem(), {kSleep}, pki::kDay).status().code(), base::Code::kInternal);
}

TEST(AuthorityTest, ListenersHearOfChangesWhileTheyHoldTheirHandle) {
  pki::TestCa test;
  Authority authority;
  int heard = 0;
  std::shared_ptr<void> one = authority.OnChange([&] { ++heard; });
  std::shared_ptr<void> two = authority.OnChange([&] { two.reset(); });
  authority.Use(Material(test));
  authority.Use(Material(test));
  EXPECT_EQ(heard, 2);
  one.reset();
  authority.Use(Material(test));
  EXPECT_EQ(heard, 2);
}

TEST(ServingCertificateTest, NamesAreThoseThatProxiesUse) {
  EXPECT_EQ(DnsNamesOf({.ns = "istio-system",
                        .revision = "default",
                        .custom_hosts = "z.example, a.example",
                        .discovery_address = "istiod.mesh.example:15012"}),
            (std::vector<std::string>{"a.example", "istio-pilot.istio-system.svc",
                                      "istiod-remote.istio-system.svc", "istiod.istio-system.svc",
                                      "istiod.mesh.example", "z.example"}));
  const auto revised =
      DnsNamesOf({.ns = "n", .revision = "v2", .discovery_address = "10.0.0.1:15012"});
  EXPECT_THAT(revised, ::testing::Contains("istiod-v2.n.svc"));
  EXPECT_THAT(revised, ::testing::Not(::testing::Contains("10.0.0.1")));
}

TEST(ServingCertificateTest, FollowsTheAuthority) {
  pki::TestCa test;
  pki::TestCa other;
  base::Loop loop;
  Authority authority;
  ServingCertificate serving(loop, test.clock, authority, {"istiod.istio-system.svc"});
  EXPECT_EQ(serving.Get(), nullptr);
  authority.Use(Material(test));
  ASSERT_NE(serving.Get(), nullptr);
  EXPECT_EQ(serving.Get()->chain.front().dns_sans(),
            std::vector<std::string>{"istiod.istio-system.svc"});
  EXPECT_EQ(serving.Get()->chain.front().not_after(), test.ca.not_after())
      << "no longer than its signer";
  EXPECT_TRUE(test.roots.Verify(serving.Get()->chain, test.clock.Now()).ok());
  authority.Use(Material(other));
  EXPECT_TRUE(other.roots.Verify(serving.Get()->chain, test.clock.Now()).ok());
}

}  // namespace
}  // namespace isthmus::ca
