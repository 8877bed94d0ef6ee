#include "inject/inject.h"

#include <algorithm>
#include <array>

#include "base/strings.h"
#include "inject/annotations.h"
#include "inject/pod.h"
#include "inject/policy.h"
#include "inject/probes.h"
#include "inject/prometheus.h"
#include "inject/templates.h"
#include "kubeapi/meta.h"
#include "kubeapi/patch.h"

namespace isthmus::inject {
namespace {

using base::Code;
using base::Error;
using base::Status;
using kubeapi::AnnotationOf;
using kubeapi::Find;
using kubeapi::FindMutable;
using kubeapi::ItemsAt;
using kubeapi::StringAt;

constexpr std::array<const char*, 2> kLists = {"containers", "initContainers"};

// Removes what an earlier injection added, and puts back what the user had given in its place.
void Undo(Json& pod) {
  const auto status = kubeapi::ParseJson(AnnotationOf(pod, kStatusAnnotation));
  if (!status.ok() || !status->is_object()) return;
  for (const char* list : {"containers", "initContainers", "volumes", "imagePullSecrets"}) {
    Json* items = FindMutable(pod, {"spec", list});
    if (items == nullptr || !items->is_array()) continue;
    const auto& added = ItemsAt(*status, {list});
    std::erase_if(items->get_ref<Json::array_t&>(), [&](const Json& item) {
      return std::ranges::find(added, Json(StringAt(item, {"name"}))) != added.end();
    });
    if (items->empty()) kubeapi::Erase(pod, {"spec", list});
  }
  const auto overrides = kubeapi::ParseJson(AnnotationOf(pod, kOverridesAnnotation));
  if (overrides.ok()) {
    for (const char* list : kLists)
      for (const Json& container : ItemsAt(*overrides, {list})) {
        Json& items = kubeapi::Ensure(pod, {"spec", list});
        if (!items.is_array()) items = Json::array();
        items.push_back(container);
      }
  }
  Json& annotations = kubeapi::Ensure(pod, {"metadata", "annotations"});
  annotations.erase(std::string(kStatusAnnotation));
  annotations.erase(std::string(kOverridesAnnotation));
  if (StringAt(annotations, {"prometheus.io/path"}) == "/stats/prometheus")
    for (const char* key : {"prometheus.io/scrape", "prometheus.io/port", "prometheus.io/path"})
      annotations.erase(key);
}

std::vector<std::string> TemplateNames(const Job& job) {
  std::vector<std::string> asked = base::SplitList(job.Annotation("inject.istio.io/templates"));
  if (asked.empty()) asked = job.config.default_templates;
  std::vector<std::string> names;
  for (const std::string& name : asked) {
    auto alias = job.config.aliases.find(name);
    if (alias == job.config.aliases.end())
      names.push_back(name);
    else
      names.insert(names.end(), alias->second.begin(), alias->second.end());
  }
  return names;
}

// "auto" asks for the image that injection would choose.
Json WithoutAutoImage(Json container) {
  if (StringAt(container, {"image"}) == "auto") container.erase("image");
  return container;
}

// The user's settings of a container that injection brings too: kept aside while the templates are
// merged, then put on top, so that they win.
struct Override {
  std::string list;
  Json container;
};

std::vector<Override> TakeOverrides(const Job& job, Json& pod) {
  std::vector<Override> taken;
  for (const char* list : kLists) {
    Json* containers = FindMutable(pod, {"spec", list});
    if (containers == nullptr || !containers->is_array()) continue;
    auto& items = containers->get_ref<Json::array_t&>();
    for (auto it = items.begin(); it != items.end();) {
      const std::string name = StringAt(*it, {"name"});
      if (name != kProxyName && name != kInitName && name != kValidationName) {
        ++it;
        continue;
      }
      taken.push_back({list, std::move(*it)});
      it = items.erase(it);
    }
  }
  return taken;
}

Status ApplyOverrides(const Job& job, const std::vector<Override>& overrides, Json& pod) {
  if (overrides.empty()) return {};
  Json saved = Json::object();
  for (const Override& each : overrides) {
    saved[each.list].push_back(each.container);
    const std::string name = StringAt(each.container, {"name"});
    Json* injected = nullptr;
    for (const char* list : kLists)
      if (injected == nullptr) injected = FindContainer(pod, list, name);
    if (injected == nullptr) {
      // No template of this pod brings it: it stays what the user made it.
      Json& items = kubeapi::Ensure(pod, {"spec", each.list});
      if (!items.is_array()) items = Json::array();
      items.push_back(each.container);
      continue;
    }
    // In a pod around it, because the merge rules go by the place in a pod.
    const auto around = [](Json container) {
      return Json{{"spec", {{"containers", Json::array({std::move(container)})}}}};
    };
    ASSIGN_OR_RETURN(
        const Json merged,
        kubeapi::ApplyStrategicPatch(around(*injected), around(WithoutAutoImage(each.container)),
                                     kubeapi::ListRules::BuiltIn()),
        "container " + name);
    *injected = merged["spec"]["containers"][0];
  }
  kubeapi::SetAnnotation(pod, kOverridesAnnotation, kubeapi::ToJson(saved));
  return {};
}

// The capture rules let the proxy's own user pass, so they must know which it is.
void FollowProxyUser(Json& pod) {
  const Json* proxy = FindProxy(pod);
  if (proxy == nullptr) return;
  const int64_t user = kubeapi::IntAt(*proxy, {"securityContext", "runAsUser"}, 0);
  const int64_t group = kubeapi::IntAt(*proxy, {"securityContext", "runAsGroup"}, 0);
  for (const std::string_view name : {kInitName, kValidationName}) {
    Json* container = FindContainer(pod, "initContainers", name);
    if (container == nullptr || user == 0) continue;
    if (Json* args = FindMutable(*container, {"args"}); args != nullptr && args->is_array())
      for (size_t i = 0; i + 1 < args->size(); ++i)
        if ((*args)[i] == "-u") (*args)[i + 1] = std::to_string(user);
    if (name != kValidationName) continue;
    (*container)["securityContext"]["runAsUser"] = user;
    if (group != 0) (*container)["securityContext"]["runAsGroup"] = group;
  }
}

void SetTopologyEnv(const Job& job, Json& pod) {
  Json* proxy = FindProxy(pod);
  if (proxy == nullptr) return;
  std::map<std::string, std::string> forced = job.params.env;
  if (!job.cluster.empty()) forced["ISTIO_META_CLUSTER_ID"] = job.cluster;
  if (!job.network.empty()) forced["ISTIO_META_NETWORK"] = job.network;
  Json& env = (*proxy)["env"];
  if (!env.is_array()) env = Json::array();
  std::erase_if(env.get_ref<Json::array_t&>(),
                [&](const Json& each) { return forced.contains(StringAt(each, {"name"})); });
  for (const auto& [name, value] : forced) env.push_back({{"name", name}, {"value", value}});
}

// Names of what is in the pod now and was not before.
Json Added(const Json& before, const Json& now, const char* list) {
  Json names;
  for (const Json& item : ItemsAt(now, {"spec", list})) {
    const std::string name = StringAt(item, {"name"});
    const auto& old = ItemsAt(before, {"spec", list});
    const bool had = std::ranges::any_of(
        old, [&](const Json& each) { return StringAt(each, {"name"}) == name; });
    const bool ours = name == kProxyName || name == kInitName || name == kValidationName;
    if (!had || (ours && (std::string_view(list) == "containers" ||
                          std::string_view(list) == "initContainers")))
      names.push_back(name);
  }
  return names;
}

void WriteStatus(const Job& job, const Json& before, Json& pod) {
  const std::string revision = job.config.revision();
  const Json status = {{"initContainers", Added(before, pod, "initContainers")},
                       {"containers", Added(before, pod, "containers")},
                       {"volumes", Added(before, pod, "volumes")},
                       {"imagePullSecrets", Added(before, pod, "imagePullSecrets")},
                       {"revision", revision.empty() ? "default" : revision}};
  kubeapi::SetAnnotation(pod, kStatusAnnotation, kubeapi::ToJson(status));
}

// Puts the container of that name where `front` says; others keep their order.
void Move(Json* list, std::string_view name, bool front) {
  if (list == nullptr || !list->is_array()) return;
  auto& items = list->get_ref<Json::array_t&>();
  auto at = std::ranges::find_if(
      items, [&](const Json& each) { return StringAt(each, {"name"}) == name; });
  if (at == items.end()) return;
  if (front)
    std::rotate(items.begin(), at, at + 1);
  else
    std::rotate(at, at + 1, items.end());
}

void Reorder(const Job& job, Json& pod) {
  Json* containers = FindMutable(pod, {"spec", "containers"});
  Json* init = FindMutable(pod, {"spec", "initContainers"});
  Move(containers, kProxyName, job.hold_application());
  if (job.native) {
    // Moved to the front one after the other: the last one moved comes first.
    Move(init, "enable-core-dump", true);
    Move(init, kProxyName, true);
    Move(init, kInitName, true);
    Move(init, kValidationName, true);
  } else {
    Move(init, kValidationName, true);
    Move(init, kInitName, false);
    Move(init, "enable-core-dump", false);
  }
}

Status PostProcess(const Job& job, const Json& before, Json& pod) {
  FollowProxyUser(pod);
  SetTopologyEnv(job, pod);
  RETURN_IF_ERROR(MergePrometheus(job, pod), "injecting");
  RewriteProbes(job, pod);
  if (!job.network.empty()) kubeapi::SetLabel(pod, kNetworkLabel, job.network);
  for (const auto& [name, value] : job.config.injected_annotations)
    kubeapi::SetAnnotation(pod, name, value);
  WriteStatus(job, before, pod);
  Reorder(job, pod);
  return {};
}

}  // namespace

base::Result<Outcome> Inject(const Json& pod, const std::string& ns, const InjectorConfig& config,
                             const MeshSettings& mesh, const Params& params) {
  if (!pod.is_object() || Find(pod, {"spec", "containers"}) == nullptr)
    return Error(Code::kInvalidArgument, "not a pod: it has no spec.containers");
  const std::string own_ns = kubeapi::NamespaceOf(pod);
  const std::string& pod_ns = own_ns.empty() ? ns : own_ns;
  const Decision decision = Decide(pod, pod_ns, config);
  if (!decision.inject) return Outcome{pod, false, decision.why};
  const std::string who =
      "pod " + pod_ns + "/" +
      (kubeapi::NameOf(pod).empty() ? StringAt(pod, {"metadata", "generateName"})
                                    : kubeapi::NameOf(pod));
  RETURN_IF_ERROR(ValidateAnnotations(pod), who);

  Json user = pod;
  std::string probes;
  std::string prometheus;
  if (const Json* proxy = FindProxy(user);
      proxy != nullptr && !AnnotationOf(user, kStatusAnnotation).empty()) {
    probes = GetEnv(*proxy, "ISTIO_KUBE_APP_PROBERS");
    prometheus = GetEnv(*proxy, "ISTIO_PROMETHEUS_ANNOTATIONS");
  }
  Undo(user);
  ASSIGN_OR_RETURN(
      Json proxy_config,
      EffectiveProxyConfig(mesh.default_config, AnnotationOf(user, "proxy.istio.io/config")), who);
  Job job{user,          pod_ns,         config, mesh,  params, std::move(proxy_config),
          OwnerOf(user), params.cluster, {},     false, probes, prometheus};
  if (job.cluster.empty()) job.cluster = config.Text({"global", "multiCluster", "clusterName"});
  job.network = kubeapi::LabelOf(user, kNetworkLabel);
  if (job.network.empty()) job.network = params.network;
  if (job.network.empty()) job.network = config.Text({"global", "network"});
  const std::string native = job.Annotation("sidecar.istio.io/nativeSidecar");
  const std::vector<std::string> names = TemplateNames(job);
  const bool sidecar = std::ranges::find(names, "sidecar") != names.end();
  job.native = sidecar && (native.empty() ? params.native_sidecars : native == "true");

  Json out = user;
  const std::vector<Override> overrides = TakeOverrides(job, out);
  for (const std::string& name : names) {
    ASSIGN_OR_RETURN(const Json patch, Render(name, job), who);
    ASSIGN_OR_RETURN(out, kubeapi::ApplyStrategicPatch(out, patch, kubeapi::ListRules::BuiltIn()),
                     who);
  }
  RETURN_IF_ERROR(ApplyOverrides(job, overrides, out), who);
  RETURN_IF_ERROR(PostProcess(job, user, out), who);
  return Outcome{std::move(out), true, ""};
}

}  // namespace isthmus::inject
