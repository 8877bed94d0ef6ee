#include "install/tree.h"

#include <gtest/gtest.h>

namespace isthmus::install {
namespace {

Json Set(Json tree, std::string_view flag) {
  base::Status status = ApplySet(tree, flag);
  EXPECT_TRUE(status.ok()) << status.message();
  return tree;
}

TEST(OverlayTest, MergesMapsAndReplacesListsAndScalars) {
  Json under = {{"a", {{"b", 1}, {"c", {1, 2}}}}, {"d", 4}};
  Overlay(under, {{"a", {{"c", {3}}, {"e", 5}}}});
  EXPECT_EQ(under, (Json{{"a", {{"b", 1}, {"c", {3}}, {"e", 5}}}, {"d", 4}}));
}

TEST(OverlayTest, NullRemoves) {
  Json under = {{"a", 1}, {"b", 2}};
  Overlay(under, {{"a", nullptr}});
  EXPECT_EQ(under, (Json{{"b", 2}}));
}

TEST(ApplySetTest, TypesFollowSyntax) {
  EXPECT_EQ(Set({}, "a.b=3"), (Json{{"a", {{"b", 3}}}}));
  EXPECT_EQ(Set({}, "a=true"), (Json{{"a", true}}));
  EXPECT_EQ(Set({}, "a=1.5"), (Json{{"a", 1.5}}));
  EXPECT_EQ(Set({}, "a=x=y"), (Json{{"a", "x=y"}}));
  EXPECT_EQ(Set({}, "a=one\\,two"), (Json{{"a", "one,two"}}));
  EXPECT_EQ(Set({}, "a="), (Json{{"a", ""}}));
}

TEST(ApplySetTest, TagsAndProxyMetadataStayText) {
  EXPECT_EQ(Set({}, "tag=1.20"), (Json{{"tag", "1.20"}}));
  EXPECT_EQ(
      Set({}, "meshConfig.defaultConfig.proxyMetadata.ISTIO_META_DNS_CAPTURE=true"),
      (Json{{"meshConfig",
             {{"defaultConfig", {{"proxyMetadata", {{"ISTIO_META_DNS_CAPTURE", "true"}}}}}}}}));
}

TEST(ApplySetTest, EscapedDotIsPartOfTheKey) {
  EXPECT_EQ(Set({}, "a.b\\.c=1"), (Json{{"a", {{"b.c", 1}}}}));
}

TEST(ApplySetTest, ListsByIndexAndByKey) {
  Json tree = {{"l", Json::array({{{"name", "x"}, {"v", 1}}})}};
  EXPECT_EQ(Set(tree, "l[0].v=2")["l"][0]["v"], 2);
  EXPECT_EQ(Set(tree, "l.[name:x].v=3")["l"][0]["v"], 3);
  EXPECT_EQ(Set(tree, "l[7].v=4")["l"].size(), 2u);
}

TEST(ApplySetTest, TellsWhatIsWrongWithAFlag) {
  Json tree = {{"l", Json::array({{{"name", "x"}}})}};
  EXPECT_NE(ApplySet(tree, "novalue").message().find("path=value"), std::string::npos);
  EXPECT_EQ(ApplySet(tree, "l[name:y].v=1").code(), base::Code::kNotFound);
  EXPECT_FALSE(ApplySet(tree, "l[0.v=1").ok());
  EXPECT_FALSE(ApplySet(tree, "l[zero]=1").ok());
  EXPECT_FALSE(ApplySet(tree, "=1").ok());
}

TEST(FindUnknownKeysTest, ReportsPathsAndLetsFreeMapsBe) {
  std::vector<std::string> unknown;
  Json known = {{"a", {{"b", nullptr}, {"free", Json::object()}}}};
  FindUnknownKeys({{"a", {{"b", {{"any", 1}}}, {"free", {{"x", 1}}}, {"typo", 1}}}}, known, "spec",
                  unknown);
  EXPECT_EQ(unknown, (std::vector<std::string>{"spec.a.typo"}));
}

}  // namespace
}  // namespace isthmus::install
