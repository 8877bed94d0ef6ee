#include <gtest/gtest.h>

#include "kubeapi/json.h"

namespace isthmus::kubeapi {
namespace {

Json Yaml(std::string_view text) {
  auto result = ParseYaml(text);
  EXPECT_TRUE(result.ok()) << result.status().message();
  return result.ok() ? std::move(result).value() : Json("failed");
}

TEST(Yaml, ResolvesPlainScalarsAsKubectlDoes) {
  EXPECT_EQ(Yaml("[true, yes, On, y, false, no, n]"),
            Json({true, true, true, true, false, false, false}));
  EXPECT_EQ(Yaml("[1, -2, 0x1f, 017, 0b11, 1_000]"), Json({1, -2, 31, 15, 3, 1000}));
  EXPECT_EQ(Yaml("[1.5, 1e3, .5]"), Json({1.5, 1000.0, 0.5}));
  EXPECT_EQ(Yaml("[null, ~, Null]"), Json({nullptr, nullptr, nullptr}));
  EXPECT_EQ(Yaml("[1.2.3, 10.0.0.1, 08x, 2020-01-02, abc, 'true', \"1\", 12:30]"),
            Json({"1.2.3", "10.0.0.1", "08x", "2020-01-02", "abc", "true", "1", "12:30"}));
}

TEST(Yaml, KeepsIntegersApartFromFloats) {
  EXPECT_TRUE(Yaml("1").is_number_integer());
  EXPECT_TRUE(Yaml("1.0").is_number_float());
  EXPECT_EQ(Yaml("9223372036854775807"), Json(INT64_MAX));
  EXPECT_EQ(Yaml("-9223372036854775808"), Json(INT64_MIN));
}

TEST(Yaml, ReadsStreamsAndLeavesEmptyDocumentsOut) {
  auto docs = ParseYamlStream("---\na: 1\n---\n---\n# only a comment\n---\nb: 2\n...\n");
  ASSERT_TRUE(docs.ok());
  ASSERT_EQ(docs->size(), 2u);
  EXPECT_EQ((*docs)[1], Json({{"b", 2}}));
  EXPECT_FALSE(ParseYaml("a: 1\n---\nb: 2\n").ok());
}

TEST(Yaml, ResolvesAnchorsAndMergeKeys) {
  const Json value = Yaml("base: &b {x: 1, y1: 2}\nuse:\n  <<: *b\n  x: 3\nlist: [*b]\n");
  EXPECT_EQ(value["use"], Json({{"x", 3}, {"y1", 2}}));
  EXPECT_EQ(value["list"][0], value["base"]);
}

TEST(Yaml, ErrorsNameThePlace) {
  for (const auto& [text, words] : std::vector<std::pair<std::string, std::string>>{
           {"a: 1\na: 2\n", "line 2, column 1"},
           {"a:\n\t- b\n", "line 2"},
           {"a: [1\n", "invalid YAML"},
           {"? [a]\n: b\n", "a key must be a scalar"}}) {
    const auto result = ParseYaml(text);
    ASSERT_FALSE(result.ok()) << text;
    EXPECT_NE(result.status().message().find(words), std::string::npos)
        << result.status().message();
  }
}

TEST(Yaml, TextBehindADocumentIsAnErrorAndNoEndlessStream) {
  for (const std::string text :
       {"{\"a\":1},\"b\":[", "{},", "- a\n,\n", ",", "[1],[2]\n", "--- {a: 1}\n--- ,\n"}) {
    const auto result = ParseYamlStream(text);
    ASSERT_FALSE(result.ok()) << text;
    EXPECT_NE(result.status().message().find("unexpected text after a document"), std::string::npos)
        << result.status().message();
  }
}

TEST(Yaml, KeysOfAnyLengthSurvivePrinting) {
  const std::string plain(2000, 'k'), quoted = "x: " + plain;
  const Json value = {{"a", {{{plain, {{"b", 1}}}, {quoted, {1, 2}}}, {{plain, "text"}}}}};
  EXPECT_EQ(Yaml(ToYaml(value)), value);
}

TEST(Yaml, RefusesAliasBombs) {
  std::string text = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n";
  for (int i = 1; i < 9; ++i) {
    text += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [";
    for (int j = 0; j < 10; ++j) text += (j ? ",*a" : "*a") + std::to_string(i - 1);
    text += "]\n";
  }
  const auto result = ParseYaml(text);
  ASSERT_FALSE(result.ok());
  EXPECT_NE(result.status().message().find("too large"), std::string::npos);
}

TEST(Yaml, PrintsAsKubectlDoes) {
  const Json value = {
      {"kind", "ConfigMap"},
      {"metadata", {{"name", "x"}, {"labels", Json::object()}}},
      {"data",
       {{"mesh", "a: 1\nb: 2\n"}, {"on", "true"}, {"n", "1"}, {"e", ""}, {"url", "http://x:1/"}}},
      {"list", {1, "a b", {{"p", 1}, {"q", {"z"}}}, Json::array()}},
      {"none", nullptr}};
  EXPECT_EQ(ToYaml(value),
            "data:\n  e: \"\"\n  mesh: |\n    a: 1\n    b: 2\n  \"n\": \"1\"\n  \"on\": \"true\"\n "
            " url: http://x:1/\n"
            "kind: ConfigMap\nlist:\n- 1\n- a b\n- p: 1\n  q:\n  - z\n- []\nmetadata:\n  labels: "
            "{}\n  name: x\n"
            "none: null\n");
}

TEST(Yaml, PrintedTextReadsBackTheSame) {
  const Json value = {"",
                      " x",
                      "x ",
                      "- a",
                      "-a",
                      "a: b",
                      "a #b",
                      "a#b",
                      "@x",
                      "*",
                      "{}",
                      "yes",
                      "0x1",
                      "1e5",
                      "null",
                      "a\nb",
                      "a\nb\n",
                      "a\n\n",
                      "\na",
                      " a\nb",
                      "tab\there",
                      "tab\n\tx\n",
                      "\x01",
                      "ü",
                      "'q'",
                      "\"q\"",
                      "2020-01-01",
                      "---",
                      "key:",
                      "%d",
                      "a\\b",
                      "x\n  y\nz",
                      ".inf",
                      "?",
                      "? a",
                      "=",
                      "a\r\nb",
                      "trail \nx",
                      Json({{"k: v", 1}, {"", 2}, {"multi\nline", "multi\nline"}}),
                      Json({Json({1, 2}), Json({"a\nb", {{"c", "d\ne\n"}}})})};
  EXPECT_EQ(Yaml(ToYaml(value)), value) << ToYaml(value);
  const Json wrapped = {{"x", value}, {"y", {{"z", value}}}};
  EXPECT_EQ(Yaml(ToYaml(wrapped)), wrapped) << ToYaml(wrapped);
}

TEST(Json, ParseErrorsAndDepth) {
  EXPECT_FALSE(ParseJson("{\"a\":").ok());
  EXPECT_FALSE(ParseJson(std::string(100000, '[')).ok());
  EXPECT_TRUE(ParseJson("\"" + std::string(100000, '[') + "\"").ok());
  EXPECT_FALSE(ParseJson("\"\xff\"").ok());
  EXPECT_EQ(ToJson(Json("\xff")), "\"\xEF\xBF\xBD\"");
}

TEST(Json, AccessorsNeverThrowOnWrongTypes) {
  const Json value = {{"a", {{"b", "c"}, {"n", 3}, {"f", 2.0}, {"t", true}}}, {"l", {1, 2}}};
  EXPECT_EQ(StringAt(value, {"a", "b"}), "c");
  EXPECT_EQ(StringAt(value, {"a", "n"}), "");
  EXPECT_EQ(StringAt(value, {"l", "b"}), "");
  EXPECT_EQ(StringAt(Json(), {"l"}), "");
  EXPECT_EQ(IntAt(value, {"a", "n"}), 3);
  EXPECT_EQ(IntAt(value, {"a", "f"}), 2);
  EXPECT_EQ(IntAt(value, {"a", "b"}, 7), 7);
  EXPECT_TRUE(BoolAt(value, {"a", "t"}));
  EXPECT_EQ(Find(value, {"l", "x"}), nullptr);
  EXPECT_EQ(ItemsAt(value, {"l"}).size(), 2u);
  EXPECT_TRUE(ItemsAt(value, {"a"}).empty());
  Json made;
  Ensure(made, {"x", "y"}) = 1;
  EXPECT_EQ(made, Json({{"x", {{"y", 1}}}}));
  Erase(made, {"x", "y"});
  Erase(made, {"q", "y"});
  EXPECT_EQ(made, Json({{"x", Json::object()}}));
}

}  // namespace
}  // namespace isthmus::kubeapi
