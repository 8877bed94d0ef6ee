// Patches and server-side apply as kubeapi does them, held to what a real API server does with the
// same object.
#include <gtest/gtest.h>

#include <algorithm>

#include "kubeapi/apply.h"
#include "kubeapi/meta.h"
#include "kubeapi/patch.h"
#include "kubeclient/client.h"
#include "kubeclient/sync.h"
#include "tests/real_servers/cluster.h"

namespace isthmus::kubeclient {
namespace {

using kubeapi::ListRules;

const Resource kDeployments{"apps", "v1", "deployments", "Deployment", true};
const Resource kServices{"", "v1", "services", "Service", true};

Json Parse(std::string_view text) {
  auto json = kubeapi::ParseJson(text);
  EXPECT_TRUE(json.ok()) << text << json.status().message();
  return json.ok() ? *json : Json();
}

/// What both sides must agree on: everything but versions, times and status.
Json Comparable(Json object) {
  for (const char* field : {"resourceVersion", "generation", "creationTimestamp", "uid"})
    kubeapi::Erase(object, {"metadata", field});
  object.erase("status");
  if (Json* fields = kubeapi::FindMutable(object, {"metadata", "managedFields"})) {
    for (Json& entry : *fields) entry.erase("time");
    std::sort(fields->begin(), fields->end(), [](const Json& a, const Json& b) {
      return std::pair(a.value("manager", ""), a.value("operation", "")) <
             std::pair(b.value("manager", ""), b.value("operation", ""));
    });
  }
  return object;
}

class RealPatch : public ::testing::Test {
 protected:
  void SetUp() override {
    RealCluster* cluster = RealCluster::Get();
    if (cluster == nullptr) GTEST_SKIP() << "KUBEBUILDER_ASSETS is not set";
    auto client = Client::Create(loop_, cluster->admin());
    ASSERT_TRUE(client.ok());
    client_ = std::move(*client);
  }

  Json Live(const Resource& resource, const std::string& name) {
    auto got = Await<Json>(loop_, std::chrono::seconds(10),
                           [&](auto done) { client_->Get(resource, "default", name, done); });
    EXPECT_TRUE(got.ok()) << got.status().message();
    return got.ok() ? *got : Json();
  }

  /// Sends a patch, does the same here, and compares.
  void Patch(const Resource& resource, const std::string& name, PatchType type, const Json& patch,
             const std::string& manager) {
    const Json live = Live(resource, name);
    Json ours;
    const kubeapi::FieldManager by{manager, "", base::Time()};
    if (type == PatchType::kApply) {
      ours = kubeapi::ApplyObject(live, patch, by, true, ListRules::BuiltIn()).object;
    } else {
      auto patched = type == PatchType::kStrategic
                         ? kubeapi::ApplyStrategicPatch(live, patch, ListRules::BuiltIn())
                     : type == PatchType::kMerge
                         ? base::Result<Json>(kubeapi::ApplyMergePatch(live, patch))
                         : kubeapi::ApplyJsonPatch(live, patch);
      ASSERT_TRUE(patched.ok()) << patched.status().message();
      // Kubernetes' types write no empty maps; that is not the patch's business.
      if (const Json* map = kubeapi::Find(*patched, {"metadata", "annotations"});
          map != nullptr && map->empty())
        kubeapi::Erase(*patched, {"metadata", "annotations"});
      ours = kubeapi::TrackUpdate(live, *patched, by, ListRules::BuiltIn());
    }
    auto theirs = Await<Json>(loop_, std::chrono::seconds(10), [&](auto done) {
      client_->Patch(resource, "default", name, type, patch, done, "", manager);
    });
    ASSERT_TRUE(theirs.ok()) << theirs.status().message();
    const Json difference = kubeapi::DiffJsonPatch(Comparable(*theirs), Comparable(ours));
    EXPECT_TRUE(difference.empty()) << "from theirs to ours: " << kubeapi::ToJson(difference, 1)
                                    << "\npatch: " << kubeapi::ToJson(patch);
  }

  base::Loop loop_;
  std::unique_ptr<Client> client_;
};

// Written with all its defaults, so that defaulting changes nothing later.
constexpr char kDeployment[] =
    R"({"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d","labels":{"a":"1"}},
 "spec":{"replicas":1,"selector":{"matchLabels":{"app":"x"}},
  "template":{"metadata":{"labels":{"app":"x"}},"spec":{"containers":[
    {"name":"a","image":"i:1","args":["x","y"],"env":[{"name":"E","value":"1"},{"name":"F","value":"2"}],
     "ports":[{"containerPort":80,"protocol":"TCP"}]},
    {"name":"b","image":"i:2"}],"volumes":[{"name":"v","emptyDir":{}}]}}}})";

