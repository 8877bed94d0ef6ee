#include "kubeapi/json_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace isthmus::kubeapi {
namespace {

using Keep = JsonReader::Keep;
using testing::ElementsAre;
using testing::HasSubstr;

/// What the library makes of it; discarded when it is no JSON.
Json Library(const std::string& text) { return Json::parse(text, nullptr, false); }

void ExpectAsLibrary(const std::string& text) {
  Json value;
  if (!JsonReader(text).Read(value)) return;  // The library is asked then.
  const Json expected = Library(text);
  ASSERT_FALSE(expected.is_discarded()) << text;
  EXPECT_EQ(value, expected) << text;
  EXPECT_EQ(value.dump(), expected.dump()) << text;
  // Numbers that are equal may be of different types.
  if (value.is_number()) {
    EXPECT_EQ(value.type(), expected.type()) << text;
  }
}

TEST(JsonReader, ReadsWhatServersWrite) {
  for (const std::string text :
       {R"({"a":{"b":[1,-2,3.5e2,true,false,null,"x\"\\\/\b\f\n\r\t\u003c"]},"c":{},"d":[],"":""})",
        " [ 1 , 2 ] ", "0", "-0", "18446744073709551615", "-9223372036854775808", "\"\"",
        R"({"b":1,"a":2,"b":3})"}) {
    Json value;
    EXPECT_TRUE(JsonReader(text).Read(value)) << text;
    ExpectAsLibrary(text);
  }
}

TEST(JsonReader, RefusesWhatIsNoJson) {
  for (const std::string text :
       {"",       "{",   "}",     "[1,]",    "{\"a\"}",   "{\"a\":}",   "{,}",
        "01",     "-",   "1.",    "1e",      "tru",       "\"a",        "\"\\\"",
        "\"\n\"", "1 2", "[1 2]", "\"\\x\"", "\"\\u00\"", "{\"a\":1,}", "\"\\u00-1\"",
        "+1",     "nul", ".5",    "{1:2}"}) {
    Json value;
    EXPECT_FALSE(JsonReader(text).Read(value)) << text;
    EXPECT_FALSE(ParseJson(text).ok()) << text;
  }
}

TEST(JsonReader, WhatIsRareIsReadByTheLibrary) {
  for (const std::string text : {"\"\xc3\xa9\"", "\"\\u00e9\"", "\"\\ud83d\\ude00\"",
                                 "18446744073709551616", "-9223372036854775809", "1e-400"}) {
    const auto value = ParseJson(text);
    ASSERT_TRUE(value.ok()) << text;
    EXPECT_EQ(*value, Library(text)) << text;
  }
}

TEST(JsonReader, NestingEndsWhereTheParsersEnd) {
  const auto nested = [](int depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  EXPECT_TRUE(ParseJson(nested(kMaxDepth)).ok());
  EXPECT_FALSE(ParseJson(nested(kMaxDepth + 1)).ok());
}

TEST(JsonReader, ReadsBrokenTextAsTheLibrary) {
  const std::string whole =
      R"({"metadata":{"name":"a","managedFields":[{"x":"\u0022]"}]},"spec":[1,2.5e-3,{"k":null}]})";
  std::minstd_rand random(1);
  constexpr std::string_view kBytes = "{}[]\",:\\0123eE+-.tfnu \x80\x01";
  for (int i = 0; i < 20000; ++i) {
    std::string text = whole;
    for (unsigned changes = 1 + random() % 3; changes > 0; --changes) {
      const size_t at = random() % text.size();
      switch (random() % 3) {
        case 0:
          text[at] = kBytes[random() % kBytes.size()];
          break;
        case 1:
          text.erase(at, 1 + random() % 4);
          break;
        default:
          text.insert(at, 1, kBytes[random() % kBytes.size()]);
      }
      if (text.empty()) text = "x";
    }
    ExpectAsLibrary(text);
    // Neither crashes nor runs out of the text.
    if (const auto list = SplitList(text); list.ok())
      (void)EachItem(*list, Keep::kNoManagedFields, [](Json) {});
  }
}

TEST(ListText, ItemsComeOneByOneWithoutManagedFields) {
  const std::string text =
      R"({"kind":"PodList","items":[ {"metadata":{"managedFields":[{"f:a":{"}":"]\""}}],"name":"a"},
      "spec":{"managedFields":1}} , {"metadata":{"name":"b\u00e9","managedFields":[]}}],
      "metadata":{"continue":"x","resourceVersion":"7"}})";
  const auto list = SplitList(text);
  ASSERT_TRUE(list.ok()) << list.status().message();
  EXPECT_EQ(list->rest, Library(R"({"kind":"PodList","metadata":{"continue":"x",
                                   "resourceVersion":"7"}})"));
  const auto items = [&](Keep keep) {
    std::vector<Json> seen;
    const base::Status read =
        EachItem(*list, keep, [&](Json item) { seen.push_back(std::move(item)); });
    EXPECT_TRUE(read.ok()) << read.message();
    return seen;
  };
  EXPECT_THAT(items(Keep::kNoManagedFields),
              ElementsAre(Library(R"({"metadata":{"name":"a"},"spec":{"managedFields":1}})"),
                          Library(R"({"metadata":{"name":"b\u00e9"}})")));
  EXPECT_EQ(Json(items(Keep::kEverything)), Library(text)["items"]);
}

TEST(ListText, NoItemsAreNone) {
  for (const std::string text :
       {R"({"items":[]})", R"({"items":null})", "{}", R"({"items": [ ]})"}) {
    const auto list = SplitList(text);
    ASSERT_TRUE(list.ok()) << text;
    EXPECT_TRUE(EachItem(*list, Keep::kEverything, [](Json) { FAIL(); }).ok()) << text;
  }
}

TEST(ListText, ErrorsSayWhatIsWrong) {
  EXPECT_THAT(SplitList("[1]").status().message(), HasSubstr("not array"));
  EXPECT_THAT(SplitList("{\"items\":[").status().message(), HasSubstr("invalid JSON"));
  const auto list = SplitList(R"({"items":[{"a":1},{"a" 1}]})");
  ASSERT_TRUE(list.ok());
  int seen = 0;
  const base::Status read = EachItem(*list, Keep::kEverything, [&](Json) { ++seen; });
  EXPECT_THAT(read.message(), HasSubstr("items: invalid JSON"));
  EXPECT_EQ(seen, 1);
}

}  // namespace
}  // namespace isthmus::kubeapi
