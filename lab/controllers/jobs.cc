#include "lab/controllers/jobs.h"

#include <algorithm>

#include "kubeapi/meta.h"
#include "lab/controllers/pods.h"

namespace isthmus::lab::controllers {
namespace {

using kubeapi::IntAt;
using kubeapi::StringAt;

Json PodFor(const Json& job) {
  Json pod = PodFromTemplate(job, job["spec"]["template"]);
  for (const char* label : {"job-name", "batch.kubernetes.io/job-name"})
    pod["metadata"]["labels"][label] = kubeapi::NameOf(job);
  for (const char* label : {"controller-uid", "batch.kubernetes.io/controller-uid"})
    pod["metadata"]["labels"][label] = kubeapi::UidOf(job);
  return pod;
}

bool Ended(const Json& job) {
  return kubeapi::ConditionIsTrue(job, "Complete") || kubeapi::ConditionIsTrue(job, "Failed");
}

}  // namespace

std::vector<std::string> JobController::KeysFor(const World&, const Resource& resource,
                                                const Json& object, bool) const {
  if (Same(resource, kJobs)) return {kubeapi::KeyOf(object)};
  if (Same(resource, kPods)) return OwnerKey(object, kJobs);
  return {};
}

std::vector<Write> JobController::Reconcile(const World& world, const std::string& key) {
  auto [ns, job_name] = SplitKey(key);
  const Json* job = world.Get(kJobs, ns, job_name);
  if (job == nullptr || kubeapi::IsBeingDeleted(*job) || Ended(*job)) return {};
  int64_t succeeded = 0, failed = 0, active = 0, ready = 0;
  std::vector<const Json*> running;
  for (const Json* pod : world.ControlledBy(kPods, ns, kubeapi::UidOf(*job))) {
    std::string phase = StringAt(*pod, {"status", "phase"});
    if (phase == "Succeeded") {
      ++succeeded;
    } else if (phase == "Failed") {
      ++failed;
    } else if (!kubeapi::IsBeingDeleted(*pod)) {
      ++active;
      ready += IsReady(*pod) ? 1 : 0;
      running.push_back(pod);
    }
  }
  int64_t parallelism = IntAt(*job, {"spec", "parallelism"}, 1);
  int64_t completions = IntAt(*job, {"spec", "completions"}, 1);
  bool complete = succeeded >= completions;
  bool too_many = failed > IntAt(*job, {"spec", "backoffLimit"}, 6);
  std::vector<Write> writes;
  if (too_many || complete) {
    for (const Json* pod : running) writes.push_back(Delete(kPods, *pod));
  } else if (!kubeapi::BoolAt(*job, {"spec", "suspend"})) {
    for (int64_t i = active; i < std::min(parallelism, completions - succeeded); ++i)
      writes.push_back(CreateObject(kPods, ns, PodFor(*job)));
  }
  Json after = *job;
  Json& status = after["status"];
  if (!status.is_object()) status = Json::object();
  if (!status.contains("startTime")) status["startTime"] = base::FormatTime(world.Now());
  status["active"] = complete || too_many ? 0 : active;
  status["ready"] = complete || too_many ? 0 : ready;
  status["succeeded"] = succeeded;
  status["failed"] = failed;
  if (complete) {
    status["completionTime"] = base::FormatTime(world.Now());
    SetCondition(status, "Complete", true, "CompletionsReached",
                 "Reached expected number of succeeded pods", world.Now());
  } else if (too_many) {
    SetCondition(status, "Failed", true, "BackoffLimitExceeded",
                 "Job has reached the specified backoff limit", world.Now());
  }
  if (after != *job) writes.push_back(ReplaceStatus(kJobs, std::move(after)));
  return writes;
}

}  // namespace isthmus::lab::controllers
