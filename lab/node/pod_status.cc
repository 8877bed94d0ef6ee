// The part of Pod that says how it is, as the API has it.
#include <algorithm>

#include "base/clock.h"
#include "kubeapi/meta.h"
#include "lab/node/pod.h"

namespace isthmus::lab::node {
namespace {

using kubeapi::Json;

// The conditions that a node owns; those of others (scheduler, readiness gates) are passed through.
constexpr std::string_view kOwned[] = {"PodReadyToStartContainers", "Initialized", "Ready",
                                       "ContainersReady"};

bool Owned(std::string_view type) {
  return std::find(std::begin(kOwned), std::end(kOwned), type) != std::end(kOwned);
}

const Json* FindByType(const Json& conditions, std::string_view type) {
  if (!conditions.is_array()) return nullptr;
  for (const Json& condition : conditions)
    if (kubeapi::StringAt(condition, {"type"}) == type) return &condition;
  return nullptr;
}

}  // namespace

std::string Pod::PhaseWord() const {
  if (Finished()) {
    const bool good = std::all_of(mains_.begin(), mains_.end(), [](const auto& container) {
      return container->ended() && container->exit_code() == 0;
    });
    return good ? "Succeeded" : "Failed";
  }
  const bool any_new = std::any_of(mains_.begin(), mains_.end(), [](const auto& container) {
    return !container->running() && !container->ended() && container->restarts() == 0;
  });
  return any_new ? "Pending" : "Running";
}

Json Pod::Conditions(const std::string& phase) const {
  const bool finished = phase == "Succeeded" || phase == "Failed";
  bool containers_ready = !finished && !mains_.empty() && !ending_;
  std::string unready;
  for (const List* list : {&mains_, &inits_})
    for (const auto& container : *list) {
      if (container->kind() == PodContainer::Kind::kInit || container->ready()) continue;
      containers_ready = false;
      unready += (unready.empty() ? "" : " ") + container->name();
    }
  bool ready = containers_ready;
  const Json* gates = kubeapi::Find(pod_, {"spec", "readinessGates"});
  if (gates != nullptr && gates->is_array())
    for (const Json& gate : *gates)
      ready = ready && kubeapi::ConditionIsTrue(pod_, kubeapi::StringAt(gate, {"conditionType"}));

  Json conditions = Json::array();
  const Json* theirs = kubeapi::Find(pod_, {"status", "conditions"});
  if (theirs != nullptr && theirs->is_array())
    for (const Json& condition : *theirs)
      if (!Owned(kubeapi::StringAt(condition, {"type"}))) conditions.push_back(condition);
  const Json* before = kubeapi::Find(reported_, {"conditions"});
  if (before == nullptr) before = theirs;
  auto add = [&](const char* type, bool value, const char* reason, const std::string& message) {
    Json condition = {
        {"type", type}, {"status", value ? "True" : "False"}, {"lastProbeTime", nullptr}};
    if (!value && reason[0] != '\0') condition["reason"] = reason;
    if (!value && !message.empty()) condition["message"] = message;
    const Json* old = before == nullptr ? nullptr : FindByType(*before, type);
    const bool same = old != nullptr && kubeapi::StringAt(*old, {"status"}) ==
                                            kubeapi::StringAt(condition, {"status"});
    condition["lastTransitionTime"] = same ? kubeapi::StringAt(*old, {"lastTransitionTime"})
                                           : base::FormatTime(base::SystemClock().Now());
    conditions.push_back(std::move(condition));
  };
  const char* done = phase == "Succeeded" ? "PodCompleted"
                     : phase == "Failed"  ? "PodFailed"
                                          : "ContainersNotReady";
  const std::string who =
      finished || unready.empty() ? "" : "containers with unready status: [" + unready + "]";
  add("PodReadyToStartContainers", !link_.ip.empty() && !finished, "", "");
  add("Initialized", initialized_ || inits_.empty() || phase == "Succeeded",
      "ContainersNotInitialized", "");
  add("Ready", ready, done, who);
  add("ContainersReady", containers_ready, done, who);
  return conditions;
}

Json Pod::Status() const {
  const std::string phase = PhaseWord();
  Json status = {{"phase", phase},
                 {"startTime", start_time_},
                 {"hostIP", context_.node.address},
                 {"hostIPs", Json::array({{{"ip", context_.node.address}}})},
                 {"conditions", Conditions(phase)}};
  if (!link_.ip.empty()) {
    status["podIP"] = link_.ip;
    status["podIPs"] = Json::array({{{"ip", link_.ip}}});
  }
  status["containerStatuses"] = Json::array();
  for (const auto& container : mains_) status["containerStatuses"].push_back(container->Status());
  if (!inits_.empty()) status["initContainerStatuses"] = Json::array();
  for (const auto& container : inits_)
    status["initContainerStatuses"].push_back(container->Status());
  if (!problem_.empty() && !problem_reason_.empty()) {
    status["reason"] = problem_reason_;
    status["message"] = problem_;
  }
  return status;
}

void Pod::Report() {
  Json status = Status();
  if (status == reported_) return;
  reported_ = status;
  events_.status(reported_);
}

}  // namespace isthmus::lab::node
