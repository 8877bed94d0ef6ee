#include "kubeapi/patch.h"

#include <gtest/gtest.h>

namespace isthmus::kubeapi {
namespace {

Json Parse(std::string_view text) {
  auto result = ParseJson(text);
  EXPECT_TRUE(result.ok()) << result.status().message();
  return std::move(result).value();
}

TEST(JsonPatch, DoesEachOperation) {
  const Json doc = Parse(R"({"a":{"b/c":[1,2]},"x":1})");
  const auto result = ApplyJsonPatch(doc, Parse(R"([
    {"op":"test","path":"/x","value":1},
    {"op":"add","path":"/a/b~1c/1","value":9},
    {"op":"add","path":"/a/b~1c/-","value":3},
    {"op":"remove","path":"/a/b~1c/0"},
    {"op":"replace","path":"/x","value":{"y":1}},
    {"op":"copy","from":"/x","path":"/z"},
    {"op":"move","from":"/x/y","path":"/m"}])"));
  ASSERT_TRUE(result.ok()) << result.status().message();
  EXPECT_EQ(*result, Parse(R"({"a":{"b/c":[9,2,3]},"x":{},"z":{"y":1},"m":1})"));
}

TEST(JsonPatch, SaysWhichOperationFails) {
  for (const char* bad :
       {R"([{"op":"remove","path":"/none"}])", R"([{"op":"add","path":"/l/5","value":1}])",
        R"([{"op":"replace","path":"/none","value":1}])",
        R"([{"op":"test","path":"/x","value":2}])", R"([{"op":"jump","path":"/x"}])",
        R"([{"op":"add","path":"/y"}])", R"([{"op":"add","path":"y","value":1}])",
        R"([{"op":"add","path":"/l/01","value":1}])",
        R"([{"op":"move","from":"/x","path":"/x/y"}])", R"([{"path":"/x"}])",
        R"([{"op":"add","path":"/~2","value":1}])", R"({"op":"add"})", R"([3])"}) {
    const auto result = ApplyJsonPatch(Parse(R"({"x":1,"l":[]})"), Parse(bad));
    EXPECT_FALSE(result.ok()) << bad;
  }
  const auto result = ApplyJsonPatch(
      Parse("{}"), Parse(R"([{"op":"add","path":"/a","value":1},{"op":"remove","path":"/b"}])"));
  EXPECT_EQ(result.status().message(), "JSON patch operation 1: path \"/b\" does not exist");
}

TEST(JsonPatch, DiffLeadsFromOneToTheOther) {
  const Json from = Parse(R"({"a":{"b":[1,2,3],"c":{"d/e":1}},"gone":1})");
  const Json to = Parse(R"({"a":{"b":[1,5],"c":{"d/e":2,"n":null}},"new":[{}]})");
  for (const auto& [a, b] : {std::pair(from, to), std::pair(to, from)}) {
    const auto result = ApplyJsonPatch(a, DiffJsonPatch(a, b));
    ASSERT_TRUE(result.ok());
    EXPECT_EQ(*result, b);
  }
  EXPECT_TRUE(DiffJsonPatch(from, from).empty());
}

TEST(MergePatch, FollowsTheRfc) {
  EXPECT_EQ(ApplyMergePatch(Parse(R"({"a":{"b":1,"c":2},"l":[1,2]})"),
                            Parse(R"({"a":{"b":null,"d":{"e":null,"f":1}},"l":[3]})")),
            Parse(R"({"a":{"c":2,"d":{"f":1}},"l":[3]})"));
  const Json from = Parse(R"({"a":1,"b":{"c":1,"d":2}})"),
             to = Parse(R"({"b":{"c":1,"e":[1]},"f":2})");
  EXPECT_EQ(DiffMergePatch(from, to), Parse(R"({"a":null,"b":{"d":null,"e":[1]},"f":2})"));
  EXPECT_EQ(ApplyMergePatch(from, DiffMergePatch(from, to)), to);
}

Json Strategic(std::string_view target, std::string_view patch) {
  auto result = ApplyStrategicPatch(Parse(target), Parse(patch), ListRules::BuiltIn());
  EXPECT_TRUE(result.ok()) << result.status().message();
  return result.ok() ? std::move(result).value() : Json();
}

// New items come before those that only the server has, as Kubernetes puts them (held to it by
// RealPatch).
TEST(StrategicPatch, MergesContainersByNameAndPortsByPort) {
  EXPECT_EQ(Strategic(R"({"spec":{"template":{"spec":{"containers":[
                {"name":"a","image":"1","args":["x","y"],"env":[{"name":"E","value":"1"}]},{"name":"b"}]}}}})",
                      R"({"spec":{"template":{"spec":{"containers":[
                {"name":"a","image":"2","args":["z"],"env":[{"name":"F","value":"2"}],"ports":[{"containerPort":80}]},{"name":"c"}]}}}})"),
            Parse(R"({"spec":{"template":{"spec":{"containers":[
                {"name":"a","image":"2","args":["z"],"env":[{"name":"F","value":"2"},{"name":"E","value":"1"}],"ports":[{"containerPort":80}]},
                {"name":"c"},{"name":"b"}]}}}})"));
}

