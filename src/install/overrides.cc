#include <algorithm>

#include "install/render_parts.h"

namespace isthmus::install {
namespace {

using base::Code;
using base::Error;
using kubeapi::Find;
using kubeapi::StringAt;

Json* FindKind(std::vector<Json>& objects, std::string_view kind) {
  for (Json& object : objects)
    if (StringAt(object, {"kind"}) == kind) return &object;
  return nullptr;
}

Json* FindNamed(Json& list, std::string_view key, const std::string& value) {
  if (!list.is_array()) return nullptr;
  for (Json& element : list)
    if (StringAt(element, {key}) == value) return &element;
  return nullptr;
}

/// Environment variables merge by name; those given win.
void MergeEnv(Json& container, const Json& env) {
  Json& list = container["env"];
  if (!list.is_array()) list = Json::array();
  for (const Json& variable : env) {
    Json* old = FindNamed(list, "name", StringAt(variable, {"name"}));
    if (old != nullptr) {
      *old = variable;
    } else {
      list.push_back(variable);
    }
  }
}

base::Status OverrideWorkload(const Json& k8s, const std::string& container_name, Json& workload) {
  Json& pod = workload["spec"]["template"]["spec"];
  Json* container = FindNamed(pod["containers"], "name", container_name);
  if (container == nullptr)
    return Error(Code::kInternal, "the rendered pod has no container {}", container_name);
  for (const auto& [key, value] : k8s.items()) {
    if (key == "env") {
      if (!value.is_array()) return Error(Code::kInvalidArgument, "env is not a list");
      MergeEnv(*container, value);
    } else if (key == "resources" || key == "imagePullPolicy" || key == "readinessProbe") {
      Overlay((*container)[key], value);
    } else if (key == "replicaCount") {
      workload["spec"]["replicas"] = value;
    } else if (key == "strategy") {
      Overlay(workload["spec"]["strategy"], value);
    } else if (key == "podAnnotations") {
      Overlay(workload["spec"]["template"]["metadata"]["annotations"], value);
    } else if (key == "affinity" || key == "nodeSelector" || key == "tolerations" ||
               key == "priorityClassName" || key == "securityContext") {
      Overlay(pod[key], value);
    } else if (key == "volumes") {
      for (const Json& volume : value) pod["volumes"].push_back(volume);
    } else if (key == "volumeMounts") {
      for (const Json& mount : value) (*container)["volumeMounts"].push_back(mount);
    }
  }
  return {};
}

/// One step of an overlay's path: "key", "[key:value]", "[3]" or "[:value]".
std::vector<std::string> OverlayPath(const std::string& path) {
  std::vector<std::string> steps;
  std::string step;
  bool bracket = false;
  for (size_t i = 0; i < path.size(); ++i) {
    char c = path[i];
    if (c == '\\' && i + 1 < path.size()) {
      step += path[++i];
    } else if (!bracket && (c == '.' || c == '[')) {
      if (!step.empty()) steps.push_back(step);
      step.clear();
      if (c == '[') {
        bracket = true;
        step = "[";
      }
    } else if (bracket && c == ']') {
      bracket = false;
      steps.push_back(step);
      step.clear();
    } else {
      step += c;
    }
  }
  if (!step.empty()) steps.push_back(step);
  return steps;
}

/// The element of `list` that a bracket step means, or its size when there is none.
size_t ElementIndex(const Json& list, const std::string& step) {
  std::string inside = step.substr(1);
  size_t colon = inside.find(':');
  if (colon == std::string::npos) {
    size_t index = std::strtoul(inside.c_str(), nullptr, 10);
    return std::min(index, list.size());
  }
  std::string key = inside.substr(0, colon), value = inside.substr(colon + 1);
  for (size_t i = 0; i < list.size(); ++i) {
    if (key.empty() ? list[i] == value : StringAt(list[i], {key}) == value) return i;
  }
  return list.size();
}

base::Status ApplyPatch(Json& object, const Json& patch) {
  std::string path = StringAt(patch, {"path"});
  std::vector<std::string> steps = OverlayPath(path);
  if (steps.empty()) return Error(Code::kInvalidArgument, "an overlay patch has no path");
  Json* place = &object;
  for (size_t i = 0; i < steps.size(); ++i) {
    bool last = i + 1 == steps.size();
    bool remove = last && (!patch.contains("value") || patch["value"].is_null());
    if (steps[i][0] == '[') {
      if (place->is_null()) *place = Json::array();
      if (!place->is_array())
        return Error(Code::kInvalidArgument, "overlay path {}: {}] is not in a list", path,
                     steps[i]);
      size_t index = ElementIndex(*place, steps[i]);
      if (remove) {
        if (index < place->size()) place->erase(index);
        return {};
      }
      if (index == place->size()) {
        if (!last)
          return Error(Code::kNotFound, "overlay path {}: {}] matches nothing", path, steps[i]);
        place->push_back(nullptr);
      }
      place = &(*place)[index];
    } else {
      if (place->is_null()) *place = Json::object();
      if (!place->is_object())
        return Error(Code::kInvalidArgument, "overlay path {}: {} is not in a map", path, steps[i]);
      if (remove) {
        place->erase(steps[i]);
        return {};
      }
      place = &(*place)[steps[i]];
    }
  }
  *place = patch["value"];
  return {};
}

base::Status ApplyOverlays(const Json& overlays, std::vector<Json>& objects) {
  for (const Json& overlay : overlays) {
    std::string kind = StringAt(overlay, {"kind"}), name = StringAt(overlay, {"name"});
    Json* found = nullptr;
    for (Json& object : objects)
      if (StringAt(object, {"kind"}) == kind && StringAt(object, {"metadata", "name"}) == name)
        found = &object;
    if (found == nullptr)
      return Error(Code::kNotFound, "overlays: no object {} {} is rendered", kind, name);
    const Json* patches = Find(overlay, {"patches"});
    if (patches == nullptr || !patches->is_array()) continue;
    for (const Json& patch : *patches)
      RETURN_IF_ERROR(ApplyPatch(*found, patch), "overlays of " + kind + " " + name);
  }
  return {};
}

}  // namespace

base::Status ApplyKubernetesOverrides(const Json& k8s, const std::string& container,
                                      std::vector<Json>& objects) {
  if (!k8s.is_object()) return Error(Code::kInvalidArgument, "it is not a map");
  if (Json* deployment = FindKind(objects, "Deployment"))
    RETURN_IF_ERROR(OverrideWorkload(k8s, container, *deployment), "");
  if (Json* service = FindKind(objects, "Service")) {
    if (const Json* spec = Find(k8s, {"service"})) {
      Json given = *spec;
      // The ports of a gateway were taken already, protocol filled in.
      if (StringAt(*service, {"metadata", "name"}) != "istiod") given.erase("ports");
      Overlay((*service)["spec"], given);
    }
    if (const Json* annotations = Find(k8s, {"serviceAnnotations"}))
      Overlay((*service)["metadata"]["annotations"], *annotations);
  }
  if (Json* hpa = FindKind(objects, "HorizontalPodAutoscaler"))
    if (const Json* spec = Find(k8s, {"hpaSpec"})) Overlay((*hpa)["spec"], *spec);
  if (Json* pdb = FindKind(objects, "PodDisruptionBudget")) {
    if (const Json* spec = Find(k8s, {"podDisruptionBudget"})) {
      if (spec->contains("maxUnavailable")) (*pdb)["spec"].erase("minAvailable");
      Overlay((*pdb)["spec"], *spec);
    }
  }
  if (const Json* overlays = Find(k8s, {"overlays"}); overlays != nullptr && overlays->is_array())
    RETURN_IF_ERROR(ApplyOverlays(*overlays, objects), "");
  return {};
}

}  // namespace isthmus::install
