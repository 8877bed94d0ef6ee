#include "translate/memo.h"

#include <gtest/gtest.h>

#include "translate/pack.h"

#include <google/protobuf/struct.pb.h>

namespace isthmus::translate {
namespace {

std::shared_ptr<const int> Build(Memo* memo, const MemoKey& key, int value) {
  return memo->Get<int>(key, [&] { return std::make_shared<const int>(value); });
}

TEST(MemoTest, EqualInputsGiveTheSamePart) {
  Memo memo;
  const auto input = std::make_shared<const std::string>("x");
  const auto first = Build(&memo, MemoKey("f").Add(input).Add(7), 1);
  EXPECT_EQ(Build(&memo, MemoKey("f").Add(input).Add(7), 2), first);
  EXPECT_EQ(memo.built(), 1u);
  // Another function, another number, another value of equal content.
  EXPECT_EQ(*Build(&memo, MemoKey("g").Add(input).Add(7), 3), 3);
  EXPECT_EQ(*Build(&memo, MemoKey("f").Add(input).Add(8), 4), 4);
  EXPECT_EQ(*Build(&memo, MemoKey("f").Add(std::make_shared<const std::string>("x")).Add(7), 5), 5);
}

TEST(MemoTest, ListsOfTextsDoNotRunTogether) {
  Memo memo;
  const auto first = Build(&memo, MemoKey("f").Add("ab").Add("c"), 1);
  EXPECT_NE(Build(&memo, MemoKey("f").Add("a").Add("bc"), 2), first);
}

TEST(MemoTest, WhatNobodyHoldsIsBuiltAgainAndItsInputsStayDistinct) {
  Memo memo;
  auto input = std::make_shared<const int>(1);
  Build(&memo, MemoKey("f").Add(input), 1);
  const auto again = Build(&memo, MemoKey("f").Add(input), 2);
  EXPECT_EQ(*again, 2);
  const int* address = input.get();
  input.reset();
  // The entry keeps its input alive, so no new value can take the address.
  for (int i = 0; i < 100; ++i) EXPECT_NE(std::make_shared<const int>(i).get(), address);
}

TEST(MemoTest, SweepDropsOnlyWhatNobodyHolds) {
  Memo memo;
  std::vector<std::shared_ptr<const int>> held;
  for (int i = 0; i < 5000; ++i) {
    auto part = Build(&memo, MemoKey("f").Add(i), i);
    if (i % 10 == 0) held.push_back(part);
  }
  memo.Sweep();
  EXPECT_EQ(memo.size(), held.size());
  const auto built = memo.built();
  EXPECT_EQ(Build(&memo, MemoKey("f").Add(20), -1), held[2]);
  EXPECT_EQ(memo.built(), built);
}

TEST(InternTest, EqualContentHasOneAddress) {
  InternTable table;
  const auto a = table.Intern(MakeResource("a", "type", std::string_view("bytes")));
  EXPECT_EQ(table.Intern(MakeResource("a", "type", std::string_view("bytes"))), a);
  EXPECT_NE(table.Intern(MakeResource("b", "type", std::string_view("bytes"))), a);
  EXPECT_NE(table.Intern(MakeResource("a", "type", std::string_view("other"))), a);
}

TEST(PackTest, MapsAreWrittenInTheOrderOfTheirKeys) {
  google::protobuf::Struct forward, backward;
  for (int i = 0; i < 50; ++i) (*forward.mutable_fields())[std::to_string(i)].set_number_value(i);
  for (int i = 49; i >= 0; --i) (*backward.mutable_fields())[std::to_string(i)].set_number_value(i);
  EXPECT_EQ(Serialize(forward), Serialize(backward));
}

TEST(PackTest, FieldsPutTogetherParseAsOneMessage) {
  google::protobuf::ListValue whole;
  whole.add_values()->set_string_value(std::string(300, 'x'));
  whole.add_values()->set_bool_value(true);
  std::string bytes;
  for (const auto& value : whole.values()) AppendField(1, Serialize(value), &bytes);
  EXPECT_EQ(bytes, Serialize(whole));
}

TEST(PackTest, HashTellsApartWhatDiffersByOneByte) {
  std::string text(37, 'a');
  const uint64_t base = ContentHash(text);
  EXPECT_EQ(ContentHash(text), base);
  for (size_t i = 0; i < text.size(); ++i) {
    std::string other = text;
    other[i] ^= 1;
    EXPECT_NE(ContentHash(other), base) << i;
  }
  EXPECT_NE(ContentHash(text + '\0'), base);
}

}  // namespace
}  // namespace isthmus::translate
