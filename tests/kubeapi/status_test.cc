#include "kubeapi/status.h"

#include <gtest/gtest.h>

#include "kubeapi/meta.h"

namespace isthmus::kubeapi {
namespace {

const Resource kPods{"", "v1", "pods", "Pod", true};
const Resource kDeployments{"apps", "v1", "deployments", "Deployment", true};

TEST(Resource, Paths) {
  EXPECT_EQ(kPods.Path("ns", "x"), "/api/v1/namespaces/ns/pods/x");
  EXPECT_EQ(kDeployments.Path(""), "/apis/apps/v1/deployments");
  EXPECT_EQ(Resource({"", "v1", "nodes", "Node", false}).Path("ns", "n"), "/api/v1/nodes/n");
}

TEST(ApiError, SpeaksAsKubernetesDoes) {
  EXPECT_EQ(NotFound(kDeployments, "x").message, "deployments.apps \"x\" not found");
  EXPECT_EQ(AlreadyExists(kPods, "x").ToStatus(),
            base::Status(base::Code::kAlreadyExists, "pods \"x\" already exists"));
  EXPECT_EQ(
      Invalid(kPods, "x", {{"FieldValueRequired", "Required value", "spec.containers"}}).message,
      "Pod \"x\" is invalid: spec.containers: Required value");
  EXPECT_EQ(Conflict(kPods, "x").ToStatus().code(), base::Code::kAborted);
  EXPECT_EQ(Forbidden(kPods, "", "no").message, "pods is forbidden: no");
}

TEST(ApiError, RoundTrips) {
  const ApiError error =
      Invalid(kDeployments, "x",
              {{"FieldValueInvalid", "bad", "spec.a"}, {"FieldValueRequired", "gone", "spec.b"}});
  const ApiError read = ParseApiError(422, ToJson(error.ToJson()));
  EXPECT_EQ(read.message, "Deployment.apps \"x\" is invalid: [spec.a: bad, spec.b: gone]");
  EXPECT_EQ(read.causes.size(), 2u);
  EXPECT_EQ(read.ToStatus().code(), base::Code::kInvalidArgument);
}

TEST(ApiError, ReadsAnswersThatAreNoStatus) {
  EXPECT_EQ(ParseApiError(503, "upstream gone\n").ToStatus(),
            base::Status(base::Code::kUnavailable, "HTTP 503: upstream gone"));
  EXPECT_EQ(ParseApiError(404, "").ToStatus().code(), base::Code::kNotFound);
  EXPECT_EQ(FromStatusObject(410, Json({{"kind", "Status"}, {"code", 410}, {"message", "too old"}}))
                .ToStatus()
                .code(),
            base::Code::kOutOfRange);
}

TEST(Meta, Quantities) {
  for (const auto& [text, milli] :
       std::vector<std::pair<std::string, int64_t>>{{"100m", 100},
                                                    {"2", 2000},
                                                    {"1.5", 1500},
                                                    {"1Gi", 1073741824000},
                                                    {"128Mi", 134217728000},
                                                    {"1e3", 1000000},
                                                    {"0", 0},
                                                    {"1u", 1},
                                                    {"-1", -1000}}) {
    ASSERT_TRUE(ParseQuantityMilli(text).ok()) << text;
    EXPECT_EQ(*ParseQuantityMilli(text), milli) << text;
  }
  for (const char* bad : {"", "x", "1Q", "1 Gi", "0x10", "nan", "1E", "--1"})
    EXPECT_FALSE(ParseQuantityMilli(bad).ok()) << bad;
}

TEST(Meta, Names) {
  EXPECT_TRUE(IsDnsLabel("a-1"));
  EXPECT_FALSE(IsDnsLabel("-a"));
  EXPECT_FALSE(IsDnsLabel("a.b"));
  EXPECT_FALSE(IsDnsLabel(std::string(64, 'a')));
  EXPECT_TRUE(IsDnsSubdomain("a.b-c.d"));
  EXPECT_FALSE(IsDnsSubdomain("a..b"));
  EXPECT_FALSE(IsDnsSubdomain("A"));
  EXPECT_FALSE(IsDnsSubdomain(""));
}

TEST(Meta, OwnersAndConditions) {
  const Json owner = {{"apiVersion", "apps/v1"},
                      {"kind", "ReplicaSet"},
                      {"metadata", {{"name", "r"}, {"uid", "u1"}}}};
  Json pod = {{"kind", "Pod"},
              {"metadata",
               {{"name", "p"}, {"namespace", "n"}, {"ownerReferences", {OwnerReference(owner)}}}},
              {"status", {{"conditions", {{{"type", "Ready"}, {"status", "True"}}}}}}};
  EXPECT_TRUE(IsOwnedBy(pod, "u1"));
  EXPECT_EQ(StringAt(*ControllerOf(pod), {"name"}), "r");
  EXPECT_TRUE(ConditionIsTrue(pod, "Ready"));
  EXPECT_FALSE(ConditionIsTrue(pod, "Other"));
  EXPECT_EQ(Describe(pod), "Pod/n/p");
  SetLabel(pod, "a.b/c", "d");
  EXPECT_EQ(LabelOf(pod, "a.b/c"), "d");
  EXPECT_EQ(GroupOf("apps/v1"), "apps");
  EXPECT_EQ(GroupOf("v1"), "");
  EXPECT_EQ(VersionOf("apps/v1"), "v1");
}

}  // namespace
}  // namespace isthmus::kubeapi
