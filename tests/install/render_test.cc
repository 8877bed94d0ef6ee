#include "install/render.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "base/files.h"
#include "kubeapi/meta.h"

namespace isthmus::install {
namespace {

using kubeapi::Find;
using kubeapi::StringAt;
using testing::Contains;
using testing::HasSubstr;
using testing::IsSupersetOf;
using testing::Not;

Installation Resolve(const std::string& yaml, std::vector<std::string> sets = {}) {
  OperatorInput input;
  input.files.push_back(
      {"test.yaml", "apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\n" + yaml});
  input.sets = std::move(sets);
  auto installation = ResolveInstallation(input);
  EXPECT_TRUE(installation.ok()) << installation.status().message();
  return installation.ok() ? *installation : Installation();
}

std::vector<Json> All(const Installation& installation) {
  auto components = Render(installation);
  EXPECT_TRUE(components.ok()) << components.status().message();
  return components.ok() ? ManifestOrder(*components) : std::vector<Json>();
}

std::set<std::string> Names(const std::vector<Json>& objects) {
  std::set<std::string> names;
  for (const Json& object : objects)
    if (StringAt(object, {"kind"}) != "CustomResourceDefinition")
      names.insert(StringAt(object, {"kind"}) + "/" + kubeapi::NameOf(object));
  return names;
}

Json Object(const std::vector<Json>& objects, const std::string& kind, const std::string& name) {
  for (const Json& object : objects)
    if (StringAt(object, {"kind"}) == kind && kubeapi::NameOf(object) == name) return object;
  ADD_FAILURE() << "no " << kind << " " << name;
  return {};
}

std::string EnvOf(const Json& deployment, const std::string& name) {
  for (const Json& variable : deployment["spec"]["template"]["spec"]["containers"][0]["env"])
    if (variable["name"] == name) return StringAt(variable, {"value"});
  return "(absent)";
}

TEST(RenderTest, DefaultProfileHasTheControlPlaneAndAnIngressGateway) {
  std::vector<Json> objects = All(Resolve("spec: {}"));
  EXPECT_THAT(Names(objects),
              IsSupersetOf({"ServiceAccount/istio-reader-service-account",
                            "ClusterRole/istio-reader-clusterrole-istio-system",
                            "ClusterRoleBinding/istio-reader-clusterrole-istio-system",
                            "ServiceAccount/istiod",
                            "Role/istiod",
                            "RoleBinding/istiod",
                            "ClusterRole/istiod-clusterrole-istio-system",
                            "ClusterRole/istiod-gateway-controller-istio-system",
                            "ConfigMap/istio",
                            "ConfigMap/istio-sidecar-injector",
                            "ConfigMap/values",
                            "Deployment/istiod",
                            "Service/istiod",
                            "HorizontalPodAutoscaler/istiod",
                            "MutatingWebhookConfiguration/istio-sidecar-injector",
                            "ValidatingWebhookConfiguration/istio-validator-istio-system",
                            "Deployment/istio-ingressgateway",
                            "Service/istio-ingressgateway",
                            "ServiceAccount/istio-ingressgateway-service-account",
                            "Role/istio-ingressgateway-sds",
                            "HorizontalPodAutoscaler/istio-ingressgateway"}));
  EXPECT_THAT(Names(objects), Not(Contains("Deployment/istio-egressgateway")));
  size_t definitions = 0;
  for (const Json& object : objects)
    definitions += StringAt(object, {"kind"}) == "CustomResourceDefinition";
  EXPECT_GE(definitions, 14u);
}

TEST(RenderTest, DemoProfileAddsEgressAndDropsAutoscalers) {
  std::vector<Json> objects = All(Resolve("spec: {profile: demo}"));
  EXPECT_THAT(Names(objects), Contains("Deployment/istio-egressgateway"));
  for (const std::string& name : Names(objects))
    EXPECT_THAT(name, Not(HasSubstr("HorizontalPodAutoscaler")));
  Json ingress = Object(objects, "Service", "istio-ingressgateway");
  EXPECT_EQ(ingress["spec"]["ports"].size(), 5u);
  EXPECT_EQ(ingress["spec"]["type"], "LoadBalancer");
  EXPECT_EQ(Object(objects, "Service", "istio-egressgateway")["spec"]["type"], "ClusterIP");
}

TEST(RenderTest, MinimalHasNoGatewayAndEmptyHasNothing) {
  for (const std::string& name : Names(All(Resolve("spec: {profile: minimal}"))))
    EXPECT_THAT(name, Not(HasSubstr("gateway-service-account")));
  EXPECT_TRUE(All(Resolve("spec: {profile: empty}")).empty());
}

TEST(RenderTest, MultiClusterValuesReachIstiodAndProxies) {
  std::vector<Json> objects = All(Resolve(R"(
spec:
  profile: demo
  values:
    global: {meshID: mesh1, multiCluster: {clusterName: cluster1}, network: network1}
)"));
  EXPECT_EQ(EnvOf(Object(objects, "Deployment", "istiod"), "CLUSTER_ID"), "cluster1");
  Json ingress = Object(objects, "Deployment", "istio-ingressgateway");
  EXPECT_EQ(EnvOf(ingress, "ISTIO_META_CLUSTER_ID"), "cluster1");
  EXPECT_EQ(EnvOf(ingress, "ISTIO_META_NETWORK"), "network1");
  EXPECT_EQ(EnvOf(ingress, "ISTIO_META_MESH_ID"), "mesh1");
  auto mesh = kubeapi::ParseYaml(StringAt(Object(objects, "ConfigMap", "istio"), {"data", "mesh"}));
  ASSERT_TRUE(mesh.ok());
  EXPECT_EQ(StringAt(*mesh, {"defaultConfig", "meshId"}), "mesh1");
  EXPECT_EQ(StringAt(*mesh, {"defaultConfig", "discoveryAddress"}),
            "istiod.istio-system.svc:15012");
  EXPECT_EQ(StringAt(*mesh, {"accessLogFile"}), "/dev/stdout");
  auto values = kubeapi::ParseJson(
      StringAt(Object(objects, "ConfigMap", "istio-sidecar-injector"), {"data", "values"}));
  ASSERT_TRUE(values.ok());
  EXPECT_EQ(StringAt(*values, {"global", "network"}), "network1");
}

TEST(RenderTest, EastWestGatewayIsInjectedAndCarriesTheNetwork) {
  std::vector<Json> objects = All(Resolve(R"(
metadata: {name: eastwest}
spec:
  profile: empty
  components:
    ingressGateways:
      - name: istio-eastwestgateway
        label: {istio: eastwestgateway, app: istio-eastwestgateway, topology.istio.io/network: network1}
        enabled: true
        k8s:
          env: [{name: ISTIO_META_REQUESTED_NETWORK_VIEW, value: network1}]
          service:
            ports:
              - {name: status-port, port: 15021, targetPort: 15021}
              - {name: tls, port: 15443, targetPort: 15443}
  values:
    gateways: {istio-ingressgateway: {injectionTemplate: gateway}}
    global: {network: network1}
)"));
  EXPECT_EQ(
      Names(objects),
      (std::set<std::string>{
          "ServiceAccount/istio-eastwestgateway-service-account", "Role/istio-eastwestgateway-sds",
          "RoleBinding/istio-eastwestgateway-sds", "Service/istio-eastwestgateway",
          "Deployment/istio-eastwestgateway", "HorizontalPodAutoscaler/istio-eastwestgateway"}));
  Json deployment = Object(objects, "Deployment", "istio-eastwestgateway");
  EXPECT_EQ(deployment["spec"]["template"]["spec"]["containers"][0]["image"], "auto");
  EXPECT_EQ(StringAt(deployment,
                     {"spec", "template", "metadata", "annotations", "inject.istio.io/templates"}),
            "gateway");
  EXPECT_EQ(
      StringAt(deployment, {"spec", "template", "metadata", "labels", "topology.istio.io/network"}),
      "network1");
  EXPECT_EQ(EnvOf(deployment, "ISTIO_META_REQUESTED_NETWORK_VIEW"), "network1");
  Json service = Object(objects, "Service", "istio-eastwestgateway");
  EXPECT_EQ(StringAt(service, {"metadata", "labels", "topology.istio.io/network"}), "network1");
  EXPECT_EQ(service["spec"]["ports"].size(), 2u);
  EXPECT_EQ(StringAt(service, {"metadata", "labels", "install.operator.istio.io/owning-resource"}),
            "eastwest");
}

TEST(RenderTest, OtherControlPlanesCanStandInForAPrimary) {
  std::vector<Json> objects = All(Resolve(R"(
spec:
  values:
    global: {multiCluster: {clusterName: cluster1}, network: network1}
)"));
  // Whoever is asked for injection learns whose pod it is.
  Json webhook = Object(objects, "MutatingWebhookConfiguration", "istio-sidecar-injector");
  EXPECT_EQ(StringAt(webhook["webhooks"][0], {"clientConfig", "service", "path"}),
            "/inject/cluster/cluster1/net/network1");
  // Who holds the remote secret may add its address to the Service istiod, and nowhere else.
  Json role = Object(objects, "Role", "istio-reader-standby");
  EXPECT_EQ(role["metadata"]["namespace"], "istio-system");
  EXPECT_EQ(role["rules"][0]["resources"], Json({"endpointslices"}));
  Json binding = Object(objects, "RoleBinding", "istio-reader-standby");
  EXPECT_EQ(binding["subjects"][0]["name"], "istio-reader-service-account");
}

TEST(RenderTest, RemoteProfileLeadsToThePrimary) {
  std::vector<Json> objects = All(Resolve(R"(
spec:
  profile: remote
  values:
    istiodRemote: {injectionPath: /inject/cluster/cluster2/net/network2}
    global: {remotePilotAddress: 192.168.229.100, multiCluster: {clusterName: cluster2}, network: network2}
)"));
  EXPECT_THAT(Names(objects), Not(Contains("Deployment/istiod")));
  Json slice = Object(objects, "EndpointSlice", "istiod");
  EXPECT_EQ(slice["endpoints"][0]["addresses"][0], "192.168.229.100");
  Json webhook = Object(objects, "MutatingWebhookConfiguration", "istio-sidecar-injector");
  EXPECT_EQ(StringAt(webhook["webhooks"][0], {"clientConfig", "service", "path"}),
            "/inject/cluster/cluster2/net/network2");
}

TEST(RenderTest, DemoWithRemotePilotAddressKeepsALocalInjector) {
  std::vector<Json> objects = All(Resolve(R"(
spec:
  profile: demo
  values: {global: {remotePilotAddress: 192.168.229.100, multiCluster: {clusterName: cluster2}}}
)"));
  EXPECT_THAT(Names(objects),
              IsSupersetOf({"Deployment/istiod", "Service/istiod", "Service/istiod-remote",
                            "EndpointSlice/istiod-remote"}));
  auto mesh = kubeapi::ParseYaml(StringAt(Object(objects, "ConfigMap", "istio"), {"data", "mesh"}));
  ASSERT_TRUE(mesh.ok());
  EXPECT_EQ(StringAt(*mesh, {"defaultConfig", "discoveryAddress"}),
            "istiod-remote.istio-system.svc:15012");
}

TEST(RenderTest, RemoteProfileWithoutInjectionPathIsTheOldFormWithALocalIstiod) {
  Installation installation = Resolve(R"(
spec:
  profile: remote
  values: {global: {remotePilotAddress: 10.96.1.2, multiCluster: {clusterName: cluster2}}}
)");
  EXPECT_THAT(installation.warnings, Contains(HasSubstr("injectionPath")));
  EXPECT_THAT(Names(All(installation)), IsSupersetOf({"Deployment/istiod", "Service/istiod-remote",
                                                      "Deployment/istio-ingressgateway"}));
}

TEST(RenderTest, TheValuesFileOfRelease14IsUnderstood) {
  const std::string file = std::string(ISTHMUS_SOURCE_DIR) +
                           "/install/kubernetes/operator/examples/multicluster/"
                           "values-istio-multicluster-primary.yaml";
  auto text = base::ReadFile(file);
  ASSERT_TRUE(text.ok()) << text.status().message();
  OperatorInput input;
  input.files.push_back({file, *text});
  auto installation = ResolveInstallation(input);
  ASSERT_TRUE(installation.ok()) << installation.status().message();
  std::vector<Json> objects = All(*installation);
  EXPECT_THAT(Names(objects), Contains("Gateway/meshexpansion-gateway"));
  Json config = Object(objects, "ConfigMap", "istio");
  EXPECT_THAT(StringAt(config, {"data", "mesh"}), HasSubstr("accessLogFile: /dev/stdout"));
  EXPECT_THAT(StringAt(config, {"data", "meshNetworks"}), HasSubstr("n2-k8s-config"));
  int networks = 0;
  Json gateway = Object(objects, "Deployment", "istio-ingressgateway");
  for (const Json& one : gateway["spec"]["template"]["spec"]["containers"][0]["env"])
    networks += one["name"] == "ISTIO_META_NETWORK";
  EXPECT_EQ(networks, 1);
}

/// After a change of the definitions: istioctl manifest generate, and keep those of this kind.
TEST(RenderTest, TheFileOfDefinitionsIsWhatIsBuiltIn) {
  const std::string file =
      std::string(ISTHMUS_SOURCE_DIR) + "/manifests/charts/base/crds/crd-all.gen.yaml";
  auto text = base::ReadFile(file);
  ASSERT_TRUE(text.ok()) << text.status().message();
  auto written = kubeapi::ParseYamlStream(*text);
  ASSERT_TRUE(written.ok()) << written.status().message();
  std::map<std::string, Json> specs;
  for (const Json& one : *written) specs[kubeapi::NameOf(one)] = one["spec"];
  size_t definitions = 0;
  for (const Json& object : All(Resolve("spec: {}"))) {
    if (object["kind"] != "CustomResourceDefinition") continue;
    ++definitions;
    EXPECT_EQ(specs[kubeapi::NameOf(object)], object["spec"]) << kubeapi::NameOf(object);
  }
  EXPECT_EQ(specs.size(), definitions);
}

TEST(RenderTest, MeshExpansionLeadsThroughTheIngressGatewayToIstiod) {
  std::vector<Json> objects =
      All(Resolve("spec: {values: {global: {meshExpansion: {enabled: true}}}}"));
  EXPECT_EQ(Object(objects, "Service", "istio-ingressgateway")["spec"]["ports"].size(), 5u);
  Json gateway = Object(objects, "Gateway", "meshexpansion-gateway");
  EXPECT_EQ(gateway["spec"]["servers"][0]["port"]["number"], 15012);
  EXPECT_THAT(Names(All(Resolve("spec: {}"))), Not(Contains("Gateway/meshexpansion-gateway")));
}

TEST(RenderTest, HostNameAddressBecomesAnExternalName) {
  std::vector<Json> objects = All(
      Resolve("spec: {profile: remote, values: {global: {remotePilotAddress: pilot.example}}}"));
  EXPECT_EQ(StringAt(Object(objects, "Service", "istiod"), {"spec", "externalName"}),
            "pilot.example");
}

TEST(RenderTest, RevisionRenamesTheControlPlane) {
  std::vector<Json> objects = All(Resolve("spec: {revision: canary}"));
  EXPECT_THAT(
      Names(objects),
      IsSupersetOf({"Deployment/istiod-canary", "Service/istiod-canary", "ConfigMap/istio-canary",
                    "MutatingWebhookConfiguration/istio-sidecar-injector-canary"}));
  EXPECT_EQ(
      Object(objects, "MutatingWebhookConfiguration", "istio-sidecar-injector-canary")["webhooks"]
          .size(),
      2u);
}

TEST(RenderTest, KubernetesOverridesAndOverlaysReachTheObjects) {
  std::vector<Json> objects = All(Resolve(R"(
spec:
  profile: minimal
  components:
    pilot:
      k8s:
        replicaCount: 2
        env: [{name: CLUSTER_ID, value: other}, {name: EXTRA, value: "1"}]
        overlays:
          - kind: Deployment
            name: istiod
            patches: [{path: 'spec.template.spec.containers.[name:discovery].args[0]', value: run}]
)"));
  Json istiod = Object(objects, "Deployment", "istiod");
  EXPECT_EQ(istiod["spec"]["replicas"], 2);
  EXPECT_EQ(EnvOf(istiod, "CLUSTER_ID"), "other");
  EXPECT_EQ(EnvOf(istiod, "EXTRA"), "1");
  EXPECT_EQ(istiod["spec"]["template"]["spec"]["containers"][0]["args"][0], "run");
}

TEST(RenderTest, AGatewayThatCannotOpenItsPortIsRefused) {
  Installation installation = Resolve(R"(
spec:
  components:
    ingressGateways:
      - {name: gw, enabled: true, k8s: {service: {ports: [{name: http, port: 80}]}}}
)");
  auto components = Render(installation);
  ASSERT_FALSE(components.ok());
  EXPECT_THAT(components.status().message(), HasSubstr("port 80"));
  EXPECT_THAT(components.status().message(), HasSubstr("targetPort"));
}

TEST(ResolveInstallationTest, UnknownFieldsAreNamed) {
  OperatorInput input;
  input.files.push_back({"c1.yaml",
                         "apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\n"
                         "spec: {values: {global: {netwrok: n}}, profil: demo}"});
  auto result = ResolveInstallation(input);
  ASSERT_FALSE(result.ok());
  EXPECT_THAT(result.status().message(), HasSubstr("spec.values.global.netwrok"));
  EXPECT_THAT(result.status().message(), HasSubstr("spec.profil"));
  input.force = true;
  EXPECT_TRUE(ResolveInstallation(input).ok());
}

TEST(ResolveInstallationTest, RefusesWhatIsNoIstioOperator) {
  for (const char* text :
       {"", "kind: Pod\napiVersion: v1", "- a", "kind: IstioOperator\napiVersion: v1", "a: [",
        "kind: IstioOperator\napiVersion: install.istio.io/v1alpha1\nspec: 3"}) {
    OperatorInput input;
    input.files.push_back({"bad.yaml", text});
    auto result = ResolveInstallation(input);
    ASSERT_FALSE(result.ok()) << text;
    EXPECT_THAT(result.status().message(), HasSubstr("bad.yaml")) << text;
  }
}

TEST(ResolveInstallationTest, UnknownProfileListsTheKnownOnes) {
  OperatorInput input;
  input.sets = {"profile=deom"};
  auto result = ResolveInstallation(input);
  ASSERT_FALSE(result.ok());
  EXPECT_THAT(result.status().message(), HasSubstr("demo"));
}

TEST(ResolveInstallationTest, LaterFilesAndFlagsWin) {
  OperatorInput input;
  input.files = {
      {"a",
       "apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nspec: {hub: one, profile: "
       "minimal}"},
      {"b", "apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nspec: {hub: two}"}};
  input.sets = {"values.global.tag=9.9"};
  auto result = ResolveInstallation(input);
  ASSERT_TRUE(result.ok()) << result.status().message();
  EXPECT_EQ(StringAt(result->values, {"global", "hub"}), "two");
  EXPECT_EQ(StringAt(result->values, {"global", "tag"}), "9.9");
  EXPECT_EQ(result->profile, "minimal");
}

}  // namespace
}  // namespace isthmus::install
