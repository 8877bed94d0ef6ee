#include "translate/names.h"

#include <gtest/gtest.h>

namespace isthmus::translate {
namespace {

TEST(NamesTest, ClusterNamesAreTheWireContract) {
  EXPECT_EQ(OutboundName(80, "", "a.b.svc.cluster.local"), "outbound|80||a.b.svc.cluster.local");
  EXPECT_EQ(OutboundName(80, "v1", "a"), "outbound|80|v1|a");
  EXPECT_EQ(SniName(5000, "", "a"), "outbound_.5000_._.a");
  EXPECT_EQ(SniName(5000, "v2", "a"), "outbound_.5000_.v2_.a");
  EXPECT_EQ(InboundName(8080), "inbound|8080||");
}

TEST(NamesTest, WildcardsCoverWholeLabelsAndNarrowerWildcards) {
  EXPECT_TRUE(HostCovers("*", "anything"));
  EXPECT_TRUE(HostCovers("*.local", "a.svc.cluster.local"));
  EXPECT_TRUE(HostCovers("*.example.com", "*.a.example.com"));
  EXPECT_TRUE(HostCovers("a.example.com", "a.example.com"));
  EXPECT_FALSE(HostCovers("*.example.com", "example.com"));
  EXPECT_FALSE(HostCovers("*.example.com", ".example.com"));
  EXPECT_FALSE(HostCovers("*.a.example.com", "*.example.com"));
  EXPECT_FALSE(HostCovers("a.example.com", "b.example.com"));
  EXPECT_FALSE(HostCovers("", "a"));
  EXPECT_TRUE(HostsOverlap("a.example.com", "*.example.com"));
  EXPECT_TRUE(HostsOverlap("*", "*.example.com"));
  EXPECT_FALSE(HostsOverlap("*.a.com", "*.b.com"));
}

TEST(NamesTest, ExactHostsComeBeforeLongerWildcardsBeforeShorter) {
  EXPECT_TRUE(MoreSpecificHost("a.com", "*.very.long.example.com"));
  EXPECT_TRUE(MoreSpecificHost("*.a.com", "*.com"));
  EXPECT_TRUE(MoreSpecificHost("*.com", "*"));
  EXPECT_FALSE(MoreSpecificHost("*", "*"));
}

TEST(NamesTest, ShortNamesBelongToTheObjectsNamespace) {
  EXPECT_EQ(FullHost("reviews", "shop", "cluster.local"), "reviews.shop.svc.cluster.local");
  EXPECT_EQ(FullHost("reviews.other", "shop", "cluster.local"), "reviews.other");
  EXPECT_EQ(FullHost("*", "shop", "cluster.local"), "*");
  EXPECT_EQ(FullHost("", "shop", "cluster.local"), "");
}

TEST(NamesTest, AddressesAndNames) {
  EXPECT_TRUE(IsIpAddress("10.0.0.1"));
  EXPECT_TRUE(IsIpAddress("fd00::1"));
  EXPECT_FALSE(IsIpAddress("10.0.0.0/8"));
  EXPECT_FALSE(IsIpAddress("gw.example.com"));
  EXPECT_FALSE(IsIpAddress(""));
  EXPECT_TRUE(IsIpv6("::"));
  EXPECT_FALSE(IsIpv6("0.0.0.0"));
}

}  // namespace
}  // namespace isthmus::translate
