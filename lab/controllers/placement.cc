#include "lab/controllers/placement.h"

#include "kubeapi/meta.h"
#include "kubeapi/selector.h"

namespace isthmus::lab::controllers {
namespace {

using kubeapi::Find;
using kubeapi::StringAt;

bool Tolerates(const Json& pod_spec, const Json& taint) {
  const Json* tolerations = Find(pod_spec, {"tolerations"});
  if (tolerations == nullptr || !tolerations->is_array()) return false;
  for (const Json& toleration : *tolerations) {
    std::string effect = StringAt(toleration, {"effect"});
    if (!effect.empty() && effect != StringAt(taint, {"effect"})) continue;
    std::string key = StringAt(toleration, {"key"});
    if (!key.empty() && key != StringAt(taint, {"key"})) continue;
    if (StringAt(toleration, {"operator"}) == "Exists" ||
        StringAt(toleration, {"value"}) == StringAt(taint, {"value"}))
      return true;
  }
  return false;
}

bool FitsTaints(const Json& pod_spec, const Json& node, bool daemon) {
  const Json* taints = Find(node, {"spec", "taints"});
  if (taints == nullptr || !taints->is_array()) return true;
  for (const Json& taint : *taints) {
    if (StringAt(taint, {"effect"}) == "PreferNoSchedule") continue;
    if (daemon && StringAt(taint, {"key"}).starts_with("node.kubernetes.io/")) continue;
    if (!Tolerates(pod_spec, taint)) return false;
  }
  return true;
}

bool FitsAffinity(const Json& pod_spec, const Json& labels) {
  const Json* terms =
      Find(pod_spec, {"affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution",
                      "nodeSelectorTerms"});
  if (terms == nullptr || !terms->is_array()) return true;
  for (const Json& term : *terms) {
    auto selector = kubeapi::LabelSelector::FromObject(
        Json{{"matchExpressions", term.value("matchExpressions", Json::array())}});
    if (selector.ok() && selector->Matches(labels)) return true;
  }
  return false;
}

}  // namespace

bool FitsNode(const Json& pod_spec, const Json& node, bool daemon) {
  if (!daemon && (kubeapi::BoolAt(node, {"spec", "unschedulable"}) ||
                  !kubeapi::ConditionIsTrue(node, "Ready")))
    return false;
  static const Json none = Json::object();
  const Json* labels = Find(node, {"metadata", "labels"});
  if (labels == nullptr) labels = &none;
  if (const Json* wanted = Find(pod_spec, {"nodeSelector"});
      wanted != nullptr && wanted->is_object())
    for (const auto& [key, value] : wanted->items())
      if (!labels->contains(key) || (*labels)[key] != value) return false;
  return FitsAffinity(pod_spec, *labels) && FitsTaints(pod_spec, node, daemon);
}

}  // namespace isthmus::lab::controllers
