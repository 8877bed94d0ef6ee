#include "lab/apiserver/admission.h"

#include "kubeapi/meta.h"
#include "kubeapi/resources.h"
#include "lab/apiserver/names.h"

namespace isthmus::lab::apiserver {
namespace {

using kubeapi::ApiError;
using kubeapi::Find;
using kubeapi::StringAt;

/// Nothing may be created in a namespace that is not there or is going away.
std::optional<ApiError> NamespaceLifecycle(const Engine& engine, const Admission& admission) {
  if (admission.operation != "CREATE" || admission.ns.empty() || admission.kind->review)
    return std::nullopt;
  auto ns = engine.Get("namespaces", "", admission.ns);
  if (!ns) return kubeapi::NotFound(kubeapi::kNamespaces, admission.ns);
  if (!kubeapi::IsBeingDeleted(*ns)) return std::nullopt;
  ApiError error = kubeapi::Forbidden(
      admission.kind->ResourceAt(*admission.version), admission.name,
      fmt::format("unable to create new content in namespace {} because it is being terminated",
                  admission.ns));
  error.causes.push_back({"NamespaceTerminating",
                          fmt::format("namespace {} is being terminated", admission.ns),
                          "metadata.namespace"});
  return error;
}

bool IsMirror(const Json& pod) {
  return !kubeapi::AnnotationOf(pod, "kubernetes.io/config.mirror").empty();
}

/// The volume through which every container sees its account's token, the cluster's CA and its
/// namespace.
Json TokenVolume(const std::string& name) {
  return {{"name", name},
          {"projected",
           {{"defaultMode", 420},
            {"sources",
             Json::array(
                 {{{"serviceAccountToken", {{"expirationSeconds", 3607}, {"path", "token"}}}},
                  {{"configMap",
                    {{"name", "kube-root-ca.crt"},
                     {"items", Json::array({{{"key", "ca.crt"}, {"path", "ca.crt"}}})}}}},
                  {{"downwardAPI",
                    {{"items", Json::array({{{"path", "namespace"},
                                             {"fieldRef",
                                              {{"apiVersion", "v1"},
                                               {"fieldPath", "metadata.namespace"}}}}})}}}}})}}}};
}

constexpr char kTokenPath[] = "/var/run/secrets/kubernetes.io/serviceaccount";

void MountToken(const std::string& volume, Json* containers) {
  for (Json& container : *containers) {
    Json& mounts = container["volumeMounts"];
    if (!mounts.is_array()) mounts = Json::array();
    bool mounted = false;
    for (const Json& mount : mounts) mounted |= StringAt(mount, {"mountPath"}) == kTokenPath;
    if (!mounted)
      mounts.push_back({{"name", volume}, {"readOnly", true}, {"mountPath", kTokenPath}});
  }
}

std::optional<ApiError> ServiceAccounts(const Engine& engine, Admission* admission) {
  Json& pod = admission->object;
  if (IsMirror(pod)) return std::nullopt;
  Json& spec = pod["spec"];
  if (!spec.is_object()) return std::nullopt;
  std::string name = StringAt(spec, {"serviceAccountName"});
  if (name.empty()) name = "default";
  auto account = engine.Get("serviceaccounts", admission->ns, name);
  if (!account)
    return kubeapi::Forbidden(
        admission->kind->ResourceAt(*admission->version), admission->name,
        fmt::format("error looking up service account {}/{}: serviceaccount \"{}\" not found",
                    admission->ns, name, name));
  spec["serviceAccountName"] = name;
  spec["serviceAccount"] = name;
  bool mount = kubeapi::BoolAt(*account, {"automountServiceAccountToken"}, true);
  mount = kubeapi::BoolAt(spec, {"automountServiceAccountToken"}, mount);
  if (!spec.contains("imagePullSecrets"))
    if (const Json* pulls = Find(*account, {"imagePullSecrets"}); pulls && !pulls->empty())
      spec["imagePullSecrets"] = *pulls;
  if (!mount) return std::nullopt;
  Json& volumes = spec["volumes"];
  if (!volumes.is_array()) volumes = Json::array();
  std::string volume;
  for (const Json& each : volumes)
    if (StringAt(each, {"name"}).starts_with("kube-api-access-")) volume = StringAt(each, {"name"});
  if (volume.empty()) {
    volume = GenerateName("kube-api-access-");
    volumes.push_back(TokenVolume(volume));
  }
  for (const char* field : {"initContainers", "containers"})
    if (spec.contains(field) && spec[field].is_array()) MountToken(volume, &spec[field]);
  return std::nullopt;
}

void Toleration(const char* key, Json* tolerations) {
  for (const Json& each : *tolerations) {
    const std::string own = StringAt(each, {"key"}), effect = StringAt(each, {"effect"});
    if ((own == key || own.empty()) && (effect == "NoExecute" || effect.empty())) return;
  }
  tolerations->push_back(
      {{"key", key}, {"operator", "Exists"}, {"effect", "NoExecute"}, {"tolerationSeconds", 300}});
}

std::optional<ApiError> Priority(const Engine& engine, Admission* admission) {
  Json& spec = admission->object["spec"];
  const std::string name = StringAt(spec, {"priorityClassName"});
  if (name.empty()) {
    if (!spec.contains("priority")) spec["priority"] = 0;
    spec["preemptionPolicy"] = "PreemptLowerPriority";
    return std::nullopt;
  }
  auto priority = engine.Get("priorityclasses.scheduling.k8s.io", "", name);
  if (!priority)
    return kubeapi::Forbidden(admission->kind->ResourceAt(*admission->version), admission->name,
                              fmt::format("no PriorityClass with name {} was found", name));
  spec["priority"] = kubeapi::IntAt(*priority, {"value"});
  const std::string policy = StringAt(*priority, {"preemptionPolicy"});
  spec["preemptionPolicy"] = policy.empty() ? "PreemptLowerPriority" : policy;
  return std::nullopt;
}

}  // namespace

std::optional<ApiError> AdmitBuiltin(const Engine& engine, Admission* admission) {
  if (auto error = NamespaceLifecycle(engine, *admission)) return error;
  if (admission->operation == "CREATE" && admission->subresource.empty() &&
      admission->kind->resource_key() == "pods" && admission->object["spec"].is_object()) {
    if (auto error = ServiceAccounts(engine, admission)) return error;
    if (auto error = Priority(engine, admission)) return error;
    Json& spec = admission->object["spec"];
    if (!spec.contains("enableServiceLinks")) spec["enableServiceLinks"] = true;
    Json& tolerations = spec["tolerations"];
    if (!tolerations.is_array()) tolerations = Json::array();
    Toleration("node.kubernetes.io/not-ready", &tolerations);
    Toleration("node.kubernetes.io/unreachable", &tolerations);
  }
  return std::nullopt;
}

}  // namespace isthmus::lab::apiserver
