#include "lab/controllers/stateful_sets.h"

#include <map>

#include "kubeapi/meta.h"
#include "lab/controllers/pods.h"

namespace isthmus::lab::controllers {
namespace {

using kubeapi::IntAt;
using kubeapi::StringAt;

Json PodFor(const Json& set, int64_t ordinal, const std::string& revision) {
  const std::string name = kubeapi::NameOf(set) + "-" + std::to_string(ordinal);
  Json pod = PodFromTemplate(set, set["spec"]["template"], name);
  pod["metadata"]["labels"][kRevisionLabel] = revision;
  pod["metadata"]["labels"]["statefulset.kubernetes.io/pod-name"] = name;
  pod["metadata"]["labels"]["apps.kubernetes.io/pod-index"] = std::to_string(ordinal);
  pod["spec"]["hostname"] = name;
  pod["spec"]["subdomain"] = StringAt(set, {"spec", "serviceName"});
  return pod;
}

}  // namespace

std::vector<std::string> StatefulSetController::KeysFor(const World&, const Resource& resource,
                                                        const Json& object, bool) const {
  if (Same(resource, kStatefulSets)) return {kubeapi::KeyOf(object)};
  if (Same(resource, kPods)) return OwnerKey(object, kStatefulSets);
  return {};
}

std::vector<Write> StatefulSetController::Reconcile(const World& world, const std::string& key) {
  auto [ns, set_name] = SplitKey(key);
  const Json* set = world.Get(kStatefulSets, ns, set_name);
  if (set == nullptr) return {};
  const std::string revision = set_name + "-" + TemplateHash((*set)["spec"]["template"]);
  const bool parallel = StringAt(*set, {"spec", "podManagementPolicy"}) == "Parallel";
  const bool rolling = StringAt(*set, {"spec", "updateStrategy", "type"}) != "OnDelete";
  const int64_t wanted = IntAt(*set, {"spec", "replicas"}, 1);
  std::map<int64_t, const Json*> pods;
  for (const Json* pod : world.ControlledBy(kPods, ns, kubeapi::UidOf(*set)))
    pods[std::strtoll(kubeapi::NameOf(*pod).c_str() + set_name.size() + 1, nullptr, 10)] = pod;

  std::vector<Write> writes;
  bool all_ready = true;
  if (!kubeapi::IsBeingDeleted(*set)) {
    for (int64_t ordinal = 0; ordinal < wanted && (parallel || all_ready); ++ordinal) {
      const Json* pod = pods.contains(ordinal) ? pods[ordinal] : nullptr;
      if (pod == nullptr) {
        writes.push_back(Noted(CreateObject(kPods, ns, PodFor(*set, ordinal, revision)),
                               kStatefulSets, *set, "statefulset-controller", "SuccessfulCreate",
                               "create Pod {} in StatefulSet " + set_name + " successful"));
        all_ready = false;
      } else if (!IsActive(*pod)) {
        if (!kubeapi::IsBeingDeleted(*pod)) writes.push_back(Delete(kPods, *pod));
        all_ready = false;
      } else if (!IsReady(*pod)) {
        all_ready = false;
      }
    }
    // From the last one down: those beyond the wanted number, then (all being well) those of an
    // older template.
    for (auto it = pods.rbegin(); it != pods.rend(); ++it) {
      const auto& [ordinal, pod] = *it;
      bool surplus = ordinal >= wanted;
      bool outdated = rolling && all_ready && kubeapi::LabelOf(*pod, kRevisionLabel) != revision;
      if (!surplus && !outdated) continue;
      if (!kubeapi::IsBeingDeleted(*pod)) writes.push_back(Delete(kPods, *pod));
      if (!parallel || outdated) break;
    }
  }
  int64_t have = 0, ready = 0, updated = 0;
  for (const auto& [ordinal, pod] : pods) {
    if (!IsActive(*pod)) continue;
    ++have;
    ready += IsReady(*pod) ? 1 : 0;
    updated += kubeapi::LabelOf(*pod, kRevisionLabel) == revision ? 1 : 0;
  }
  Json after = *set;
  Json& status = after["status"];
  if (!status.is_object()) status = Json::object();
  status["replicas"] = have;
  status["readyReplicas"] = ready;
  status["availableReplicas"] = ready;
  status["updatedReplicas"] = updated;
  status["currentReplicas"] = updated;
  status["updateRevision"] = revision;
  if (updated == wanted || !status.contains("currentRevision"))
    status["currentRevision"] = revision;
  status["observedGeneration"] = IntAt(*set, {"metadata", "generation"});
  if (after != *set) writes.push_back(ReplaceStatus(kStatefulSets, std::move(after)));
  return writes;
}

}  // namespace isthmus::lab::controllers
