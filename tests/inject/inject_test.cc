#include "inject/inject.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "base/encoding.h"
#include "base/files.h"
#include "inject/policy.h"
#include "inject/webhooks.h"
#include "kubeapi/meta.h"
#include "kubeapi/patch.h"

namespace isthmus::inject {
namespace {

using kubeapi::ItemsAt;
using kubeapi::StringAt;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

constexpr std::string_view kConfig = "policy: enabled\ndefaultTemplates: [sidecar]\n";
constexpr std::string_view kValues = R"({
  "revision": "",
  "global": {"hub": "example/hub", "tag": "1.0", "istioNamespace": "istio-system", "meshID": "mesh1",
             "network": "network1", "multiCluster": {"clusterName": "cluster1"},
             "proxy": {"image": "proxyv2", "includeIPRanges": "*", "logLevel": "warning"}}})";

InjectorConfig Config(std::string_view config = kConfig, std::string_view values = kValues) {
  auto parsed = InjectorConfig::Parse(config, values);
  EXPECT_TRUE(parsed.ok()) << parsed.status().message();
  return *parsed;
}

Json Yaml(std::string_view text) {
  auto parsed = kubeapi::ParseYaml(text);
  EXPECT_TRUE(parsed.ok()) << parsed.status().message();
  return *parsed;
}

Json Pod(std::string_view more = "") {
  return Yaml(
      "metadata: {name: p, labels: {app: a}}\nspec: {containers: [{name: app, image: i}]}\n" +
      std::string(more));
}

Outcome Must(const Json& pod, const InjectorConfig& config = Config(), const Params& params = {},
             const MeshSettings& mesh = MeshSettings::Default()) {
  auto outcome = Inject(pod, "sample", config, mesh, params);
  EXPECT_TRUE(outcome.ok()) << outcome.status().message();
  return outcome.ok() ? *outcome : Outcome();
}

const Json& Container(const Json& pod, std::string_view name) {
  static const Json kNone;
  for (const char* list : {"containers", "initContainers"})
    for (const Json& container : ItemsAt(pod, {"spec", list}))
      if (StringAt(container, {"name"}) == name) return container;
  return kNone;
}

std::string EnvOf(const Json& container, std::string_view name) {
  for (const Json& variable : ItemsAt(container, {"env"}))
    if (StringAt(variable, {"name"}) == name) return StringAt(variable, {"value"});
  return "(unset)";
}

std::vector<std::string> Names(const Json& pod, const char* list) {
  std::vector<std::string> names;
  for (const Json& each : ItemsAt(pod, {"spec", list})) names.push_back(StringAt(each, {"name"}));
  return names;
}