TEST_F(RealPatch, OfADeployment) {
  auto made = Await<Json>(loop_, std::chrono::seconds(10), [&](auto done) {
    client_->Create(kDeployments, "default", Parse(kDeployment), done);
  });
  ASSERT_TRUE(made.ok()) << made.status().message();
  const auto strategic = [&](const char* patch) {
    Patch(kDeployments, "d", PatchType::kStrategic, Parse(patch), "kubectl-patch");
  };
  strategic(R"({"metadata":{"labels":{"b":"2","a":null}}})");
  strategic(
      R"({"spec":{"template":{"spec":{"containers":[{"name":"a","image":"i:9","env":[{"name":"E","value":"7"}]}]}}}})");
  strategic(
      R"({"spec":{"template":{"spec":{"containers":[{"name":"a","env":[{"name":"F","$patch":"delete"},{"name":"G","value":"3"}],"args":["only"]}]}}}})");
  strategic(
      R"({"spec":{"template":{"spec":{"$setElementOrder/containers":[{"name":"b"},{"name":"a"}],"containers":[{"name":"b","image":"i:3"}]}}}})");
  strategic(R"({"spec":{"strategy":{"$retainKeys":["type"],"type":"Recreate"}}})");
  strategic(R"({"metadata":{"finalizers":["example.com/x","example.com/y"]}})");
  strategic(R"({"metadata":{"$deleteFromPrimitiveList/finalizers":["example.com/x"]}})");
  strategic(
      R"({"spec":{"template":{"spec":{"volumes":[{"name":"v","$retainKeys":["name","configMap"],"configMap":{"name":"m","defaultMode":420},"emptyDir":null}]}}}})");
  strategic(R"({"spec":{"template":{"spec":{"containers":[{"name":"b","$patch":"delete"}]}}}})");
  Patch(kDeployments, "d", PatchType::kMerge,
        Parse(R"({"spec":{"replicas":3},"metadata":{"annotations":{"n":"1"}}})"), "merger");
  Patch(
      kDeployments, "d", PatchType::kJson,
      Parse(
          R"([{"op":"replace","path":"/spec/replicas","value":4},{"op":"remove","path":"/metadata/annotations/n"}])"),
      "jsoner");
}

TEST_F(RealPatch, ServerSideApply) {
  const auto apply = [&](const char* manager, const char* spec) {
    Json object = Parse(R"({"apiVersion":"v1","kind":"Service","metadata":{"name":"s"}})");
    object.update(Parse(spec), true);
    Patch(kServices, "s", PatchType::kApply, object, manager);
  };
  auto made = Await<Json>(loop_, std::chrono::seconds(10), [&](auto done) {
    client_->Patch(
        kServices, "default", "s", PatchType::kApply,
        Parse(
            R"({"apiVersion":"v1","kind":"Service","metadata":{"name":"s","labels":{"l":"1","m":"2"}},
                             "spec":{"ports":[{"port":80,"protocol":"TCP","targetPort":80,"name":"http"}],"selector":{"app":"x"}}})"),
        done, "", "one");
  });
  ASSERT_TRUE(made.ok()) << made.status().message();
  apply(
      "two",
      R"({"metadata":{"labels":{"n":"3"}},"spec":{"ports":[{"port":81,"protocol":"TCP","targetPort":81,"name":"other"}]}})");
  apply("two", R"({"metadata":{"labels":{"n":"4"}},"spec":{"publishNotReadyAddresses":true}})");
  apply(
      "one",
      R"({"metadata":{"labels":{"l":"1"}},"spec":{"ports":[{"port":80,"protocol":"TCP","targetPort":8080,"name":"http"}],"selector":{"app":"y"}}})");
  apply("three", R"({"metadata":{"labels":{"l":"9","n":"4"}}})");
  apply("two", R"({"metadata":{"annotations":{"q":"r"}}})");
  Patch(
      kServices, "s", PatchType::kStrategic,
      Parse(
          R"({"spec":{"loadBalancerClass":null,"publishNotReadyAddresses":null},"metadata":{"labels":{"l":"edited"}}})"),
      "edit");
  apply(
      "one",
      R"({"metadata":{"labels":{"l":"1"}},"spec":{"ports":[{"port":80,"protocol":"TCP","targetPort":8080,"name":"http"}]}})");
}

}  // namespace
}  // namespace isthmus::kubeclient
