#include <gtest/gtest.h>

#include "base/encoding.h"
#include "controlplane/validation_gate.h"
#include "controlplane/webhook_patcher.h"
#include "kubeapi/patch.h"

namespace isthmus::controlplane {
namespace {

using kubeclient::Json;

const Json kObject = {
    {"metadata", {{"name", "istio-sidecar-injector"}}},
    {"webhooks",
     {{{"name", "rev.namespace.sidecar-injector.istio.io"},
       {"clientConfig", {{"caBundle", "old"}}}},
      {{"name", "other.example.com"}, {"clientConfig", Json::object()}},
      {{"name", "object.sidecar-injector.istio.io"}, {"clientConfig", Json::object()}}}}};

TEST(WebhookPatchTest, EntriesOfOursGetTheBundleAndOthersAreLeftAlone) {
  const Json patch = BundlePatch(kObject, "sidecar-injector.istio.io", "PEM");
  const auto patched = kubeapi::ApplyJsonPatch(kObject, patch);
  ASSERT_TRUE(patched.ok()) << patched.status().message();
  const std::string bundle = base::Base64Encode("PEM");
  EXPECT_EQ((*patched)["webhooks"][0]["clientConfig"]["caBundle"], bundle);
  EXPECT_FALSE((*patched)["webhooks"][1]["clientConfig"].contains("caBundle"));
  EXPECT_EQ((*patched)["webhooks"][2]["clientConfig"]["caBundle"], bundle);
  EXPECT_TRUE(BundlePatch(*patched, "sidecar-injector.istio.io", "PEM").empty());
}

TEST(WebhookPatchTest, PatchFailsWhenTheListHasChangedMeanwhile) {
  Json changed = kObject;
  changed["webhooks"].erase(0);
  EXPECT_FALSE(
      kubeapi::ApplyJsonPatch(changed, BundlePatch(kObject, "sidecar-injector.istio.io", "PEM"))
          .ok());
}

TEST(WebhookPatchTest, FailurePolicyBecomesFailWhereItIsNot) {
  Json object = kObject;
  object["webhooks"][1]["failurePolicy"] = "Fail";
  object["webhooks"][2]["failurePolicy"] = "Ignore";
  const auto patched = kubeapi::ApplyJsonPatch(object, FailPatch(object));
  ASSERT_TRUE(patched.ok());
  for (const Json& webhook : (*patched)["webhooks"]) EXPECT_EQ(webhook["failurePolicy"], "Fail");
  EXPECT_TRUE(FailPatch(*patched).empty());
}

}  // namespace
}  // namespace isthmus::controlplane
