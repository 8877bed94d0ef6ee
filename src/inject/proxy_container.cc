#include "inject/proxy_container.h"

#include <fmt/format.h>

#include "base/strings.h"
#include "kubeapi/meta.h"

namespace isthmus::inject {
namespace {

using kubeapi::Find;
using kubeapi::ItemsAt;
using kubeapi::StringAt;

Json FieldEnv(std::string_view name, std::string_view field) {
  return {{"name", name}, {"valueFrom", {{"fieldRef", {{"fieldPath", field}}}}}};
}
Json LimitEnv(std::string_view name, std::string_view resource) {
  Json reference = {{"resource", resource}};
  if (resource == "limits.cpu") reference["divisor"] = "1";
  return {{"name", name}, {"valueFrom", {{"resourceFieldRef", std::move(reference)}}}};
}
Json Env(std::string_view name, std::string_view value) {
  return {{"name", name}, {"value", value}};
}

// The ProxyConfig as far as it differs from the defaults, for the agent.
std::string ProxyConfigText(const Job& job) {
  Json trimmed = Json::object();
  const Json& defaults = ProxyConfigDefaults();
  for (const auto& [field, value] : job.proxy_config.items()) {
    auto usual = defaults.find(field);
    if (usual == defaults.end() || *usual != value) trimmed[field] = value;
  }
  return kubeapi::ToJson(trimmed);
}

// The container ports of the application as the agent and EDS know them.
std::string PodPorts(const Job& job) {
  Json ports = Json::array();
  for (const Json& container : ItemsAt(job.pod, {"spec", "containers"}))
    for (const Json& port : ItemsAt(container, {"ports"})) {
      Json kept = Json::object();
      for (const char* key : {"name", "containerPort", "protocol"})
        if (const Json* value = Find(port, {key})) kept[key] = *value;
      ports.push_back(std::move(kept));
    }
  return kubeapi::ToJson(ports);
}

std::string AppContainers(const Job& job) {
  std::vector<std::string> names;
  for (const Json& container : ItemsAt(job.pod, {"spec", "containers"}))
    if (std::string name = StringAt(container, {"name"}); name != kProxyName)
      names.push_back(std::move(name));
  return base::Join(names, ",");
}

std::string OwnerPath(const Job& job) {
  return fmt::format("kubernetes://apis/{}/namespaces/{}/{}s/{}", job.owner.api_version, job.ns,
                     base::ToLower(job.owner.kind), job.owner.name);
}

std::string CaAddress(const Job& job) {
  const std::string address = job.config.Text({"global", "caAddress"});
  if (!address.empty()) return address;
  const std::string revision = job.config.revision();
  return fmt::format("istiod{}.{}.svc:15012", revision.empty() ? "" : "-" + revision,
                     job.config.Text({"global", "istioNamespace"}, "istio-system"));
}

Json Environment(const Job& job, ProxyRole role) {
  Json env = {
      Env("PILOT_CERT_PROVIDER", job.config.Text({"global", "pilotCertProvider"}, "istiod")),
      Env("CA_ADDR", CaAddress(job)),
      FieldEnv("POD_NAME", "metadata.name"),
      FieldEnv("POD_NAMESPACE", "metadata.namespace"),
      FieldEnv("INSTANCE_IP", "status.podIP"),
      FieldEnv("SERVICE_ACCOUNT", "spec.serviceAccountName"),
      FieldEnv("HOST_IP", "status.hostIP"),
      LimitEnv("ISTIO_CPU_LIMIT", "limits.cpu"),
      Env("PROXY_CONFIG", ProxyConfigText(job)),
      Env("ISTIO_META_POD_PORTS", PodPorts(job)),
      Env("ISTIO_META_APP_CONTAINERS", AppContainers(job)),
      LimitEnv("GOMEMLIMIT", "limits.memory"),
      Env("ISTIO_META_CLUSTER_ID", job.cluster.empty() ? "Kubernetes" : job.cluster),
      FieldEnv("ISTIO_META_NODE_NAME", "spec.nodeName"),
      Env("ISTIO_META_INTERCEPTION_MODE",
          role == ProxyRole::kSidecar
              ? job.interception_mode()
              : (job.ProxyText("interceptionMode").empty() ? "REDIRECT"
                                                           : job.ProxyText("interceptionMode"))),
  };
  if (!job.network.empty()) env.push_back(Env("ISTIO_META_NETWORK", job.network));
  std::string workload = kubeapi::LabelOf(job.pod, "service.istio.io/workload-name");
  if (workload.empty()) workload = job.owner.name;
  if (!workload.empty()) env.push_back(Env("ISTIO_META_WORKLOAD_NAME", workload));
  if (!job.owner.name.empty()) env.push_back(Env("ISTIO_META_OWNER", OwnerPath(job)));
  if (role == ProxyRole::kSidecar && !job.Annotation("sidecar.istio.io/bootstrapOverride").empty())
    env.push_back(
        Env("ISTIO_BOOTSTRAP_OVERRIDE", "/etc/istio/custom-bootstrap/custom_bootstrap.json"));
  env.push_back(
      Env("ISTIO_META_MESH_ID", job.config.Text({"global", "meshID"}, job.mesh.trust_domain)));
  env.push_back(Env("TRUST_DOMAIN", job.mesh.trust_domain));
  if (job.mesh.inbound_localhost)
    env.push_back(Env("REWRITE_PROBE_LEGACY_LOCALHOST_DESTINATION", "true"));
  Json container = {{"env", std::move(env)}};
  if (const Json* metadata = Find(job.proxy_config, {"proxyMetadata"});
      metadata && metadata->is_object())
    for (const auto& [name, value] : metadata->items())
      if (value.is_string()) SetEnv(container, name, value.get<std::string>());
  return container["env"];
}

Json Arguments(const Job& job, ProxyRole role) {
  const auto& config = job.config;
  Json args = {
      "proxy",
      role == ProxyRole::kSidecar ? "sidecar" : "router",
      "--domain",
      "$(POD_NAMESPACE).svc." + config.Text({"global", "proxy", "clusterDomain"}, "cluster.local"),
      "--proxyLogLevel=" + job.Annotation("sidecar.istio.io/logLevel",
                                          config.Text({"global", "proxy", "logLevel"}, "warning")),
      "--proxyComponentLogLevel=" +
          job.Annotation("sidecar.istio.io/componentLogLevel",
                         config.Text({"global", "proxy", "componentLogLevel"}, "misc:error")),
      "--log_output_level=" +
          job.Annotation("sidecar.istio.io/agentLogLevel",
                         config.Text({"global", "logging", "level"}, "default:info"))};
  if (const std::string port = config.Text({"global", "sts", "servicePort"}, "0"); port != "0")
    args.push_back("--stsPort=" + port);
  if (config.Flag({"global", "logAsJson"}, false)) args.push_back("--log_as_json");
  if (const std::string path = config.Text({"global", "proxy", "outlierLogPath"}); !path.empty())
    args.push_back("--outlierLogPath=" + path);
  return args;
}

int64_t Number(const Job& job, ProxyRole role, std::string_view annotation, std::string_view value,
               int64_t fallback) {
  std::string text;
  // Gateways take no probe settings from annotations.
  if (role == ProxyRole::kSidecar)
    text = job.Annotation("readiness.status.sidecar.istio.io/" + std::string(annotation));
  if (text.empty()) text = job.config.Text({"global", "proxy", value});
  const auto number = base::ParseInt(text);
  return number.ok() ? *number : fallback;
}

void AddProbes(const Job& job, ProxyRole role, Json& container) {
  if (job.status_port() == 0) return;
  const Json ready = {{"path", "/healthz/ready"}, {"port", 15021}};
  container["readinessProbe"] = {
      {"httpGet", ready},
      {"initialDelaySeconds",
       Number(job, role, "initialDelaySeconds", "readinessInitialDelaySeconds", 0)},
      {"periodSeconds", Number(job, role, "periodSeconds", "readinessPeriodSeconds", 15)},
      {"timeoutSeconds", 3},
      {"failureThreshold", Number(job, role, "failureThreshold", "readinessFailureThreshold", 4)}};
  if (role == ProxyRole::kGateway ||
      !job.config.Flag({"global", "proxy", "startupProbe", "enabled"}, true))
    return;
  const auto threshold =
      base::ParseInt(job.config.Text({"global", "proxy", "startupProbe", "failureThreshold"}));
  container["startupProbe"] = {{"httpGet", ready},
                               {"initialDelaySeconds", 0},
                               {"periodSeconds", 1},
                               {"timeoutSeconds", 3},
                               {"failureThreshold", threshold.ok() ? *threshold : 600}};
}

Json SecurityContext(const Job& job, ProxyRole role) {
  Json context = {{"allowPrivilegeEscalation", false},
                  {"capabilities", {{"drop", Json::array({"ALL"})}}},
                  {"privileged", false},
                  {"readOnlyRootFilesystem", true},
                  {"runAsGroup", kProxyGid},
                  {"runAsNonRoot", true},
                  {"runAsUser", kProxyUid}};
  if (role == ProxyRole::kGateway) return context;
  const bool transparent = job.interception_mode() == "TPROXY";
  const bool bind = job.Annotation("sidecar.istio.io/capNetBindService") == "true";
  const Json* trace = Find(job.proxy_config, {"proxyMetadata", "IPTABLES_TRACE_LOGGING"});
  const bool tracing = trace != nullptr && *trace == "true";
  const bool privileged = tracing || job.config.Flag({"global", "proxy", "privileged"}, false);
  if (privileged) context["allowPrivilegeEscalation"] = context["privileged"] = true;
  if (transparent) context["capabilities"]["add"].push_back("NET_ADMIN");
  if (bind) context["capabilities"]["add"].push_back("NET_BIND_SERVICE");
  if (transparent || bind || tracing) {
    context["runAsUser"] = 0;
    context["runAsNonRoot"] = false;
  }
  return context;
}

Json Mount(std::string_view name, std::string_view path) {
  return {{"name", name}, {"mountPath", path}};
}

Json Mounts(const Job& job) {
  Json mounts = {Mount("workload-socket", "/var/run/secrets/workload-spiffe-uds"),
                 Mount("credential-socket", "/var/run/secrets/credential-uds"),
                 Mount("workload-certs", "/var/run/secrets/workload-spiffe-credentials"),
                 Mount("istio-data", "/var/lib/istio/data"),
                 Mount("istio-envoy", "/etc/istio/proxy"),
                 Mount("istio-token", "/var/run/secrets/tokens"),
                 Mount("istio-podinfo", "/etc/istio/pod")};
  if (job.config.Text({"global", "pilotCertProvider"}, "istiod") == "istiod")
    mounts.push_back(Mount("istiod-ca-cert", "/var/run/secrets/istio"));
  const auto user = kubeapi::ParseJson(job.Annotation("sidecar.istio.io/userVolumeMount", "{}"));
  if (user.ok() && user->is_object()) {
    for (const auto& [name, mount] : user->items()) {
      if (!mount.is_object()) continue;
      Json named = mount;
      named["name"] = name;
      mounts.push_back(std::move(named));
    }
  }
  return mounts;
}

void AddLifecycle(const Job& job, Json& container) {
  const Json* own = Find(job.config.values, {"global", "proxy", "lifecycle"});
  if (own != nullptr && own->is_object() && !own->empty()) {
    container["lifecycle"] = *own;
  } else if (job.native) {
    container["lifecycle"] = {
        {"preStop",
         {{"exec",
           {{"command",
             {"pilot-agent", "request", fmt::format("--debug-port={}", job.status_port()), "POST",
              "drain"}}}}}}};
  } else if (job.hold_application()) {
    container["lifecycle"] = {{"postStart", {{"exec", {{"command", {"pilot-agent", "wait"}}}}}}};
  }
}

}  // namespace

std::string ProxyImage(const Job& job) {
  const std::string annotation = job.Annotation("sidecar.istio.io/proxyImage");
  const std::string image =
      annotation.empty() ? job.config.Text({"global", "proxy", "image"}, "proxyv2") : annotation;
  if (image.find('/') != std::string::npos) return image;
  std::string type = job.Annotation("sidecar.istio.io/proxyImageType");
  if (type.empty()) type = StringAt(job.proxy_config, {"image", "imageType"});
  if (type.empty()) type = job.config.Text({"global", "variant"});
  std::string tag = job.config.Text({"global", "tag"});
  if (type == "default") {
    for (const char* suffix : {"-distroless", "-debug"})
      if (tag.ends_with(suffix)) tag.resize(tag.size() - std::string_view(suffix).size());
  } else if (!type.empty() && !tag.ends_with("-" + type)) {
    tag += "-" + type;
  }
  std::string out = job.config.Text({"global", "hub"});
  if (!out.empty()) out += "/";
  out += image;
  return tag.empty() ? out : out + ":" + tag;
}

Json ProxyResources(const Job& job) {
  const std::string cpu = job.Annotation("sidecar.istio.io/proxyCPU");
  const std::string memory = job.Annotation("sidecar.istio.io/proxyMemory");
  const std::string cpu_limit = job.Annotation("sidecar.istio.io/proxyCPULimit");
  const std::string memory_limit = job.Annotation("sidecar.istio.io/proxyMemoryLimit");
  if (cpu.empty() && memory.empty() && cpu_limit.empty() && memory_limit.empty()) {
    const Json* own = Find(job.config.values, {"global", "proxy", "resources"});
    if (own != nullptr && own->is_object()) return *own;
    return {{"requests", {{"cpu", "100m"}, {"memory", "128Mi"}}},
            {"limits", {{"cpu", "2000m"}, {"memory", "1024Mi"}}}};
  }
  Json resources = Json::object();
  if (!cpu.empty()) resources["requests"]["cpu"] = cpu;
  if (!memory.empty()) resources["requests"]["memory"] = memory;
  if (!cpu_limit.empty()) resources["limits"]["cpu"] = cpu_limit;
  if (!memory_limit.empty()) resources["limits"]["memory"] = memory_limit;
  return resources;
}

Json ProxyContainer(const Job& job, ProxyRole role) {
  Json container = {
      {"name", kProxyName},
      {"image", ProxyImage(job)},
      {"ports",
       Json::array({{{"containerPort", 15090}, {"protocol", "TCP"}, {"name", "http-envoy-prom"}}})},
      {"args", Arguments(job, role)},
      {"env", Environment(job, role)},
      {"resources", ProxyResources(job)},
      {"securityContext", SecurityContext(job, role)},
      {"volumeMounts", Mounts(job)}};
  if (const std::string policy = job.config.Text({"global", "imagePullPolicy"}); !policy.empty())
    container["imagePullPolicy"] = policy;
  AddLifecycle(job, container);
  AddProbes(job, role, container);
  return container;
}

}  // namespace isthmus::inject
