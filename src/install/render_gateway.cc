#include <set>
#include <utility>

#include "install/render_parts.h"

namespace isthmus::install {
namespace {

using kubeapi::BoolAt;
using kubeapi::Find;
using kubeapi::IntAt;
using kubeapi::StringAt;

/// What one gateway is made from: the component's element, its values, and the names that follow.
struct Gateway {
  std::string name;
  std::string ns;
  std::string account;
  Json component;
  Json values;
  Json labels;                           ///< app, istio and the user's; also the selector.
  Json expansion_ports = Json::array();  ///< Those that lead to istiod, if this gateway does.
  bool injected = false;
};

base::Result<Gateway> Resolve(const Installation& installation, const Json& component,
                              bool ingress) {
  Gateway gateway;
  gateway.component = component;
  gateway.name = StringAt(component, {"name"});
  if (gateway.name.empty())
    return base::Error(base::Code::kInvalidArgument,
                       "a gateway has no name; give it one, such as {}",
                       ingress ? "istio-ingressgateway" : "istio-egressgateway");
  gateway.ns = StringAt(component, {"namespace"});
  if (gateway.ns.empty()) gateway.ns = installation.ns;
  gateway.account = gateway.name + "-service-account";
  const char* chart = ingress ? "istio-ingressgateway" : "istio-egressgateway";
  gateway.values = installation.values["gateways"][chart];
  gateway.injected = !StringAt(gateway.values, {"injectionTemplate"}).empty();
  gateway.labels = {{"app", chart}, {"istio", ingress ? "ingressgateway" : "egressgateway"}};
  gateway.labels.update(gateway.values["labels"]);
  if (const Json* own = Find(component, {"label"}); own != nullptr && own->is_object())
    gateway.labels.update(*own);
  if (ingress && gateway.name == "istio-ingressgateway" && ExpandsMesh(installation))
    for (const auto& [name, number] :
         {std::pair("tls-istiod", 15012), std::pair("tls-webhook", 15017)})
      gateway.expansion_ports.push_back({{"name", name}, {"port", number}, {"targetPort", number}});
  return gateway;
}

Json Object(const Installation& installation, const Gateway& gateway, std::string_view api_version,
            std::string_view kind, const std::string& name) {
  Json object = NewObject(installation, api_version, kind, name, true);
  object["metadata"]["namespace"] = gateway.ns;
  object["metadata"]["labels"].update(gateway.labels);
  return object;
}

/// The service's ports: those of the component win over those of the values.
Json ServicePorts(const Gateway& gateway) {
  const Json* ports = Find(gateway.component, {"k8s", "service", "ports"});
  Json result = ports != nullptr && ports->is_array() ? *ports : gateway.values["ports"];
  for (const Json& more : gateway.expansion_ports) result.push_back(more);
  for (Json& port : result)
    if (!port.contains("protocol")) port["protocol"] = "TCP";
  return result;
}

base::Status CheckPorts(const Gateway& gateway) {
  if (BoolAt(gateway.values, {"runAsRoot"})) return {};
  for (const Json& port : ServicePorts(gateway)) {
    int64_t number = IntAt(port, {"port"});
    int64_t target = IntAt(port, {"targetPort"}, number);
    if (target < 1024)
      return base::Error(base::Code::kInvalidArgument,
                         "{}: port {} leads to {}, and a gateway that does not run as root cannot "
                         "open a port below "
                         "1024; set targetPort",
                         gateway.name, number, target);
  }
  return {};
}

Json Volumes(const Gateway& gateway) {
  Json token = {
      {"serviceAccountToken",
       {{"audience", "istio-ca"}, {"expirationSeconds", 43200}, {"path", "istio-token"}}}};
  Json items = {{{"path", "labels"}, {"fieldRef", {{"fieldPath", "metadata.labels"}}}},
                {{"path", "annotations"}, {"fieldRef", {{"fieldPath", "metadata.annotations"}}}}};
  auto empty = [](std::string_view name) {
    return Json{{"name", name}, {"emptyDir", Json::object()}};
  };
  return {empty("workload-socket"),
          empty("credential-socket"),
          empty("workload-certs"),
          {{"name", "istiod-ca-cert"}, {"configMap", {{"name", "istio-ca-root-cert"}}}},
          {{"name", "podinfo"}, {"downwardAPI", {{"items", std::move(items)}}}},
          empty("istio-envoy"),
          empty("istio-data"),
          {{"name", "istio-token"}, {"projected", {{"sources", {std::move(token)}}}}},
          {{"name", "config-volume"}, {"configMap", {{"name", "istio"}, {"optional", true}}}},
          {{"name", "ingressgateway-certs"},
           {"secret", {{"secretName", gateway.name + "-certs"}, {"optional", true}}}},
          {{"name", "ingressgateway-ca-certs"},
           {"secret", {{"secretName", gateway.name + "-ca-certs"}, {"optional", true}}}}};
}

Json Mounts() {
  auto mount = [](std::string_view name, std::string_view path, bool read_only) {
    Json result = {{"name", name}, {"mountPath", path}};
    if (read_only) result["readOnly"] = true;
    return result;
  };
  return {mount("workload-socket", "/var/run/secrets/workload-spiffe-uds", false),
          mount("credential-socket", "/var/run/secrets/credential-uds", false),
          mount("workload-certs", "/var/run/secrets/workload-spiffe-credentials", false),
          mount("istio-envoy", "/etc/istio/proxy", false),
          mount("config-volume", "/etc/istio/config", false),
          mount("istiod-ca-cert", "/var/run/secrets/istio", false),
          mount("istio-token", "/var/run/secrets/tokens", true),
          mount("istio-data", "/var/lib/istio/data", false),
          mount("podinfo", "/etc/istio/pod", false),
          mount("ingressgateway-certs", "/etc/istio/ingressgateway-certs", true),
          mount("ingressgateway-ca-certs", "/etc/istio/ingressgateway-ca-certs", true)};
}

Json ContainerEnv(const Installation& installation, const Gateway& gateway) {
  const Json& values = installation.values;
  std::string cluster = StringAt(values, {"global", "multiCluster", "clusterName"});
  std::string network = StringAt(values, {"global", "network"});
  std::string ca = StringAt(values, {"global", "caAddress"});
  std::string domain = StringAt(installation.mesh_config, {"trustDomain"});
  std::string mesh = StringAt(values, {"global", "meshID"});
  if (domain.empty()) domain = "cluster.local";
  Json env = {
      Env("PILOT_CERT_PROVIDER", StringAt(values, {"global", "pilotCertProvider"})),
      Env("CA_ADDR",
          ca.empty() ? "istiod" + Suffix(installation) + "." + installation.ns + ".svc:15012" : ca),
      FieldEnv("NODE_NAME", "spec.nodeName"),
      FieldEnv("POD_NAME", "metadata.name"),
      FieldEnv("POD_NAMESPACE", "metadata.namespace"),
      FieldEnv("INSTANCE_IP", "status.podIP"),
      FieldEnv("HOST_IP", "status.hostIP"),
      {{"name", "ISTIO_CPU_LIMIT"},
       {"valueFrom", {{"resourceFieldRef", {{"resource", "limits.cpu"}}}}}},
      FieldEnv("SERVICE_ACCOUNT", "spec.serviceAccountName"),
      Env("ISTIO_META_WORKLOAD_NAME", gateway.name),
      Env("ISTIO_META_OWNER",
          "kubernetes://apis/apps/v1/namespaces/" + gateway.ns + "/deployments/" + gateway.name),
      Env("ISTIO_META_MESH_ID", mesh.empty() ? domain : mesh),
      Env("TRUST_DOMAIN", domain),
      Env("ISTIO_META_UNPRIVILEGED_POD", "true"),
      Env("ISTIO_META_CLUSTER_ID", cluster.empty() ? "Kubernetes" : cluster),
      FieldEnv("ISTIO_META_NODE_NAME", "spec.nodeName")};
  if (!network.empty()) env.push_back(Env("ISTIO_META_NETWORK", network));
  if (const Json* defaults = Find(installation.mesh_config, {"defaultConfig"}); defaults != nullptr)
    env.push_back(Env("PROXY_CONFIG", kubeapi::ToJson(*defaults)));
  for (const auto& [name, value] : gateway.values["env"].items()) {
    // Old installations say the network here as well.
    std::erase_if(env.get_ref<Json::array_t&>(),
                  [&name](const Json& one) { return StringAt(one, {"name"}) == name; });
    env.push_back(Env(name, Text(value)));
  }
  return env;
}

Json ContainerPorts(const Gateway& gateway) {
  Json ports = Json::array();
  std::set<int64_t> seen;
  for (const Json& port : ServicePorts(gateway)) {
    int64_t number = IntAt(port, {"targetPort"}, IntAt(port, {"port"}));
    if (number > 0 && seen.insert(number).second)
      ports.push_back({{"containerPort", number}, {"protocol", StringAt(port, {"protocol"})}});
  }
  ports.push_back({{"containerPort", 15090}, {"protocol", "TCP"}, {"name", "http-envoy-prom"}});
  return ports;
}

Json FullContainer(const Installation& installation, const Gateway& gateway) {
  const Json& values = installation.values;
  return {
      {"name", "istio-proxy"},
      {"image",
       ImageName(installation, StringAt(values, {"global", "proxy", "image"}), &gateway.component)},
      {"args",
       {"proxy", "router", "--domain",
        "$(POD_NAMESPACE).svc." + StringAt(values, {"global", "proxy", "clusterDomain"}),
        "--proxyLogLevel=" + StringAt(values, {"global", "proxy", "logLevel"}),
        "--proxyComponentLogLevel=" + StringAt(values, {"global", "proxy", "componentLogLevel"}),
        "--log_output_level=" + StringAt(values, {"global", "logging", "level"})}},
      {"ports", ContainerPorts(gateway)},
      {"env", ContainerEnv(installation, gateway)},
      {"resources", gateway.values["resources"]},
      {"readinessProbe",
       {{"httpGet", {{"path", "/healthz/ready"}, {"port", 15021}, {"scheme", "HTTP"}}},
        {"initialDelaySeconds", 1},
        {"periodSeconds", 2},
        {"timeoutSeconds", 1},
        {"successThreshold", 1},
        {"failureThreshold", 30}}},
      {"securityContext",
       {{"allowPrivilegeEscalation", false},
        {"privileged", false},
        {"readOnlyRootFilesystem", true},
        {"capabilities", {{"drop", {"ALL"}}}}}},
      {"volumeMounts", Mounts()}};
}

/// The container as injection completes it.
Json InjectedContainer(const Installation& installation, const Gateway& gateway) {
  Json env = Json::array();
  for (const auto& [name, value] : gateway.values["env"].items())
    env.push_back(Env(name, Text(value)));
  env.push_back(Env("ISTIO_META_UNPRIVILEGED_POD", "true"));
  return {{"name", "istio-proxy"},
          {"image", "auto"},
          {"ports", ContainerPorts(gateway)},
          {"env", std::move(env)},
          {"resources", gateway.values["resources"]},
          {"securityContext",
           {{"allowPrivilegeEscalation", false},
            {"privileged", false},
            {"readOnlyRootFilesystem", true},
            {"capabilities", {{"drop", {"ALL"}}}}}}};
}

Json Deployment(const Installation& installation, const Gateway& gateway) {
  Json deployment = Object(installation, gateway, "apps/v1", "Deployment", gateway.name);
  Json labels = gateway.labels;
  labels["sidecar.istio.io/inject"] = gateway.injected ? "true" : "false";
  labels["service.istio.io/canonical-name"] = gateway.name;
  labels["service.istio.io/canonical-revision"] = "latest";
  if (!gateway.injected)
    labels["istio.io/rev"] = installation.revision.empty() ? "default" : installation.revision;
  if (std::string network = StringAt(installation.values, {"global", "network"});
      !network.empty() && !labels.contains("topology.istio.io/network") && !gateway.injected)
    labels["topology.istio.io/network"] = network;
  Json annotations = {{"prometheus.io/path", "/stats/prometheus"},
                      {"prometheus.io/port", "15020"},
                      {"prometheus.io/scrape", "true"},
                      {"sidecar.istio.io/inject", gateway.injected ? "true" : "false"}};
  if (gateway.injected)
    annotations["inject.istio.io/templates"] = StringAt(gateway.values, {"injectionTemplate"});
  annotations.update(gateway.values["podAnnotations"]);
  Json pod = {
      {"serviceAccountName", gateway.account},
      {"securityContext",
       {{"fsGroup", 1337}, {"runAsGroup", 1337}, {"runAsUser", 1337}, {"runAsNonRoot", true}}},
      {"containers", Json::array({gateway.injected ? InjectedContainer(installation, gateway)
                                                   : FullContainer(installation, gateway)})}};
  if (!gateway.injected) pod["volumes"] = Volumes(gateway);
  deployment["spec"] = {
      {"selector", {{"matchLabels", gateway.labels}}},
      {"strategy", {{"rollingUpdate", {{"maxSurge", "100%"}, {"maxUnavailable", "25%"}}}}},
      {"template",
       {{"metadata", {{"labels", labels}, {"annotations", annotations}}}, {"spec", pod}}}};
  if (!BoolAt(gateway.values, {"autoscaleEnabled"})) deployment["spec"]["replicas"] = 1;
  return deployment;
}

Json Service(const Installation& installation, const Gateway& gateway) {
  Json service = Object(installation, gateway, "v1", "Service", gateway.name);
  service["spec"] = {{"type", StringAt(gateway.values, {"type"})},
                     {"selector", gateway.labels},
                     {"ports", ServicePorts(gateway)}};
  for (const char* key : {"loadBalancerIP", "externalTrafficPolicy"})
    if (std::string text = StringAt(gateway.values, {key}); !text.empty())
      service["spec"][key] = text;
  for (const char* key : {"externalIPs", "loadBalancerSourceRanges"})
    if (const Json* list = Find(gateway.values, {key});
        list != nullptr && list->is_array() && !list->empty())
      service["spec"][key] = *list;
  if (!gateway.values["serviceAnnotations"].empty())
    service["metadata"]["annotations"] = gateway.values["serviceAnnotations"];
  return service;
}

Json Autoscaler(const Installation& installation, const Gateway& gateway) {
  Json hpa =
      Object(installation, gateway, "autoscaling/v2", "HorizontalPodAutoscaler", gateway.name);
  Json target = {{"type", "Utilization"},
                 {"averageUtilization", gateway.values["cpu"]["targetAverageUtilization"]}};
  hpa["spec"] = {
      {"minReplicas", gateway.values["autoscaleMin"]},
      {"maxReplicas", gateway.values["autoscaleMax"]},
      {"scaleTargetRef",
       {{"apiVersion", "apps/v1"}, {"kind", "Deployment"}, {"name", gateway.name}}},
      {"metrics", Json::array({{{"type", "Resource"},
                                {"resource", {{"name", "cpu"}, {"target", std::move(target)}}}}})}};
  return hpa;
}

}  // namespace

base::Result<std::vector<Json>> RenderGateway(const Installation& installation,
                                              const Json& component, bool ingress) {
  ASSIGN_OR_RETURN(Gateway gateway, Resolve(installation, component, ingress), "");
  RETURN_IF_ERROR(CheckPorts(gateway), "");
  constexpr std::string_view kRbac = "rbac.authorization.k8s.io/v1";
  const std::string role = gateway.name + "-sds";
  Json rules = Json::array(
      {{{"apiGroups", {""}}, {"resources", {"secrets"}}, {"verbs", {"get", "watch", "list"}}}});
  std::vector<Json> objects;
  objects.push_back(Object(installation, gateway, "v1", "ServiceAccount", gateway.account));
  objects.push_back(Role(Object(installation, gateway, kRbac, "Role", role), std::move(rules)));
  objects.push_back(Binding(Object(installation, gateway, kRbac, "RoleBinding", role), "Role", role,
                            gateway.account, gateway.ns));
  objects.push_back(Service(installation, gateway));
  objects.push_back(Deployment(installation, gateway));
  if (BoolAt(gateway.values, {"autoscaleEnabled"}))
    objects.push_back(Autoscaler(installation, gateway));
  if (BoolAt(gateway.values, {"autoscaleEnabled"}) && IntAt(gateway.values, {"autoscaleMin"}) > 1) {
    Json pdb = Object(installation, gateway, "policy/v1", "PodDisruptionBudget", gateway.name);
    pdb["spec"] = {{"minAvailable", 1}, {"selector", {{"matchLabels", gateway.labels}}}};
    objects.push_back(std::move(pdb));
  }
  if (const Json* k8s = Find(component, {"k8s"}))
    RETURN_IF_ERROR(ApplyKubernetesOverrides(*k8s, "istio-proxy", objects), gateway.name + ".k8s");
  return objects;
}

}  // namespace isthmus::install