TEST(StrategicPatch, Directives) {
  EXPECT_EQ(Strategic(R"({"spec":{"containers":[{"name":"a"},{"name":"b"}]}})",
                      R"({"spec":{"containers":[{"name":"a","$patch":"delete"}]}})"),
            Parse(R"({"spec":{"containers":[{"name":"b"}]}})"));
  EXPECT_EQ(Strategic(R"({"spec":{"containers":[{"name":"a"},{"name":"b"}]}})",
                      R"({"spec":{"containers":[{"$patch":"replace"},{"name":"c"}]}})"),
            Parse(R"({"spec":{"containers":[{"name":"c"}]}})"));
  EXPECT_EQ(
      Strategic(
          R"({"spec":{"containers":[{"name":"a"},{"name":"b"},{"name":"s"}]}})",
          R"({"spec":{"$setElementOrder/containers":[{"name":"c"},{"name":"b"},{"name":"a"}],"containers":[{"name":"c"}]}})"),
      Parse(R"({"spec":{"containers":[{"name":"c"},{"name":"b"},{"name":"a"},{"name":"s"}]}})"));
  EXPECT_EQ(
      Strategic(R"({"spec":{"strategy":{"type":"RollingUpdate","rollingUpdate":{"maxSurge":1}}}})",
                R"({"spec":{"strategy":{"$retainKeys":["type"],"type":"Recreate"}}})"),
      Parse(R"({"spec":{"strategy":{"type":"Recreate"}}})"));
  EXPECT_EQ(
      Strategic(R"({"metadata":{"finalizers":["a","b"]}})",
                R"({"metadata":{"$deleteFromPrimitiveList/finalizers":["a"],"finalizers":["c"]}})"),
      Parse(R"({"metadata":{"finalizers":["c","b"]}})"));
  EXPECT_EQ(Strategic(R"({"spec":{"selector":{"a":"b"}}})",
                      R"({"spec":{"selector":{"$patch":"replace","c":"d"}}})"),
            Parse(R"({"spec":{"selector":{"c":"d"}}})"));
}

TEST(StrategicPatch, NullsDeleteAndAtomicListsAreReplaced) {
  EXPECT_EQ(
      Strategic(R"({"metadata":{"labels":{"a":"1","b":"2"}},"spec":{"externalIPs":["1.1.1.1"]}})",
                R"({"metadata":{"labels":{"a":null}},"spec":{"externalIPs":["2.2.2.2"]}})"),
      Parse(R"({"metadata":{"labels":{"b":"2"}},"spec":{"externalIPs":["2.2.2.2"]}})"));
  EXPECT_EQ(Strategic(R"({"spec":{"ports":[{"port":80,"name":"a"},{"port":81}]}})",
                      R"({"spec":{"ports":[{"port":80,"nodePort":3}]}})"),
            Parse(R"({"spec":{"ports":[{"port":80,"name":"a","nodePort":3},{"port":81}]}})"));
}

TEST(StrategicPatch, RefusesBadPatches) {
  const Json pod = Parse(R"({"spec":{"containers":[{"name":"a"}]}})");
  for (const char* bad :
       {R"({"spec":{"containers":[{"image":"x"}]}})", R"({"spec":{"$patch":"explode"}})",
        R"({"spec":{"containers":[1]}})", "[]"})
    EXPECT_FALSE(ApplyStrategicPatch(pod, Parse(bad), ListRules::BuiltIn()).ok()) << bad;
}

TEST(ListRules, ComeFromSchemasToo) {
  const ListRules rules = ListRules::FromSchema(Parse(R"({"properties":{"spec":{"properties":{
     "items":{"type":"array","x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["id"],"items":{"properties":{
         "tags":{"x-kubernetes-list-type":"set"}}}},
     "whole":{"x-kubernetes-map-type":"atomic"}}}}})"));
  EXPECT_EQ(rules.For("spec.items").merge_key(), "id");
  EXPECT_EQ(rules.For("spec.items.tags").type, ListRule::Type::kSet);
  EXPECT_EQ(rules.For("items").type, ListRule::Type::kAtomic);
  EXPECT_TRUE(rules.IsAtomicMap("spec.whole"));
  EXPECT_EQ(ListRules::BuiltIn().For("subsets.ports").type, ListRule::Type::kAtomic);
}

}  // namespace
}  // namespace isthmus::kubeapi
