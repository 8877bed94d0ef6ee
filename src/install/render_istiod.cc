#include "install/render_parts.h"

#include "config/crds.h"

namespace isthmus::install {
namespace {

using kubeapi::BoolAt;
using kubeapi::Find;
using kubeapi::IntAt;
using kubeapi::StringAt;

// What was last read of other clusters; it outlives restarts of the container.
constexpr char kStateFolder[] = "/var/lib/isthmus/state";
constexpr std::string_view kRbac = "rbac.authorization.k8s.io/v1";

Json IstiodEnv(const Installation& installation) {
  const Json& values = installation.values;
  std::string cluster = StringAt(values, {"global", "multiCluster", "clusterName"});
  Json env = {
      Env("REVISION", installation.revision.empty() ? "default" : installation.revision),
      Env("PILOT_CERT_PROVIDER", StringAt(values, {"global", "pilotCertProvider"})),
      FieldEnv("POD_NAME", "metadata.name"),
      FieldEnv("POD_NAMESPACE", "metadata.namespace"),
      FieldEnv("SERVICE_ACCOUNT", "spec.serviceAccountName"),
      Env("KUBECONFIG", "/var/run/secrets/remote/config"),
      Env("ISTHMUS_STATE_DIR", kStateFolder),
      Env("CA_TRUSTED_NODE_ACCOUNTS", installation.ns + "/ztunnel"),
      Env("PILOT_TRACE_SAMPLING", Text(values["pilot"]["traceSampling"])),
      Env("PILOT_ENABLE_ANALYSIS",
          BoolAt(values, {"global", "istiod", "enableAnalysis"}) ? "true" : "false"),
      Env("CLUSTER_ID", cluster.empty() ? "Kubernetes" : cluster),
      Env("PLATFORM", StringAt(values, {"global", "platform"})),
  };
  const Json& more = values["pilot"]["env"];
  if (BoolAt(values, {"global", "externalIstiod"}) && !more.contains("EXTERNAL_ISTIOD"))
    env.push_back(Env("EXTERNAL_ISTIOD", "true"));
  for (const auto& [name, value] : more.items()) env.push_back(Env(name, Text(value)));
  return env;
}

Json IstiodVolumes() {
  Json token = {
      {"serviceAccountToken",
       {{"audience", "istio-ca"}, {"expirationSeconds", 43200}, {"path", "istio-token"}}}};
  return {
      {{"name", "local-certs"}, {"emptyDir", {{"medium", "Memory"}}}},
      {{"name", "state"}, {"emptyDir", Json::object()}},
      {{"name", "istio-token"}, {"projected", {{"sources", {token}}}}},
      {{"name", "cacerts"}, {"secret", {{"secretName", "cacerts"}, {"optional", true}}}},
      {{"name", "istio-kubeconfig"},
       {"secret", {{"secretName", "istio-kubeconfig"}, {"optional", true}}}},
      {{"name", "istio-csr-dns-cert"},
       {"secret", {{"secretName", "istiod-tls"}, {"optional", true}}}},
      {{"name", "istio-csr-ca-configmap"},
       {"configMap", {{"name", "istio-ca-root-cert"}, {"defaultMode", 420}, {"optional", true}}}}};
}

Json IstiodMounts() {
  auto mount = [](std::string_view name, std::string_view path, bool read_only) {
    Json mount = {{"name", name}, {"mountPath", path}};
    if (read_only) mount["readOnly"] = true;
    return mount;
  };
  return {mount("istio-token", "/var/run/secrets/tokens", true),
          mount("local-certs", "/var/run/secrets/istio-dns", false),
          mount("state", kStateFolder, false),
          mount("cacerts", "/etc/cacerts", true),
          mount("istio-kubeconfig", "/var/run/secrets/remote", true),
          mount("istio-csr-dns-cert", "/var/run/secrets/istiod/tls", true),
          mount("istio-csr-ca-configmap", "/var/run/secrets/istiod/ca", true)};
}

Json Port(std::string_view name, int number) {
  return {{"name", name}, {"containerPort", number}, {"protocol", "TCP"}};
}

Json IstiodContainer(const Installation& installation) {
  const Json& values = installation.values;
  Json args = {"discovery",
               "--monitoringAddr=:15014",
               "--log_output_level=" + StringAt(values, {"global", "logging", "level"}),
               "--domain",
               StringAt(values, {"global", "proxy", "clusterDomain"}),
               "--keepaliveMaxServerConnectionAge",
               StringAt(values, {"pilot", "keepaliveMaxServerConnectionAge"})};
  if (BoolAt(values, {"global", "logAsJson"})) args.push_back("--log_as_json");
  for (const Json& more : values["pilot"]["extraContainerArgs"]) args.push_back(more);
  Json pilot = values["pilot"];
  Json container = {
      {"name", "discovery"},
      {"image", ImageName(installation, StringAt(values, {"pilot", "image"}), &pilot)},
      {"args", std::move(args)},
      {"ports",
       {Port("http-debug", 8080), Port("grpc-xds", 15010), Port("tls-xds", 15012),
        Port("https-webhooks", 15017), Port("http-monitoring", 15014)}},
      {"readinessProbe",
       {{"httpGet", {{"path", "/ready"}, {"port", 8080}}},
        {"initialDelaySeconds", 1},
        {"periodSeconds", 3},
        {"timeoutSeconds", 5}}},
      {"env", IstiodEnv(installation)},
      {"resources", values["pilot"]["resources"]},
      {"securityContext",
       {{"allowPrivilegeEscalation", false},
        {"readOnlyRootFilesystem", true},
        {"runAsNonRoot", true},
        {"capabilities", {{"drop", {"ALL"}}}}}},
      {"volumeMounts", IstiodMounts()}};
  if (std::string policy = StringAt(values, {"global", "imagePullPolicy"}); !policy.empty())
    container["imagePullPolicy"] = policy;
  return container;
}

Json IstiodSelector(const Installation& installation) {
  if (installation.revision.empty()) return {{"istio", "pilot"}};
  return {{"app", "istiod"}, {"istio.io/rev", installation.revision}};
}

Json IstiodDeployment(const Installation& installation) {
  const Json& values = installation.values;
  Json deployment =
      NewObject(installation, "apps/v1", "Deployment", "istiod" + Suffix(installation), true);
  Json labels = {{"app", "istiod"}, {"istio", "pilot"}};
  deployment["metadata"]["labels"].update(labels);
  Json pod_labels = {
      {"app", "istiod"},
      {"istio", installation.revision.empty() ? "pilot" : "istiod"},
      {"istio.io/rev", installation.revision.empty() ? "default" : installation.revision},
      {"istio.io/dataplane-mode", "none"},
      {"sidecar.istio.io/inject", "false"},
      {"operator.istio.io/component", "Pilot"}};
  pod_labels.update(values["pilot"]["podLabels"]);
  Json annotations = {{"prometheus.io/port", "15014"},
                      {"prometheus.io/scrape", "true"},
                      {"sidecar.istio.io/inject", "false"}};
  annotations.update(values["pilot"]["podAnnotations"]);
  Json tolerations = {{{"key", "cni.istio.io/not-ready"}, {"operator", "Exists"}}};
  for (const Json& more : values["pilot"]["tolerations"]) tolerations.push_back(more);
  Json pod = {{"serviceAccountName", "istiod" + Suffix(installation)},
              {"tolerations", std::move(tolerations)},
              {"securityContext", {{"fsGroup", 1337}}},
              {"containers", {IstiodContainer(installation)}},
              {"volumes", IstiodVolumes()}};
  if (!values["pilot"]["nodeSelector"].empty())
    pod["nodeSelector"] = values["pilot"]["nodeSelector"];
  deployment["spec"] = {
      {"strategy",
       {{"rollingUpdate",
         {{"maxSurge", values["pilot"]["rollingMaxSurge"]},
          {"maxUnavailable", values["pilot"]["rollingMaxUnavailable"]}}}}},
      {"selector", {{"matchLabels", IstiodSelector(installation)}}},
      {"template",
       {{"metadata", {{"labels", pod_labels}, {"annotations", annotations}}}, {"spec", pod}}}};
  if (!BoolAt(values, {"pilot", "autoscaleEnabled"}))
    deployment["spec"]["replicas"] = values["pilot"]["replicaCount"];
  return deployment;
}

Json IstiodService(const Installation& installation) {
  Json service = NewObject(installation, "v1", "Service", "istiod" + Suffix(installation), true);
  service["metadata"]["labels"].update(Json{{"app", "istiod"}, {"istio", "pilot"}});
  Json selector = {{"app", "istiod"}};
  if (installation.revision.empty()) {
    selector["istio"] = "pilot";
  } else {
    selector["istio.io/rev"] = installation.revision;
  }
  service["spec"] = {
      {"selector", selector},
      {"ports",
       {{{"name", "grpc-xds"}, {"port", 15010}, {"protocol", "TCP"}},
        {{"name", "https-dns"}, {"port", 15012}, {"protocol", "TCP"}},
        {{"name", "https-webhook"}, {"port", 443}, {"targetPort", 15017}, {"protocol", "TCP"}},
        {{"name", "http-monitoring"}, {"port", 15014}, {"protocol", "TCP"}}}}};
  return service;
}

/// The mesh settings as ConfigMap istio carries them.
Json MeshConfig(const Installation& installation) {
  const Json& values = installation.values;
  std::string ns = installation.ns;
  std::string host = installation.local_injector() ? "istiod" + Suffix(installation) + "-remote"
                                                   : "istiod" + Suffix(installation);
  Json mesh = {{"defaultConfig", {{"discoveryAddress", host + "." + ns + ".svc:15012"}}},
               {"defaultProviders", {{"metrics", {"prometheus"}}}},
               {"enablePrometheusMerge", true},
               {"rootNamespace", ns},
               {"trustDomain", "cluster.local"}};
  if (std::string id = StringAt(values, {"global", "meshID"}); !id.empty())
    mesh["defaultConfig"]["meshId"] = id;
  Overlay(mesh, installation.mesh_config);
  return mesh;
}

Json MeshNetworks(const Json& values) {
  for (auto path : {std::initializer_list<std::string_view>{"global", "meshNetworks"},
                    {"pilot", "meshNetworks"}}) {
    const Json* networks = Find(values, path);
    if (networks == nullptr || !networks->is_object() || networks->empty()) continue;
    return networks->contains("networks") ? *networks : Json{{"networks", *networks}};
  }
  return {{"networks", Json::object()}};
}

Json InjectorValues(const Installation& installation) {
  const Json& values = installation.values;
  Json pilot = {{"cni", values["pilot"]["cni"]}, {"env", values["pilot"]["env"]}};
  Json gateways = {{"securityContext", values["gateways"]["securityContext"]},
                   {"seccompProfile", values["gateways"]["seccompProfile"]}};
  return {{"gateways", gateways},
          {"global", values["global"]},
          {"pilot", pilot},
          {"revision", installation.revision},
          {"sidecarInjectorWebhook", values["sidecarInjectorWebhook"]}};
}

}  // namespace

std::vector<Json> RenderDefinitions(const Installation& installation) {
  std::vector<Json> crds = config::Crds();
  for (Json& crd : crds) crd["metadata"]["annotations"]["helm.sh/resource-policy"] = "keep";
  return crds;
}

std::vector<Json> RenderIstiodAccess(const Installation& installation) {
  const std::string ns = installation.ns;
  const std::string suffix = Suffix(installation);
  const std::string account = "istiod" + suffix;
  const std::string cluster_role = "istiod-clusterrole" + suffix + "-" + ns;
  const std::string gateway_role = "istiod-gateway-controller" + suffix + "-" + ns;
  Json rules = RbacRules("istiod");
  std::string provider = StringAt(installation.values, {"global", "pilotCertProvider"});
  if (installation.values["pilot"]["env"].contains("EXTERNAL_CA") ||
      (provider != "istiod" && provider != "custom" && provider != "none")) {
    Json csr = RbacRules("istiodCsr");
    for (const Json& signer : installation.values["global"]["certSigners"])
      csr[1]["resourceNames"].push_back(signer);
    // The signer that istiod asks by default needs no second mention.
    const std::string by_default = StringAt(installation.values, {"pilot", "env", "K8S_SIGNER"});
    if (!by_default.empty()) csr[1]["resourceNames"].push_back(by_default);
    for (const Json& rule : csr) rules.push_back(rule);
  }
  std::vector<Json> objects = {
      NewObject(installation, "v1", "ServiceAccount", account, true),
      Role(NewObject(installation, kRbac, "Role", account, true), RbacRules("istiodLocal")),
      Binding(NewObject(installation, kRbac, "RoleBinding", account, true), "Role", account,
              account, ns),
      Role(NewObject(installation, kRbac, "ClusterRole", cluster_role, false), std::move(rules)),
      Binding(NewObject(installation, kRbac, "ClusterRoleBinding", cluster_role, false),
              "ClusterRole", cluster_role, account, ns),
      Role(NewObject(installation, kRbac, "ClusterRole", gateway_role, false),
           RbacRules("gatewayController")),
      Binding(NewObject(installation, kRbac, "ClusterRoleBinding", gateway_role, false),
              "ClusterRole", gateway_role, account, ns)};
  for (Json& object : objects) object["metadata"]["labels"]["app"] = "istiod";
  return objects;
}

std::vector<Json> RenderConfigMaps(const Installation& installation) {
  std::vector<Json> objects;
  if (BoolAt(installation.values, {"pilot", "configMap"}, true)) {
    Json mesh = NewObject(installation, "v1", "ConfigMap", "istio" + Suffix(installation), true);
    mesh["data"] = {{"mesh", kubeapi::ToYaml(MeshConfig(installation))},
                    {"meshNetworks", kubeapi::ToYaml(MeshNetworks(installation.values))}};
    objects.push_back(std::move(mesh));
  }
  if (!BoolAt(installation.values, {"global", "omitSidecarInjectorConfigMap"}) ||
      installation.local_injector()) {
    const Json& webhook = installation.values["sidecarInjectorWebhook"];
    Json defaults = webhook["defaultTemplates"];
    if (defaults.empty()) defaults = {"sidecar"};
    Json config = {{"policy", StringAt(installation.values, {"global", "proxy", "autoInject"})},
                   {"defaultTemplates", defaults},
                   {"alwaysInjectSelector", webhook["alwaysInjectSelector"]},
                   {"neverInjectSelector", webhook["neverInjectSelector"]},
                   {"injectedAnnotations", webhook["injectedAnnotations"]}};
    Json injector = NewObject(installation, "v1", "ConfigMap",
                              "istio-sidecar-injector" + Suffix(installation), true);
    injector["data"] = {{"config", kubeapi::ToYaml(config)},
                        {"values", kubeapi::ToJson(InjectorValues(installation), 2)}};
    objects.push_back(std::move(injector));
  }
  Json values = NewObject(installation, "v1", "ConfigMap", "values" + Suffix(installation), true);
  values["data"] = {{"merged-values", kubeapi::ToJson(installation.values, 2)}};
  objects.push_back(std::move(values));
  return objects;
}

base::Result<std::vector<Json>> RenderIstiod(const Installation& installation) {
  const Json& pilot = installation.values["pilot"];
  std::vector<Json> objects = {IstiodDeployment(installation), IstiodService(installation)};
  const std::string name = "istiod" + Suffix(installation);
  if (BoolAt(pilot, {"autoscaleEnabled"})) {
    Json hpa = NewObject(installation, "autoscaling/v2", "HorizontalPodAutoscaler", name, true);
    hpa["spec"] = {
        {"minReplicas", pilot["autoscaleMin"]},
        {"maxReplicas", pilot["autoscaleMax"]},
        {"scaleTargetRef", {{"apiVersion", "apps/v1"}, {"kind", "Deployment"}, {"name", name}}},
        {"metrics",
         {{{"type", "Resource"},
           {"resource",
            {{"name", "cpu"},
             {"target",
              {{"type", "Utilization"},
               {"averageUtilization", pilot["cpu"]["targetAverageUtilization"]}}}}}}}}};
    objects.push_back(std::move(hpa));
  }
  if (IntAt(pilot, {BoolAt(pilot, {"autoscaleEnabled"}) ? "autoscaleMin" : "replicaCount"}) > 1) {
    Json pdb = NewObject(installation, "policy/v1", "PodDisruptionBudget", name, true);
    pdb["spec"] = {{"minAvailable", 1},
                   {"selector", {{"matchLabels", IstiodSelector(installation)}}}};
    objects.push_back(std::move(pdb));
  }
  if (const Json* k8s = Find(installation.spec, {"components", "pilot", "k8s"}))
    RETURN_IF_ERROR(ApplyKubernetesOverrides(*k8s, "discovery", objects), "k8s");
  return objects;
}

std::vector<Json> RenderRemoteDiscovery(const Installation& installation) {
  std::string address = StringAt(installation.values, {"global", "remotePilotAddress"});
  if (address.empty()) return {};
  std::string name =
      "istiod" + Suffix(installation) + (installation.local_injector() ? "-remote" : "");
  Json service = NewObject(installation, "v1", "Service", name, true);
  service["metadata"]["labels"].update(Json{{"app", "istiod"}, {"istio", "istiod"}});
  Json ports = {
      {{"name", "tcp-istiod"}, {"port", 15012}, {"protocol", "TCP"}},
      {{"name", "tcp-webhook"}, {"port", 443}, {"targetPort", 15017}, {"protocol", "TCP"}}};
  bool ip = address.find_first_not_of("0123456789.") == std::string::npos ||
            address.find(':') != std::string::npos;
  if (!ip) {
    service["spec"] = {{"type", "ExternalName"}, {"externalName", address}, {"ports", ports}};
    return {service};
  }
  service["spec"] = {{"ports", ports}};
  Json slice = NewObject(installation, "discovery.k8s.io/v1", "EndpointSlice", name, true);
  slice["metadata"]["labels"]["kubernetes.io/service-name"] = name;
  slice["addressType"] = address.find(':') == std::string::npos ? "IPv4" : "IPv6";
  slice["endpoints"] = {{{"addresses", {address}}, {"conditions", {{"ready", true}}}}};
  slice["ports"] = {{{"name", "tcp-istiod"}, {"port", 15012}, {"protocol", "TCP"}},
                    {{"name", "tcp-webhook"}, {"port", 15017}, {"protocol", "TCP"}}};
  return {service, slice};
}

}  // namespace isthmus::install
