#include "lab/controllers/statuses.h"

#include <algorithm>

#include "kubeapi/meta.h"
#include "kubeapi/selector.h"
#include "lab/controllers/pods.h"

namespace isthmus::lab::controllers {
namespace {

using kubeapi::Find;
using kubeapi::IntAt;
using kubeapi::StringAt;

std::vector<std::string> OwnKey(const Resource& own, const Resource& resource, const Json& object,
                                bool gone) {
  if (gone || !Same(own, resource)) return {};
  return {kubeapi::KeyOf(object)};
}

/// The status as it was, to be changed.
Json StatusOf(const Json& object) {
  Json status = object.value("status", Json::object());
  return status.is_object() ? status : Json::object();
}

std::vector<Write> WithStatus(const Resource& resource, const Json& object, Json status) {
  if (status == object.value("status", Json())) return {};
  Json after = object;
  after["status"] = std::move(status);
  return {ReplaceStatus(resource, std::move(after))};
}

/// The workload that an autoscaler names; nothing for kinds that are not watched.
std::pair<const Resource*, const Json*> TargetOf(const World& world, const Json& scaler) {
  const std::string kind = StringAt(scaler, {"spec", "scaleTargetRef", "kind"});
  for (const Resource* resource : {&kDeployments, &kStatefulSets, &kReplicaSets})
    if (resource->kind == kind)
      return {resource, world.Get(*resource, kubeapi::NamespaceOf(scaler),
                                  StringAt(scaler, {"spec", "scaleTargetRef", "name"}))};
  return {nullptr, nullptr};
}

}  // namespace

std::vector<std::string> DisruptionBudgetController::KeysFor(const World& world,
                                                             const Resource& resource,
                                                             const Json& object, bool gone) const {
  if (!Same(resource, kPods)) return OwnKey(kDisruptionBudgets, resource, object, gone);
  std::vector<std::string> keys;
  for (const Json* budget : world.List(kDisruptionBudgets, kubeapi::NamespaceOf(object)))
    keys.push_back(kubeapi::KeyOf(*budget));
  return keys;
}

std::vector<Write> DisruptionBudgetController::Reconcile(const World& world,
                                                         const std::string& key) {
  auto [ns, budget_name] = SplitKey(key);
  const Json* budget = world.Get(kDisruptionBudgets, ns, budget_name);
  const Json* selector = budget == nullptr ? nullptr : Find(*budget, {"spec", "selector"});
  if (selector == nullptr) return {};
  auto labels = kubeapi::LabelSelector::FromObject(*selector);
  if (!labels.ok()) return {};
  int64_t expected = 0, healthy = 0;
  for (const Json* pod : world.List(kPods, ns)) {
    if (!IsActive(*pod) || !labels->MatchesObject(*pod)) continue;
    ++expected;
    healthy += IsReady(*pod) ? 1 : 0;
  }
  int64_t desired = expected;
  if (const Json* least = Find(*budget, {"spec", "minAvailable"})) {
    desired = Portion(*least, expected, true);
  } else if (const Json* most = Find(*budget, {"spec", "maxUnavailable"})) {
    desired = std::max<int64_t>(0, expected - Portion(*most, expected, true));
  }
  const int64_t allowed = expected == 0 ? 0 : std::max<int64_t>(0, healthy - desired);
  Json status = StatusOf(*budget);
  status["currentHealthy"] = healthy;
  status["desiredHealthy"] = desired;
  status["disruptionsAllowed"] = allowed;
  status["expectedPods"] = expected;
  status["observedGeneration"] = IntAt(*budget, {"metadata", "generation"});
  SetCondition(status, "DisruptionAllowed", allowed > 0,
               allowed > 0 ? "SufficientPods" : "InsufficientPods", "", world.Now());
  return WithStatus(kDisruptionBudgets, *budget, std::move(status));
}

std::vector<std::string> AutoscalerController::KeysFor(const World& world, const Resource& resource,
                                                       const Json& object, bool gone) const {
  if (Same(resource, kAutoscalers)) return OwnKey(kAutoscalers, resource, object, gone);
  std::vector<std::string> keys;
  if (Same(resource, kDeployments) || Same(resource, kStatefulSets) || Same(resource, kReplicaSets))
    for (const Json* scaler : world.List(kAutoscalers, kubeapi::NamespaceOf(object)))
      if (StringAt(*scaler, {"spec", "scaleTargetRef", "kind"}) == resource.kind &&
          StringAt(*scaler, {"spec", "scaleTargetRef", "name"}) == kubeapi::NameOf(object))
        keys.push_back(kubeapi::KeyOf(*scaler));
  return keys;
}

std::vector<Write> AutoscalerController::Reconcile(const World& world, const std::string& key) {
  auto [ns, scaler_name] = SplitKey(key);
  const Json* scaler = world.Get(kAutoscalers, ns, scaler_name);
  if (scaler == nullptr) return {};
  const auto [resource, target] = TargetOf(world, *scaler);
  Json status = StatusOf(*scaler);
  if (target == nullptr) {
    SetCondition(status, "AbleToScale", false, "FailedGetScale",
                 "the HPA controller was unable to get the target's current scale: " +
                     StringAt(*scaler, {"spec", "scaleTargetRef", "name"}) + " not found",
                 world.Now());
    return WithStatus(kAutoscalers, *scaler, std::move(status));
  }
  const int64_t replicas = IntAt(*target, {"spec", "replicas"}, 1);
  // Without replicas scaling is switched off.
  const int64_t wanted = replicas == 0
                             ? 0
                             : std::clamp(replicas, IntAt(*scaler, {"spec", "minReplicas"}, 1),
                                          std::max(IntAt(*scaler, {"spec", "maxReplicas"}, 1),
                                                   IntAt(*scaler, {"spec", "minReplicas"}, 1)));
  std::vector<Write> writes;
  if (wanted != replicas)
    writes.push_back({Write::Kind::kMergePatch,
                      *resource,
                      ns,
                      kubeapi::NameOf(*target),
                      {{"spec", {{"replicas", wanted}}}},
                      "",
                      false});
  status["currentReplicas"] = replicas;
  status["desiredReplicas"] = wanted;
  status["observedGeneration"] = IntAt(*scaler, {"metadata", "generation"});
  SetCondition(status, "AbleToScale", true, "SucceededGetScale",
               "the HPA controller was able to get the target's current scale", world.Now());
  SetCondition(
      status, "ScalingActive", false, replicas == 0 ? "ScalingDisabled" : "FailedGetResourceMetric",
      replicas == 0 ? "scaling is disabled since the replica count of the target is zero"
                    : "the HPA was unable to compute the replica count: a lab keeps no metrics",
      world.Now());
  for (Write& write : WithStatus(kAutoscalers, *scaler, std::move(status)))
    writes.push_back(std::move(write));
  return writes;
}

std::vector<std::string> ClaimController::KeysFor(const World&, const Resource& resource,
                                                  const Json& object, bool gone) const {
  return OwnKey(kClaims, resource, object, gone);
}

std::vector<Write> ClaimController::Reconcile(const World& world, const std::string& key) {
  auto [ns, claim_name] = SplitKey(key);
  const Json* claim = world.Get(kClaims, ns, claim_name);
  if (claim == nullptr || StringAt(*claim, {"status", "phase"}) == "Bound") return {};
  Json status = StatusOf(*claim);
  status["phase"] = "Bound";
  if (const Json* modes = Find(*claim, {"spec", "accessModes"})) status["accessModes"] = *modes;
  if (const Json* size = Find(*claim, {"spec", "resources", "requests"}))
    status["capacity"] = *size;
  return WithStatus(kClaims, *claim, std::move(status));
}

std::vector<std::string> OrphanedPodController::KeysFor(const World& world,
                                                        const Resource& resource,
                                                        const Json& object, bool gone) const {
  std::vector<std::string> keys;
  if (gone && Same(resource, kNodes))
    for (const Json* pod : world.List(kPods))
      if (StringAt(*pod, {"spec", "nodeName"}) == kubeapi::NameOf(object))
        keys.push_back(kubeapi::KeyOf(*pod));
  return keys;
}

std::vector<Write> OrphanedPodController::Reconcile(const World& world, const std::string& key) {
  auto [ns, pod_name] = SplitKey(key);
  const Json* pod = world.Get(kPods, ns, pod_name);
  if (pod == nullptr) return {};
  const std::string node = StringAt(*pod, {"spec", "nodeName"});
  if (node.empty() || world.Get(kNodes, "", node) != nullptr) return {};
  Write end = Delete(kPods, *pod);
  end.at_once = true;  // No node will say that it has ended.
  return {std::move(end)};
}

}  // namespace isthmus::lab::controllers
