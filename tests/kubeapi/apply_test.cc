#include "kubeapi/apply.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kubeapi/field_set.h"

namespace isthmus::kubeapi {
namespace {

using ::testing::ElementsAre;

const ListRules& Rules() { return ListRules::BuiltIn(); }

FieldManager By(std::string name, int second = 0) {
  return {std::move(name), "", base::Time(std::chrono::seconds(1'800'000'000 + second))};
}

Json Deployment(Json spec) {
  return {{"apiVersion", "apps/v1"},
          {"kind", "Deployment"},
          {"metadata", {{"name", "d"}}},
          {"spec", std::move(spec)}};
}

Json Must(const ApplyOutcome& outcome) {
  EXPECT_TRUE(outcome.conflicts.empty());
  return outcome.object;
}

TEST(FieldSet, IsFieldsV1) {
  const Json object = Deployment(
      {{"replicas", 1},
       {"template",
        {{"spec",
          {{"containers",
            {{{"name", "a"}, {"args", {"x"}}, {"ports", {{{"containerPort", 80}}}}}}}}}}}});
  const FieldSet set = FieldSet::Of(object, Rules());
  EXPECT_EQ(
      ToJson(set.ToJson()["f:spec"]),
      R"({"f:replicas":{},"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"a\"}":{".":{},"f:args":{},"f:name":{},)"
      R"("f:ports":{"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{}}}}}}}})");
  EXPECT_EQ(*FieldSet::FromJson(set.ToJson()), set);
  EXPECT_THAT(set.Paths(), ::testing::Contains(".spec.template.spec.containers[name=\"a\"].args"));
  EXPECT_FALSE(FieldSet::FromJson({{"f:a", 1}}).ok());
}

TEST(Apply, CreatesUpdatesAndRemovesOwnedFields) {
  Json live = Must(ApplyObject(nullptr, Deployment({{"replicas", 1}, {"paused", true}}), By("a"),
                               false, Rules()));
  EXPECT_EQ(live["spec"], Json({{"replicas", 1}, {"paused", true}}));
  EXPECT_EQ(live["metadata"]["managedFields"][0]["operation"], "Apply");
  live = Must(ApplyObject(live, Deployment({{"replicas", 2}}), By("a", 1), false, Rules()));
  EXPECT_EQ(live["spec"], Json({{"replicas", 2}}));
  const Json again =
      Must(ApplyObject(live, Deployment({{"replicas", 2}}), By("a", 9), false, Rules()));
  EXPECT_EQ(again, live);  // The same apply changes nothing, not even the time.
}

TEST(Apply, KeepsWhatOthersOwn) {
  Json live = Must(ApplyObject(nullptr, Deployment({{"replicas", 1}, {"paused", true}}), By("a"),
                               false, Rules()));
  live = Must(ApplyObject(live, Deployment({{"paused", true}}), By("b"), false, Rules()));
  live = Must(ApplyObject(live, Deployment({{"replicas", 1}}), By("a"), false, Rules()));
  EXPECT_EQ(live["spec"], Json({{"replicas", 1}, {"paused", true}}));
  live = Must(ApplyObject(live, Deployment(Json::object()), By("b"), false, Rules()));
  EXPECT_EQ(live["spec"], Json({{"replicas", 1}}));
}

TEST(Apply, ConflictsUnlessForced) {
  Json live = TrackUpdate(nullptr, Deployment({{"replicas", 1}}), By("kubectl"), Rules());
  const ApplyOutcome outcome =
      ApplyObject(live, Deployment({{"replicas", 3}}), By("a"), false, Rules());
  ASSERT_EQ(outcome.conflicts.size(), 1u);
  EXPECT_EQ(
      ApplyConflict(outcome.conflicts).message,
      "Apply failed with 1 conflict: conflict with \"kubectl\" using apps/v1: .spec.replicas");
  EXPECT_EQ(ApplyConflict(outcome.conflicts).code, 409);
  live = Must(ApplyObject(live, Deployment({{"replicas", 3}}), By("a"), true, Rules()));
  EXPECT_EQ(live["spec"]["replicas"], 3);
  ASSERT_EQ(live["metadata"]["managedFields"].size(), 1u);
  EXPECT_EQ(live["metadata"]["managedFields"][0]["manager"], "a");
}

TEST(Apply, ListItemsBelongToTheirAppliers) {
  const auto containers = [](Json list) {
    return Deployment({{"template", {{"spec", {{"containers", std::move(list)}}}}}});
  };
  Json live = Must(
      ApplyObject(nullptr, containers({{{"name", "a"}, {"image", "1"}}}), By("a"), false, Rules()));
  live = Must(
      ApplyObject(live, containers({{{"name", "b"}, {"image", "2"}}}), By("b"), false, Rules()));
  EXPECT_EQ(live["spec"]["template"]["spec"]["containers"].size(), 2u);
  live = Must(ApplyObject(live, Deployment(Json::object()), By("a"), false, Rules()));
  EXPECT_EQ(live["spec"]["template"]["spec"]["containers"],
            Json({{{"name", "b"}, {"image", "2"}}}));
}

TEST(Apply, UpdateTakesOwnership) {
  Json live = Must(ApplyObject(nullptr, Deployment({{"replicas", 1}, {"paused", true}}), By("a"),
                               false, Rules()));
  Json edited = live;
  edited["spec"]["replicas"] = 5;
  live = TrackUpdate(live, edited, By("edit", 3), Rules());
  ASSERT_EQ(live["metadata"]["managedFields"].size(), 2u);
  EXPECT_EQ(live["metadata"]["managedFields"][0]["fieldsV1"],
            Json({{"f:spec", {{"f:paused", Json::object()}}}}));
  EXPECT_EQ(live["metadata"]["managedFields"][1]["fieldsV1"],
            Json({{"f:spec", {{"f:replicas", Json::object()}}}}));
  // The first manager no longer owns replicas, so leaving it out leaves it alone.
  live = Must(ApplyObject(live, Deployment({{"paused", true}}), By("a"), false, Rules()));
  EXPECT_EQ(live["spec"]["replicas"], 5);
  edited = live;
  edited["metadata"]["managedFields"] = Json::array();
  EXPECT_FALSE(TrackUpdate(live, edited, By("x"), Rules())["metadata"].contains("managedFields"));
}

TEST(Apply, SubresourcesAreManagersOfTheirOwn) {
  Json live = Must(ApplyObject(nullptr, Deployment({{"replicas", 1}}), By("a"), false, Rules()));
  Json scaled = live;
  scaled["spec"]["replicas"] = 2;
  FieldManager manager = By("a");
  manager.subresource = "scale";
  live = TrackUpdate(live, scaled, manager, Rules());
  EXPECT_EQ(live["metadata"]["managedFields"].back()["subresource"], "scale");
  EXPECT_EQ(
      ApplyObject(live, Deployment({{"replicas", 1}}), By("a"), false, Rules()).conflicts.size(),
      1u);
}

}  // namespace
}  // namespace isthmus::kubeapi
