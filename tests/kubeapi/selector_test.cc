#include "kubeapi/selector.h"

#include <gtest/gtest.h>

namespace isthmus::kubeapi {
namespace {

bool Picks(std::string_view selector, const Json& labels) {
  const auto parsed = LabelSelector::Parse(selector);
  EXPECT_TRUE(parsed.ok()) << parsed.status().message();
  return parsed.ok() && parsed->Matches(labels);
}

TEST(LabelSelector, EqualityAndSets) {
  const Json labels = {{"app", "x"}, {"tier", "web"}, {"n", "5"}, {"empty", ""}};
  for (const char* yes : {"", " ", "app=x", "app==x", "app = x , tier=web", "app!=y", "none!=x",
                          "app in (x, y)", "app notin (y,z)", "none notin (y)", "app", "!none",
                          "n>4", "n<6", "empty=", "empty in ()", "tier in (web),!gone"})
    EXPECT_TRUE(Picks(yes, labels)) << yes;
  for (const char* no : {"app=y", "app!=x", "app in (y)", "app notin (x)", "none", "!app", "n>5",
                         "n<5", "none=", "app=x,tier=db", "app>1", "none in (x)"})
    EXPECT_FALSE(Picks(no, labels)) << no;
  EXPECT_TRUE(Picks("!a", nullptr));
}

TEST(LabelSelector, RefusesNonsense) {
  for (const char* bad : {"=x", "a=b=c", "a in x", "a in (x", "a b", ",", "a,", "!", "a>x", "a=b)"})
    EXPECT_FALSE(LabelSelector::Parse(bad).ok()) << bad;
}

TEST(LabelSelector, PrintsWhatItReads) {
  const auto parsed = LabelSelector::Parse("a in (z,y),b notin (q),c,!d,e!=f,g>3");
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(parsed->ToString(), "a in (y,z),b!=q,c,!d,e!=f,g>3");
  EXPECT_EQ(*LabelSelector::Parse(parsed->ToString()), *parsed);
}

TEST(LabelSelector, FromObject) {
  const Json object = {{"matchLabels", {{"a", "b"}}},
                       {"matchExpressions",
                        {{{"key", "c"}, {"operator", "In"}, {"values", {"x", "y"}}},
                         {{"key", "d"}, {"operator", "DoesNotExist"}}}}};
  const auto selector = LabelSelector::FromObject(object);
  ASSERT_TRUE(selector.ok());
  EXPECT_TRUE(selector->Matches({{"a", "b"}, {"c", "y"}}));
  EXPECT_FALSE(selector->Matches({{"a", "b"}, {"c", "y"}, {"d", ""}}));
  EXPECT_TRUE(LabelSelector::FromObject(Json::object())->Matches(nullptr));
  EXPECT_FALSE(LabelSelector::FromObject(nullptr).ok());
  EXPECT_FALSE(
      LabelSelector::FromObject({{"matchExpressions", {{{"key", "c"}, {"operator", "Has"}}}}})
          .ok());
  EXPECT_FALSE(
      LabelSelector::FromObject({{"matchExpressions", {{{"key", "c"}, {"operator", "In"}}}}}).ok());
}

TEST(FieldSelector, MatchesFields) {
  const Json pod = {{"metadata", {{"name", "p"}}},
                    {"spec", {{"nodeName", "n1"}, {"hostNetwork", true}}}};
  const auto picks = [&](std::string_view text) {
    const auto selector = FieldSelector::Parse(text);
    return selector.ok() && selector->Matches(pod);
  };
  EXPECT_TRUE(picks(""));
  EXPECT_TRUE(picks("metadata.name=p,spec.nodeName==n1"));
  EXPECT_TRUE(picks("status.phase!=Running"));
  EXPECT_TRUE(picks("status.phase="));
  EXPECT_TRUE(picks("spec.hostNetwork=true"));
  EXPECT_FALSE(picks("metadata.name!=p"));
  EXPECT_FALSE(FieldSelector::Parse("metadata.name").ok());
  EXPECT_EQ(*FieldSelector::Parse("a=1,metadata.name=x")->Exact("metadata.name"), "x");
}

}  // namespace
}  // namespace isthmus::kubeapi
