#include "ads/name_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace isthmus::ads {
namespace {

using testing::ElementsAre;
using Views = std::vector<std::string_view>;

TEST(NameSetTest, EqualNamesShareOneSetWhateverTheirOrder) {
  NameInterner names;
  const NameSetPtr a = names.Of({"b", "a", "b"});
  EXPECT_THAT(a->all(), ElementsAre("a", "b"));
  EXPECT_EQ(a, names.Of({"a", "b"}));
  EXPECT_NE(a, names.Of({"a"}));
  EXPECT_TRUE(a->Has("a"));
  EXPECT_FALSE(a->Has("ab"));
  EXPECT_FALSE(names.none()->Has(""));
}

TEST(NameSetTest, StreamsThatMakeTheSameChangeShareItsResult) {
  NameInterner names;
  const NameSetPtr base = names.Of({"a", "b"});
  const NameSetPtr one = names.Change(base, Views{"c", "d"}, Views{"a"});
  EXPECT_THAT(one->all(), ElementsAre("b", "c", "d"));
  EXPECT_EQ(one, names.Change(base, Views{"c", "d"}, Views{"a"}));
  EXPECT_EQ(one, names.Of({"b", "c", "d"}));
  EXPECT_EQ(base, names.Change(base, {}, {}));
  EXPECT_EQ(base, names.Change(base, Views{"a"}, {})) << "adding what is there changes nothing";
}

TEST(NameSetTest, SetsThatNobodyHoldsAreForgotten) {
  NameInterner names;
  for (int i = 0; i < 1000; ++i) {
    const std::string name = "name" + std::to_string(i);
    names.Of({name});
  }
  EXPECT_EQ(names.size(), 1u) << "only the empty set is left";
}

}  // namespace
}  // namespace isthmus::ads
