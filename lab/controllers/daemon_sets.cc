#include "lab/controllers/daemon_sets.h"

#include <map>

#include "kubeapi/meta.h"
#include "lab/controllers/placement.h"
#include "lab/controllers/pods.h"

namespace isthmus::lab::controllers {
namespace {

using kubeapi::IntAt;
using kubeapi::StringAt;

Json PodFor(const Json& set, const std::string& node, const std::string& hash) {
  Json pod = PodFromTemplate(set, set["spec"]["template"]);
  pod["metadata"]["labels"][kRevisionLabel] = hash;
  pod["spec"]["nodeName"] = node;
  return pod;
}

}  // namespace

std::vector<std::string> DaemonSetController::KeysFor(const World& world, const Resource& resource,
                                                      const Json& object, bool) const {
  if (Same(resource, kDaemonSets)) return {kubeapi::KeyOf(object)};
  if (Same(resource, kPods)) return OwnerKey(object, kDaemonSets);
  std::vector<std::string> all;
  if (Same(resource, kNodes))
    for (const Json* set : world.List(kDaemonSets)) all.push_back(kubeapi::KeyOf(*set));
  return all;
}

std::vector<Write> DaemonSetController::Reconcile(const World& world, const std::string& key) {
  auto [ns, set_name] = SplitKey(key);
  const Json* set = world.Get(kDaemonSets, ns, set_name);
  if (set == nullptr) return {};
  const std::string hash = TemplateHash((*set)["spec"]["template"]);
  std::map<std::string, const Json*> by_node;
  std::vector<Write> writes;
  for (const Json* pod : world.ControlledBy(kPods, ns, kubeapi::UidOf(*set))) {
    if (!IsActive(*pod)) continue;
    const Json*& place = by_node[StringAt(*pod, {"spec", "nodeName"})];
    if (place != nullptr) writes.push_back(Delete(kPods, *pod));
    if (place == nullptr) place = pod;
  }
  int64_t desired = 0, ready = 0, updated = 0, scheduled = 0;
  bool rolling = StringAt(*set, {"spec", "updateStrategy", "type"}) != "OnDelete";
  bool replacing = false;  // One node at a time loses its pod to an update.
  for (const auto& [node, pod] : by_node) replacing |= pod != nullptr && !IsReady(*pod);
  for (const Json* node : world.List(kNodes)) {
    const std::string name = kubeapi::NameOf(*node);
    const Json* pod = by_node.contains(name) ? by_node[name] : nullptr;
    if (!FitsNode((*set)["spec"]["template"]["spec"], *node, true)) {
      if (pod != nullptr) writes.push_back(Delete(kPods, *pod));
      continue;
    }
    ++desired;
    if (pod == nullptr) {
      if (!kubeapi::IsBeingDeleted(*set))
        writes.push_back(Noted(CreateObject(kPods, ns, PodFor(*set, name, hash)), kDaemonSets, *set,
                               "daemonset-controller", "SuccessfulCreate", "Created pod: {}"));
      continue;
    }
    ++scheduled;
    ready += IsReady(*pod) ? 1 : 0;
    bool current = kubeapi::LabelOf(*pod, kRevisionLabel) == hash;
    updated += current ? 1 : 0;
    if (!current && rolling && (!replacing || !IsReady(*pod)) && !kubeapi::IsBeingDeleted(*set)) {
      writes.push_back(Delete(kPods, *pod));
      replacing = true;
    }
  }
  Json after = *set;
  Json& status = after["status"];
  if (!status.is_object()) status = Json::object();
  status["desiredNumberScheduled"] = desired;
  status["currentNumberScheduled"] = scheduled;
  status["numberMisscheduled"] = 0;
  status["numberReady"] = ready;
  status["numberAvailable"] = ready;
  status["numberUnavailable"] = desired - ready;
  status["updatedNumberScheduled"] = updated;
  status["observedGeneration"] = IntAt(*set, {"metadata", "generation"});
  if (after != *set) writes.push_back(ReplaceStatus(kDaemonSets, std::move(after)));
  return writes;
}

}  // namespace isthmus::lab::controllers
