#include "tests/lab/apiserver/api_fixture.h"

namespace isthmus::lab::apiserver {
namespace {

using kubeapi::StringAt;

constexpr char kCrds[] = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
constexpr char kPaints[] = "/apis/test.example/v1/namespaces/default/paints";

class CrdTest : public ApiTest {
 protected:
  void SetUp() override {
    ApiTest::SetUp();
    const Response made = Post(kCrds, Crd());
    ASSERT_EQ(made.status, 201) << made.body;
    crd_ = Parse(made);
  }
  static Json Version(const std::string& name, bool storage) {
    const Json spec = {
        {"type", "object"},
        {"required", {"color"}},
        {"properties",
         {{"color", {{"type", "string"}, {"enum", {"red", "blue"}}}},
          {"size", {{"type", "integer"}, {"minimum", 1}, {"default", 3}}},
          {"any", {{"type", "object"}, {"x-kubernetes-preserve-unknown-fields", true}}},
          {"parts",
           {{"type", "array"},
            {"x-kubernetes-list-type", "map"},
            {"x-kubernetes-list-map-keys", {"name"}},
            {"items",
             {{"type", "object"},
              {"required", {"name"}},
              {"properties",
               {{"name", {{"type", "string"}}}, {"value", {{"type", "string"}}}}}}}}}}}};
    const Json schema = {
        {"type", "object"},
        {"properties",
         {{"spec", spec},
          {"status", {{"type", "object"}, {"properties", {{"done", {{"type", "boolean"}}}}}}}}}};
    return {
        {"name", name},
        {"served", true},
        {"storage", storage},
        {"schema", {{"openAPIV3Schema", schema}}},
        {"subresources", {{"status", Json::object()}}},
        {"additionalPrinterColumns",
         Json::array(
             {{{"name", "Color"}, {"type", "string"}, {"jsonPath", ".spec.color"}},
              {{"name", "Age"}, {"type", "date"}, {"jsonPath", ".metadata.creationTimestamp"}}})}};
  }
  static Json Crd() {
    return {{"apiVersion", "apiextensions.k8s.io/v1"},
            {"kind", "CustomResourceDefinition"},
            {"metadata", {{"name", "paints.test.example"}}},
            {"spec",
             {{"group", "test.example"},
              {"scope", "Namespaced"},
              {"names", {{"plural", "paints"}, {"kind", "Paint"}, {"shortNames", {"pt"}}}},
              {"versions", Json::array({Version("v1beta1", false), Version("v1", true)})}}}};
  }
  static Json Paint(const std::string& name, Json spec) {
    return {{"apiVersion", "test.example/v1"},
            {"kind", "Paint"},
            {"metadata", {{"name", name}}},
            {"spec", std::move(spec)}};
  }
  Json crd_;
};

TEST_F(CrdTest, IsEstablishedAndServedAtOnce) {
  std::string conditions;
  for (const Json& condition : crd_["status"]["conditions"])
    conditions += StringAt(condition, {"type"}) + "=" + StringAt(condition, {"status"}) + " ";
  EXPECT_EQ(conditions, "NamesAccepted=True Established=True ");
  EXPECT_EQ(crd_["status"]["storedVersions"], Json::array({"v1"}));
  EXPECT_EQ(crd_["spec"]["names"]["listKind"], "PaintList");
  EXPECT_EQ(Parse(Get("/apis/test.example"))["preferredVersion"]["version"], "v1")
      << "v1 is preferred whatever the order";
  EXPECT_EQ(Parse(Get("/apis/test.example/v1beta1"))["resources"][0]["shortNames"],
            Json::array({"pt"}));
}

TEST_F(CrdTest, PrunesDefaultsAndValidates) {
  const Json made = Parse(
      Post(kPaints, Paint("a", {{"color", "red"}, {"unknown", 1}, {"any", {{"x", {1, 2}}}}})));
  EXPECT_EQ(made["spec"], (Json{{"color", "red"}, {"size", 3}, {"any", {{"x", {1, 2}}}}}));
  EXPECT_EQ(made["metadata"]["generation"], 1);
  const Response missing = Post(kPaints, Paint("b", Json::object()));
  EXPECT_EQ(missing.status, 422);
  EXPECT_EQ(Parse(missing)["message"],
            "Paint.test.example \"b\" is invalid: spec.color: Required value");
  EXPECT_NE(
      Post(kPaints, Paint("b", {{"color", "green"}})).body.find("Unsupported value: \\\"green\\\""),
      std::string::npos);
  EXPECT_EQ(Post(kPaints, Paint("b", {{"color", "red"}, {"size", 0}})).status, 422);
  EXPECT_EQ(Post(kPaints, Paint("b", {{"color", "red"}, {"size", "x"}})).status, 422);
  EXPECT_EQ(Post(std::string(kPaints) + "?fieldValidation=Strict",
                 Paint("b", {{"color", "red"}, {"unknown", 1}}))
                .status,
            400);
}

TEST_F(CrdTest, EveryServedVersionShowsTheSameObject) {
  ASSERT_EQ(Post(kPaints, Paint("a", {{"color", "red"}})).status, 201);
  const Json beta = Parse(Get("/apis/test.example/v1beta1/namespaces/default/paints/a"));
  EXPECT_EQ(beta["apiVersion"], "test.example/v1beta1");
  EXPECT_EQ(beta["spec"]["color"], "red");
  auto seen = StartWatch("/apis/test.example/v1beta1/paints?watch=true&resourceVersion=0");
  ASSERT_EQ(seen->events.size(), 1u);
  EXPECT_EQ(seen->events[0]["object"]["apiVersion"], "test.example/v1beta1");
}

TEST_F(CrdTest, StatusIsApartAndStrategicPatchIsRefused) {
  ASSERT_EQ(Post(kPaints, Paint("a", {{"color", "red"}})).status, 201);
  const Json status = Parse(Patch(std::string(kPaints) + "/a/status",
                                  {{"status", {{"done", true}}}, {"spec", {{"color", "blue"}}}},
                                  "application/merge-patch+json"));
  EXPECT_EQ(status["status"]["done"], true);
  EXPECT_EQ(status["spec"]["color"], "red");
  EXPECT_EQ(status["metadata"]["generation"], 1);
  EXPECT_EQ(Patch(std::string(kPaints) + "/a", Json::object()).status, 415);
  EXPECT_EQ(Put(std::string(kPaints) + "/a", Paint("a", {{"color", "blue"}})).status, 422)
      << "an update names its resourceVersion";
}

TEST_F(CrdTest, ListMapsMergeByTheirKeysWhenApplied) {
  auto part = [](const char* name, const char* value) {
    return Json{{"name", name}, {"value", value}};
  };
  ASSERT_EQ(Apply(std::string(kPaints) + "/a",
                  Paint("a", {{"color", "red"}, {"parts", Json::array({part("x", "1")})}}), "one")
                .status,
            201);
  const Json both = Parse(Apply(std::string(kPaints) + "/a",
                                Paint("a", {{"parts", Json::array({part("y", "2")})}}), "two"));
  EXPECT_EQ(both["spec"]["parts"].size(), 2u);
}

TEST_F(CrdTest, ColumnsComeFromTheDefinition) {
  ASSERT_EQ(Post(kPaints, Paint("a", {{"color", "red"}})).status, 201);
  const Json table = Parse(Get(kPaints, "application/json;as=Table;v=v1;g=meta.k8s.io"));
  EXPECT_EQ(table["columnDefinitions"].size(), 3u);
  EXPECT_EQ(table["rows"][0]["cells"], Json::array({"a", "red", "0s"}));
}

TEST_F(CrdTest, ADeletedDefinitionTakesItsObjectsAlong) {
  ASSERT_EQ(Post(kPaints, Paint("a", {{"color", "red"}})).status, 201);
  auto seen = StartWatch(std::string(kPaints) +
                         "?watch=true&resourceVersion=" + std::to_string(store_->version()));
  ASSERT_EQ(Delete(std::string(kCrds) + "/paints.test.example").status, 200);
  EXPECT_EQ(Get(kPaints).status, 404);
  EXPECT_EQ(store_->Count("paints.test.example"), 0);
  EXPECT_EQ(seen->Types(), "DELETED");
}

TEST_F(CrdTest, BrokenDefinitionsAreRefused) {
  Json crd = Crd();
  crd["metadata"]["name"] = "wrong.test.example";
  EXPECT_NE(Post(kCrds, crd).body.find("must be spec.names.plural+\\\".\\\"+spec.group"),
            std::string::npos);
  crd = Crd();
  crd["metadata"]["name"] = "things.test.example";
  crd["spec"]["names"] = {{"plural", "things"}, {"kind", "Thing"}};
  crd["spec"]["versions"][0]["storage"] = true;
  EXPECT_EQ(Post(kCrds, crd).status, 422);
  crd["spec"]["versions"] = Json::array();
  EXPECT_EQ(Post(kCrds, crd).status, 422);
  crd["spec"] = "text";
  EXPECT_EQ(Post(kCrds, crd).status, 400);
}

}  // namespace
}  // namespace isthmus::lab::apiserver
