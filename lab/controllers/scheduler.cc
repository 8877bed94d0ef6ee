#include "lab/controllers/scheduler.h"

#include <map>

#include "kubeapi/meta.h"
#include "lab/controllers/placement.h"
#include "lab/controllers/pods.h"

namespace isthmus::lab::controllers {
namespace {

using kubeapi::StringAt;

constexpr char kScheduler[] = "default-scheduler";

/// Says in the pod's status why it waits.
std::vector<Write> Unschedulable(const World& world, const Json& pod) {
  Json after = pod;
  const std::string message =
      "0/" + std::to_string(world.List(kNodes).size()) +
      " nodes are available: none is ready and fits the pod's node selector and tolerations.";
  SetCondition(after["status"], "PodScheduled", false, "Unschedulable", message, world.Now());
  if (after["status"] == pod.value("status", Json())) return {};
  Write write = Noted(ReplaceStatus(kPods, std::move(after)), kPods, pod, kScheduler,
                      "FailedScheduling", message);
  write.note->warning = true;
  return {std::move(write)};
}

}  // namespace

std::vector<std::string> Scheduler::KeysFor(const World& world, const Resource& resource,
                                            const Json& object, bool gone) const {
  if (Same(resource, kPods)) {
    if (!gone && StringAt(object, {"spec", "nodeName"}).empty()) return {kubeapi::KeyOf(object)};
    return {};
  }
  std::vector<std::string> waiting;
  if (Same(resource, kNodes))
    for (const Json* pod : world.List(kPods))
      if (StringAt(*pod, {"spec", "nodeName"}).empty()) waiting.push_back(kubeapi::KeyOf(*pod));
  return waiting;
}

std::vector<Write> Scheduler::Reconcile(const World& world, const std::string& key) {
  auto [ns, pod_name] = SplitKey(key);
  const Json* pod = world.Get(kPods, ns, pod_name);
  if (pod == nullptr || !IsActive(*pod) || !StringAt(*pod, {"spec", "nodeName"}).empty()) return {};
  std::string scheduler = StringAt(*pod, {"spec", "schedulerName"});
  if (!scheduler.empty() && scheduler != "default-scheduler") return {};
  std::map<std::string, int> load;
  for (const Json* other : world.List(kPods))
    if (IsActive(*other)) ++load[StringAt(*other, {"spec", "nodeName"})];
  const Json* best = nullptr;
  for (const Json* node : world.List(kNodes)) {
    if (!FitsNode((*pod)["spec"], *node, false)) continue;
    if (best == nullptr || load[kubeapi::NameOf(*node)] < load[kubeapi::NameOf(*best)]) best = node;
  }
  if (best == nullptr) return Unschedulable(world, *pod);
  Json binding = {
      {"apiVersion", "v1"},
      {"kind", "Binding"},
      {"metadata", {{"name", pod_name}, {"namespace", ns}}},
      {"target", {{"apiVersion", "v1"}, {"kind", "Node"}, {"name", kubeapi::NameOf(*best)}}}};
  return {Noted({Write::Kind::kSubresource, kPods, ns, pod_name, std::move(binding), "binding"},
                kPods, *pod, kScheduler, "Scheduled",
                "Successfully assigned " + key + " to " + kubeapi::NameOf(*best))};
}

}  // namespace isthmus::lab::controllers
