#include "lab/controllers/replica_sets.h"

#include <algorithm>
#include <tuple>

#include "kubeapi/meta.h"
#include "kubeapi/selector.h"
#include "lab/controllers/pods.h"

namespace isthmus::lab::controllers {
namespace {

using kubeapi::IntAt;
using kubeapi::StringAt;

/// Those that users miss least come first: not placed, not ready, newest.
void SortByValue(std::vector<const Json*>& pods) {
  std::stable_sort(pods.begin(), pods.end(), [](const Json* a, const Json* b) {
    auto rank = [](const Json* pod) {
      return std::make_tuple(!StringAt(*pod, {"spec", "nodeName"}).empty(), IsReady(*pod));
    };
    if (rank(a) != rank(b)) return rank(a) < rank(b);
    return StringAt(*a, {"metadata", "creationTimestamp"}) >
           StringAt(*b, {"metadata", "creationTimestamp"});
  });
}

}  // namespace

std::vector<std::string> ReplicaSetController::KeysFor(const World&, const Resource& resource,
                                                       const Json& object, bool) const {
  if (Same(resource, kReplicaSets)) return {kubeapi::KeyOf(object)};
  if (Same(resource, kPods)) return OwnerKey(object, kReplicaSets);
  return {};
}

std::vector<Write> ReplicaSetController::Reconcile(const World& world, const std::string& key) {
  auto [ns, set_name] = SplitKey(key);
  const Json* set = world.Get(kReplicaSets, ns, set_name);
  if (set == nullptr) return {};
  std::vector<const Json*> active;
  for (const Json* pod : world.ControlledBy(kPods, ns, kubeapi::UidOf(*set)))
    if (IsActive(*pod)) active.push_back(pod);
  std::vector<Write> writes;
  int64_t wanted = IntAt(*set, {"spec", "replicas"}, 1);
  auto have = static_cast<int64_t>(active.size());
  if (!kubeapi::IsBeingDeleted(*set)) {
    for (int64_t i = have; i < wanted; ++i)
      writes.push_back(Noted(
          CreateObject(kPods, ns, PodFromTemplate(*set, (*set)["spec"]["template"])), kReplicaSets,
          *set, "replicaset-controller", "SuccessfulCreate", "Created pod: {}"));
    if (have > wanted) {
      SortByValue(active);
      for (int64_t i = 0; i < have - wanted; ++i)
        writes.push_back(Noted(Delete(kPods, *active[i]), kReplicaSets, *set,
                               "replicaset-controller", "SuccessfulDelete", "Deleted pod: {}"));
    }
  }
  int64_t ready =
      std::count_if(active.begin(), active.end(), [](const Json* pod) { return IsReady(*pod); });
  Json after = *set;
  Json& status = after["status"];
  if (!status.is_object()) status = Json::object();
  status["replicas"] = have;
  status["fullyLabeledReplicas"] = have;
  status["readyReplicas"] = ready;
  status["availableReplicas"] = ready;
  status["observedGeneration"] = IntAt(*set, {"metadata", "generation"});
  if (after != *set) writes.push_back(ReplaceStatus(kReplicaSets, std::move(after)));
  return writes;
}

}  // namespace isthmus::lab::controllers