// Goldens: <name>.in.yaml gives <name>.golden.yaml; ISTHMUS_REWRITE_GOLDENS=1 writes them anew.
class GoldenTest : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(All, GoldenTest,
                         testing::Values("deployment-pod", "gateway-pod", "annotated-pod"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST_P(GoldenTest, PodIsInjectedAsRecorded) {
  const std::string base = std::string(ISTHMUS_SOURCE_DIR) + "/tests/inject/golden/" + GetParam();
  const auto input = base::ReadFile(base + ".in.yaml");
  ASSERT_TRUE(input.ok()) << input.status().message();
  const Json pod = Yaml(*input);
  const Outcome outcome = Must(pod);
  ASSERT_TRUE(outcome.injected) << outcome.skipped;
  const std::string text = kubeapi::ToYaml(outcome.pod);
  if (std::getenv("ISTHMUS_REWRITE_GOLDENS") != nullptr) {
    ASSERT_TRUE(base::WriteFile(base + ".golden.yaml", text).ok());
    return;
  }
  const auto golden = base::ReadFile(base + ".golden.yaml");
  ASSERT_TRUE(golden.ok()) << golden.status().message();
  EXPECT_EQ(text, *golden);
  // Injecting the result again changes nothing, as when the webhook is invoked twice.
  EXPECT_EQ(kubeapi::ToYaml(Must(outcome.pod).pod), text);
}

TEST(PolicyTest, LabelsDecideBeforeThePolicy) {
  const InjectorConfig off = Config("policy: disabled");
  EXPECT_FALSE(Decide(Pod(), "sample", off).inject);
  EXPECT_TRUE(
      Decide(Yaml("metadata: {labels: {sidecar.istio.io/inject: 'true'}}"), "sample", off).inject);
  EXPECT_TRUE(
      Decide(Yaml("metadata: {annotations: {sidecar.istio.io/inject: 'true'}}"), "sample", off)
          .inject);
  EXPECT_FALSE(
      Decide(Yaml("metadata: {labels: {sidecar.istio.io/inject: 'false'}}"), "sample", Config())
          .inject);
  EXPECT_TRUE(
      Decide(Yaml("metadata: {labels: {sidecar.istio.io/inject: maybe}}"), "sample", Config())
          .inject);
  EXPECT_FALSE(Decide(Pod(), "sample", Config("policy: sometimes")).inject);
}

TEST(PolicyTest, HostNetworkAndSystemNamespacesAreLeftAlone) {
  const Json host =
      Yaml("metadata: {labels: {sidecar.istio.io/inject: 'true'}}\nspec: {hostNetwork: true}");
  EXPECT_FALSE(Decide(host, "sample", Config()).inject);
  EXPECT_FALSE(Decide(Pod(), "kube-system", Config()).inject);
}

TEST(PolicyTest, SelectorsComeBetweenLabelsAndPolicyNeverFirst) {
  const InjectorConfig config = Config(
      "policy: disabled\nalwaysInjectSelector: [{matchLabels: {app: a}}, {}]\n"
      "neverInjectSelector: [{matchExpressions: [{key: job, operator: Exists}]}]");
  EXPECT_TRUE(Decide(Yaml("metadata: {labels: {app: a}}"), "sample", config).inject);
  EXPECT_FALSE(Decide(Yaml("metadata: {labels: {app: a, job: x}}"), "sample", config).inject);
  EXPECT_FALSE(Decide(Yaml("metadata: {labels: {app: b}}"), "sample", config).inject)
      << "{} picks nothing here";
}

TEST(ParamsTest, PathGivesClusterNetworkAndFurtherVariables) {
  const Params params = Params::FromPath("/inject/cluster/c1/net/n1/some_name/a--slash--b/odd");
  EXPECT_EQ(params.cluster, "c1");
  EXPECT_EQ(params.network, "n1");
  EXPECT_THAT(params.env, ElementsAre(Pair("SOME_NAME", "a/b")));
  EXPECT_THAT(Params::FromPath("/inject/:ENV:A=1:ENV:B=x=y:ENV:none:ENV:=z").env,
              ElementsAre(Pair("A", "1"), Pair("B", "x=y")));
  EXPECT_EQ(Params::FromPath("/inject").cluster, "");
  EXPECT_EQ(Params::FromPath("/inject/?timeout=10s").cluster, "");
}

TEST(InjectTest, PathWinsOverValuesAndThePodsNetworkLabelOverBoth) {
  const Params params = Params::FromPath("/inject/cluster/remote/net/n2");
  const Outcome outcome = Must(Pod(), Config(), params);
  const Json& proxy = Container(outcome.pod, "istio-proxy");
  EXPECT_EQ(EnvOf(proxy, "ISTIO_META_CLUSTER_ID"), "remote");
  EXPECT_EQ(EnvOf(proxy, "ISTIO_META_NETWORK"), "n2");
  EXPECT_EQ(kubeapi::LabelOf(outcome.pod, "topology.istio.io/network"), "n2");
  Json labelled = Pod();
  kubeapi::SetLabel(labelled, "topology.istio.io/network", "n3");
  const Outcome own = Must(labelled, Config(), params);
  EXPECT_EQ(EnvOf(Container(own.pod, "istio-proxy"), "ISTIO_META_NETWORK"), "n3");
}

TEST(InjectTest, ProxyConfigOfThePodIsLaidOverTheMeshs) {
  MeshSettings mesh = MeshSettings::Default();
  mesh.default_config["proxyMetadata"] = {{"A", "mesh"}, {"B", "mesh"}};
  Json pod = Pod();
  kubeapi::SetAnnotation(pod, "proxy.istio.io/config",
                         "proxyMetadata: {B: pod}\nterminationDrainDuration: 9s");
  const Outcome outcome = Must(pod, Config(), {}, mesh);
  const Json& proxy = Container(outcome.pod, "istio-proxy");
  EXPECT_EQ(EnvOf(proxy, "A"), "mesh");
  EXPECT_EQ(EnvOf(proxy, "B"), "pod");
  EXPECT_EQ(Yaml(EnvOf(proxy, "PROXY_CONFIG")),
            Yaml("{proxyMetadata: {A: mesh, B: pod}, terminationDrainDuration: 9s}"));
  EXPECT_EQ(EnvOf(Container(outcome.pod, "istio-init"), "B"), "pod");
}

TEST(InjectTest, NativeSidecarIsAnInitContainerThatStays) {
  Params params;
  params.native_sidecars = true;
  const Json pod = Yaml(
      "metadata: {name: p}\nspec: {containers: [{name: app}], initContainers: [{name: first}]}");
  const Outcome outcome = Must(pod, Config(), params);
  EXPECT_THAT(Names(outcome.pod, "initContainers"),
              ElementsAre("istio-init", "istio-proxy", "first"));
  EXPECT_THAT(Names(outcome.pod, "containers"), ElementsAre("app"));
  const Json& proxy = Container(outcome.pod, "istio-proxy");
  EXPECT_EQ(StringAt(proxy, {"restartPolicy"}), "Always");
  EXPECT_NE(kubeapi::Find(proxy, {"lifecycle", "preStop"}), nullptr);
  EXPECT_EQ(kubeapi::ToYaml(Must(outcome.pod, Config(), params).pod), kubeapi::ToYaml(outcome.pod));

  Json opted_out = pod;
  kubeapi::SetAnnotation(opted_out, "sidecar.istio.io/nativeSidecar", "false");
  EXPECT_THAT(Names(Must(opted_out, Config(), params).pod, "containers"),
              ElementsAre("app", "istio-proxy"));
}

TEST(InjectTest, NoCaptureWithoutInterception) {
  Json pod = Pod();
  kubeapi::SetAnnotation(pod, "sidecar.istio.io/interceptionMode", "NONE");
  EXPECT_EQ(kubeapi::Find(Must(pod).pod, {"spec", "initContainers"}), nullptr);
}

TEST(InjectTest, CniOnlyValidates) {
  const Outcome outcome = Must(Pod(), Config(kConfig, R"({"pilot": {"cni": {"enabled": true}}})"));
  EXPECT_THAT(Names(outcome.pod, "initContainers"), ElementsAre("istio-validation"));
  EXPECT_EQ(kubeapi::AnnotationOf(outcome.pod, "sidecar.istio.io/interceptionMode"), "REDIRECT");
}

TEST(InjectTest, WrongAnnotationsRefuseThePodAndNameTheReason) {
  const std::pair<const char*, const char*> wrong[] = {
      {"sidecar.istio.io/interceptionMode", "SOMEHOW"},
      {"traffic.sidecar.istio.io/includeOutboundIPRanges", "10.0.0.0"},
      {"traffic.sidecar.istio.io/excludeInboundPorts", "80,http"},
      {"sidecar.istio.io/proxyCPU", "much"},
      {"proxy.istio.io/config", "statusPort: many"},
      {"inject.istio.io/templates", "nonesuch"},
      {"status.sidecar.istio.io/port", "70000"},
      {"prometheus.io/port", "15090"},
  };
  for (const auto& [name, value] : wrong) {
    Json pod = Pod();
    kubeapi::SetAnnotation(pod, name, value);
    if (std::string_view(name) == "prometheus.io/port")
      kubeapi::SetAnnotation(pod, "prometheus.io/scrape", "true");
    const auto outcome = Inject(pod, "sample", Config(), MeshSettings::Default(), {});
    ASSERT_FALSE(outcome.ok()) << name;
    EXPECT_THAT(outcome.status().message(), HasSubstr(name));
    EXPECT_THAT(outcome.status().message(), HasSubstr("sample/p"));
  }
}

TEST(InjectTest, HostilePodsAreNoExceptions) {
  for (const char* text :
       {"[]", "{spec: {containers: 3}}", "{spec: {containers: [1, null, {name: 3}]}}",
        "{metadata: [], spec: {containers: []}}",
        "{metadata: {annotations: {sidecar.istio.io/status: '[]'}}, spec: {containers: [{}]}}",
        "{metadata: {labels: 3, annotations: 3}, spec: {containers: [{env: 3, ports: {}}]}}"}) {
    (void)Inject(Yaml(text), "sample", Config(), MeshSettings::Default(), {});
  }
}

std::string Review(const Json& pod, const char* version = "admission.k8s.io/v1") {
  return kubeapi::ToJson(
      {{"apiVersion", version},
       {"kind", "AdmissionReview"},
       {"request",
        {{"uid", "u1"}, {"namespace", "sample"}, {"operation", "CREATE"}, {"object", pod}}}});
}

TEST(WebhookTest, PatchLeadsToTheInjectedPod) {
  InjectionStats stats;
  for (const char* version : {"admission.k8s.io/v1", "admission.k8s.io/v1beta1"}) {
    const HttpAnswer answer =
        AnswerInjection("/inject/cluster/c9", "application/json", Review(Pod(), version), Config(),
                        MeshSettings::Default(), false, stats);
    ASSERT_EQ(answer.status, 200);
    const Json review = Yaml(answer.body);
    EXPECT_EQ(StringAt(review, {"apiVersion"}), version);
    EXPECT_EQ(StringAt(review, {"response", "uid"}), "u1");
    EXPECT_TRUE(kubeapi::BoolAt(review, {"response", "allowed"}));
    const auto patch = base::Base64Decode(StringAt(review, {"response", "patch"}));
    ASSERT_TRUE(patch.ok());
    const auto patched = kubeapi::ApplyJsonPatch(Pod(), Yaml(*patch));
    ASSERT_TRUE(patched.ok()) << patched.status().message();
    EXPECT_EQ(*patched, Must(Pod(), Config(), Params::FromPath("/inject/cluster/c9")).pod);
  }
  EXPECT_EQ(stats.success, 2u);
}

TEST(WebhookTest, SkippedPodIsAllowedWithoutPatchAndWrongOneRefused) {
  InjectionStats stats;
  Json out = Pod();
  kubeapi::SetLabel(out, "sidecar.istio.io/inject", "false");
  const auto ask = [&](const Json& pod) {
    return Yaml(AnswerInjection("/inject", "application/json", Review(pod), Config(),
                                MeshSettings::Default(), false, stats)
                    .body);
  };
  const Json skipped = ask(out);
  EXPECT_TRUE(kubeapi::BoolAt(skipped, {"response", "allowed"}));
  EXPECT_EQ(kubeapi::Find(skipped, {"response", "patch"}), nullptr);
  Json wrong = Pod();
  kubeapi::SetAnnotation(wrong, "sidecar.istio.io/proxyCPU", "much");
  const Json refused = ask(wrong);
  EXPECT_FALSE(kubeapi::BoolAt(refused, {"response", "allowed"}, true));
  EXPECT_THAT(StringAt(refused, {"response", "status", "message"}), HasSubstr("proxyCPU"));
  EXPECT_EQ(stats.skipped, 1u);
  EXPECT_EQ(stats.failure, 1u);
}

TEST(WebhookTest, WhatIsNoReviewIsAnsweredAsHttpError) {
  InjectionStats stats;
  const auto status = [&](std::string_view type, std::string_view body) {
    return AnswerInjection("/inject", type, body, Config(), MeshSettings::Default(), false, stats)
        .status;
  };
  EXPECT_EQ(status("text/plain", "{}"), 415);
  EXPECT_EQ(status("application/json", ""), 400);
  EXPECT_EQ(status("application/json", "{"), 400);
  EXPECT_EQ(status("application/json", "{}"), 400);
}

TEST(WebhookTest, ValidationRefusesWhatIsWrongAndLetsTheRestPass) {
  ValidationStats stats;
  const auto ask = [&](const char* operation, const char* kind, const char* object) {
    const Json review = {
        {"apiVersion", "admission.k8s.io/v1"},
        {"kind", "AdmissionReview"},
        {"request",
         {{"uid", "u"},
          {"operation", operation},
          {"kind", {{"group", "networking.istio.io"}, {"version", "v1"}, {"kind", kind}}},
          {"object", Yaml(object)}}}};
    return Yaml(
        AnswerValidation("application/json", kubeapi::ToJson(review), stats).body)["response"];
  };
  const char* good =
      "{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: d, namespace: "
      "n}, spec: {host: h}}";
  EXPECT_EQ(ask("CREATE", "DestinationRule", good)["allowed"], true);
  const Json bad = ask("UPDATE", "DestinationRule",
                       "{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: "
                       "{name: d}, spec: {hots: h}}");
  EXPECT_EQ(bad["allowed"], false);
  EXPECT_THAT(StringAt(bad, {"status", "message"}), HasSubstr("hots"));
  EXPECT_EQ(ask("CREATE", "Nonesuch", good)["allowed"], false);
  EXPECT_EQ(ask("DELETE", "Nonesuch", "{}")["allowed"], true);
  EXPECT_EQ(
      ask("CREATE", "Gateway",
          "{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {name: g, annotations: "
          "{internal.istio.io/webhook-always-reject: 'true'}}, spec: {}}")["allowed"],
      false);
  EXPECT_EQ(stats.passed, 1u);
  EXPECT_EQ(stats.failed, 3u);
}

}  // namespace
}  // namespace isthmus::inject
