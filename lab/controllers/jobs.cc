#include "lab/controllers/jobs.h"

#include <algorithm>
#include <optional>

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

constexpr char kJobController[] = "job-controller";

bool Ended(const Json& job) {
  return kubeapi::ConditionIsTrue(job, "Complete") || kubeapi::ConditionIsTrue(job, "Failed");
}

/// How long an ended job still stays, when it says so.
std::optional<base::Duration> TimeToLive(const World& world, const Json& job) {
  const Json* seconds = kubeapi::Find(job, {"spec", "ttlSecondsAfterFinished"});
  if (seconds == nullptr || !seconds->is_number_integer()) return std::nullopt;
  std::string ended = StringAt(job, {"status", "completionTime"});
  for (const Json& condition : job["status"]["conditions"])
    if (ended.empty() && StringAt(condition, {"status"}) == "True")
      ended = StringAt(condition, {"lastTransitionTime"});
  const auto time = base::ParseTime(ended);
  if (!time.ok()) return std::nullopt;
  return *time + std::chrono::seconds(seconds->get<int64_t>()) - world.Now();
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
  if (job == nullptr || kubeapi::IsBeingDeleted(*job)) return {};
  if (Ended(*job)) {
    const auto left = TimeToLive(world, *job);
    if (!left || *left > base::Duration::zero()) return {};
    return {Delete(kJobs, *job)};
  }
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
      writes.push_back(Noted(CreateObject(kPods, ns, PodFor(*job)), kJobs, *job, kJobController,
                             "SuccessfulCreate", "Created pod: {}"));
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
  if (after != *job) {
    Write write = ReplaceStatus(kJobs, std::move(after));
    if (complete)
      write = Noted(std::move(write), kJobs, *job, kJobController, "Completed", "Job completed");
    writes.push_back(std::move(write));
  }
  return writes;
}

base::Duration JobController::LookAgainIn(const World& world, const std::string& key) const {
  auto [ns, job_name] = SplitKey(key);
  const Json* job = world.Get(kJobs, ns, job_name);
  if (job == nullptr || !Ended(*job)) return {};
  return TimeToLive(world, *job).value_or(base::Duration::zero());
}

}  // namespace isthmus::lab::controllers
