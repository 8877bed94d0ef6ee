#include "inject/templates.h"

#include "base/strings.h"
#include "inject/capture.h"
#include "inject/proxy_container.h"
#include "kubeapi/meta.h"

namespace isthmus::inject {
namespace {

using base::Code;
using base::Error;
using kubeapi::LabelOf;

Json EmptyDir(std::string_view name) { return {{"name", name}, {"emptyDir", Json::object()}}; }

Json DownwardFile(std::string_view path, std::string_view field) {
  return {{"path", path}, {"fieldRef", {{"fieldPath", field}}}};
}

Json RootVolume(const Job& job) {
  const std::string map = job.config.Text({"global", "trustBundleName"}, "istio-ca-root-cert");
  return {{"name", "istiod-ca-cert"}, {"configMap", {{"name", map}}}};
}

Json Volumes(const Job& job) {
  Json volumes = {
      EmptyDir("workload-socket"),
      EmptyDir("credential-socket"),
      EmptyDir("workload-certs"),
      {{"name", "istio-envoy"}, {"emptyDir", {{"medium", "Memory"}}}},
      EmptyDir("istio-data"),
      {{"name", "istio-podinfo"},
       {"downwardAPI",
        {{"items",
          {DownwardFile("labels", "metadata.labels"),
           DownwardFile("annotations", "metadata.annotations")}}}}},
      {{"name", "istio-token"},
       {"projected",
        {{"sources", Json::array({{{"serviceAccountToken",
                                    {{"path", "istio-token"},
                                     {"expirationSeconds", 43200},
                                     {"audience", job.config.Text({"global", "sds", "token", "aud"},
                                                                  "istio-ca")}}}}})}}}},
  };
  if (job.config.Text({"global", "pilotCertProvider"}, "istiod") == "istiod")
    volumes.push_back(RootVolume(job));
  const auto user = kubeapi::ParseJson(job.Annotation("sidecar.istio.io/userVolume", "{}"));
  if (user.ok() && user->is_object()) {
    for (const auto& [name, volume] : user->items()) {
      Json named = volume;
      if (!named.is_object()) continue;
      named["name"] = name;
      volumes.push_back(std::move(named));
    }
  }
  return volumes;
}

// At most 63 characters, and not ending (or beginning) with a separator: what a label value may be.
std::string AsLabel(std::string text) {
  text.resize(std::min<size_t>(text.size(), 63));
  while (!text.empty() && std::string_view("-_.").find(text.back()) != std::string_view::npos)
    text.pop_back();
  const size_t first = text.find_first_not_of("-_.");
  return first == std::string::npos ? "" : text.substr(first);
}

std::string FirstOf(std::initializer_list<std::string> texts) {
  for (const std::string& text : texts)
    if (!text.empty()) return text;
  return "";
}

Json Labels(const Job& job, bool sidecar) {
  const Json& pod = job.pod;
  const std::string name =
      FirstOf({LabelOf(pod, "service.istio.io/canonical-name"),
               LabelOf(pod, "app.kubernetes.io/name"), LabelOf(pod, "app"), job.owner.name});
  const std::string revision =
      FirstOf({LabelOf(pod, "service.istio.io/canonical-revision"),
               LabelOf(pod, "app.kubernetes.io/version"), LabelOf(pod, "version"), "latest"});
  Json labels = {{"service.istio.io/canonical-name", AsLabel(name)},
                 {"service.istio.io/canonical-revision", revision}};
  if (sidecar)
    labels["security.istio.io/tlsMode"] =
        FirstOf({LabelOf(pod, "security.istio.io/tlsMode"), "istio"});
  const Json* hbone = kubeapi::Find(job.proxy_config, {"proxyMetadata", "ISTIO_META_ENABLE_HBONE"});
  if (hbone != nullptr && *hbone == "true") labels["networking.istio.io/tunnel"] = "http";
  return labels;
}

Json Annotations(const Job& job) {
  const std::string revision = job.config.revision();
  Json annotations = {{"istio.io/rev", revision.empty() ? "default" : revision}};
  for (const Json& container : kubeapi::ItemsAt(job.pod, {"spec", "containers"})) {
    const std::string name = kubeapi::StringAt(container, {"name"});
    if (name == kProxyName) continue;
    for (const char* key : {"kubectl.kubernetes.io/default-container",
                            "kubectl.kubernetes.io/default-logs-container"})
      if (job.Annotation(key).empty()) annotations[key] = name;
    break;
  }
  return annotations;
}

void AddPullSecrets(const Job& job, Json& spec) {
  for (const Json& secret : kubeapi::ItemsAt(job.config.values, {"global", "imagePullSecrets"})) {
    const std::string name =
        secret.is_string() ? secret.get<std::string>() : kubeapi::StringAt(secret, {"name"});
    if (!name.empty()) spec["imagePullSecrets"].push_back({{"name", name}});
  }
}

Json Sidecar(const Job& job) {
  Json spec = {{"volumes", Volumes(job)}};
  Json proxy = ProxyContainer(job, ProxyRole::kSidecar);
  Json init = Json::array();
  if (Json capture = CaptureContainer(job); !capture.is_null()) init.push_back(std::move(capture));
  if (job.native) {
    proxy["restartPolicy"] = "Always";
    init.push_back(std::move(proxy));
  } else {
    spec["containers"] = Json::array({std::move(proxy)});
  }
  if (!init.empty()) spec["initContainers"] = std::move(init);
  AddPullSecrets(job, spec);
  Json annotations = Annotations(job);
  if (job.config.Flag({"pilot", "cni", "enabled"}, false)) AddCaptureAnnotations(job, annotations);
  return {{"metadata", {{"labels", Labels(job, true)}, {"annotations", std::move(annotations)}}},
          {"spec", std::move(spec)}};
}

Json Gateway(const Job& job) {
  Json spec = {
      {"volumes", Volumes(job)},
      {"containers", Json::array({ProxyContainer(job, ProxyRole::kGateway)})},
      {"securityContext",
       {{"sysctls",
         Json::array({{{"name", "net.ipv4.ip_unprivileged_port_start"}, {"value", "0"}}})}}}};
  if (const Json* own = kubeapi::Find(job.config.values, {"gateways", "securityContext"});
      own && own->is_object())
    spec["securityContext"] = *own;
  AddPullSecrets(job, spec);
  return {{"metadata", {{"labels", Labels(job, false)}, {"annotations", Annotations(job)}}},
          {"spec", std::move(spec)}};
}

}  // namespace

base::Result<Json> Render(std::string_view name, const Job& job) {
  if (name == "sidecar") return Sidecar(job);
  if (name == "gateway") return Gateway(job);
  return Error(
      Code::kInvalidArgument,
      "injection template \"{}\" does not exist; there are sidecar and gateway (annotation "
      "inject.istio.io/templates, or defaultTemplates of the injector)",
      name);
}

}  // namespace isthmus::inject
