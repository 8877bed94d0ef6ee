#include "lab/controllers/deployments.h"

#include <algorithm>
#include <cstdlib>
#include <optional>

#include "kubeapi/meta.h"
#include "lab/controllers/pods.h"

namespace isthmus::lab::controllers {
namespace {

using kubeapi::IntAt;
using kubeapi::StringAt;

constexpr char kRevision[] = "deployment.kubernetes.io/revision";
constexpr char kTemplateHashLabel[] = "pod-template-hash";

constexpr char kDeploymentController[] = "deployment-controller";

/// maxSurge and maxUnavailable: a quarter when nothing is said.
int64_t QuarterOr(const Json* value, int64_t total, bool round_up) {
  if (value == nullptr) return round_up ? (total + 3) / 4 : total / 4;
  return Portion(*value, total, round_up);
}

Json TemplateOf(const Json& set) {
  Json pod_template = set["spec"]["template"];
  if (pod_template.contains("metadata") && pod_template["metadata"].contains("labels"))
    pod_template["metadata"]["labels"].erase(kTemplateHashLabel);
  return pod_template;
}

int64_t RevisionOf(const Json& object) {
  return std::strtoll(kubeapi::AnnotationOf(object, kRevision).c_str(), nullptr, 10);
}

constexpr char kDeadlineExceeded[] = "ProgressDeadlineExceeded";

/// How long a rollout that is under way may still stand still; not above zero when it has for too
/// long. Nothing when none is under way.
std::optional<base::Duration> DeadlineIn(const World& world, const Json& deployment) {
  const Json* conditions = kubeapi::Find(deployment, {"status", "conditions"});
  if (conditions == nullptr || !conditions->is_array()) return std::nullopt;
  for (const Json& condition : *conditions) {
    const std::string reason = StringAt(condition, {"reason"});
    if (StringAt(condition, {"type"}) != "Progressing" ||
        (reason != "ReplicaSetUpdated" && reason != kDeadlineExceeded))
      continue;
    if (reason == kDeadlineExceeded) return base::Duration::zero();
    const auto since = base::ParseTime(StringAt(condition, {"lastUpdateTime"}));
    if (!since.ok()) return std::nullopt;
    return *since +
           std::chrono::seconds(IntAt(deployment, {"spec", "progressDeadlineSeconds"}, 600)) -
           world.Now();
  }
  return std::nullopt;
}

/// A Deployment with its replica sets, and the decisions about them.
class Rollout {
 public:
  Rollout(const World& world, const Json& deployment) : world_(world), deployment_(deployment) {
    for (const Json* set : world.ControlledBy(kReplicaSets, kubeapi::NamespaceOf(deployment),
                                              kubeapi::UidOf(deployment))) {
      last_revision_ = std::max(last_revision_, RevisionOf(*set));
      if (TemplateOf(*set) == deployment["spec"]["template"] &&
          (newest_ == nullptr || RevisionOf(*set) > RevisionOf(*newest_))) {
        if (newest_ != nullptr) old_.push_back(newest_);
        newest_ = set;
      } else {
        old_.push_back(set);
      }
    }
    wanted_ = IntAt(deployment, {"spec", "replicas"}, 1);
  }

  std::vector<Write> Decide() {
    if (!kubeapi::IsBeingDeleted(deployment_)) {
      if (newest_ == nullptr) {
        MakeNewest();
      } else {
        AdoptRevision();
        Scale();
        CleanUp();
      }
    }
    Status();
    return std::move(writes_);
  }

 private:
  void MakeNewest() {
    const std::string hash = TemplateHash(deployment_["spec"]["template"]);
    Json set = {{"apiVersion", "apps/v1"}, {"kind", "ReplicaSet"}, {"metadata", Json::object()}};
    Json pod_template = deployment_["spec"]["template"];
    pod_template["metadata"]["labels"][kTemplateHashLabel] = hash;
    Json selector = deployment_["spec"]["selector"];
    selector["matchLabels"][kTemplateHashLabel] = hash;
    set["metadata"] = {{"name", kubeapi::NameOf(deployment_) + "-" + hash},
                       {"namespace", kubeapi::NamespaceOf(deployment_)},
                       {"labels", pod_template["metadata"]["labels"]},
                       {"annotations", {{kRevision, std::to_string(last_revision_ + 1)}}},
                       {"ownerReferences", Json::array({kubeapi::OwnerReference(deployment_)})}};
    int64_t start = old_.empty()  ? wanted_
                    : Recreates() ? 0
                                  : std::max<int64_t>(
                                        0, std::min(wanted_, wanted_ + Surge() - TotalReplicas()));
    set["spec"] = {{"replicas", start},
                   {"selector", std::move(selector)},
                   {"template", std::move(pod_template)}};
    writes_.push_back(
        CreateObject(kReplicaSets, kubeapi::NamespaceOf(deployment_), std::move(set)));
    if (start > 0) NoteScaling(writes_.back(), "{}", 0, start);
    SetRevision(last_revision_ + 1);
  }

  /// After an undo an old set is the newest again, under a new number.
  void AdoptRevision() {
    int64_t revision = RevisionOf(*newest_);
    if (revision < last_revision_ || revision == 0) {
      Json set = *newest_;
      revision = last_revision_ + 1;
      kubeapi::SetAnnotation(set, kRevision, std::to_string(revision));
      writes_.push_back(Replace(kReplicaSets, std::move(set)));
    }
    SetRevision(revision);
  }

  void SetRevision(int64_t revision) {
    if (RevisionOf(deployment_) == revision) return;
    Json patch = {{"metadata", {{"annotations", {{kRevision, std::to_string(revision)}}}}}};
    writes_.push_back({Write::Kind::kMergePatch, kDeployments, kubeapi::NamespaceOf(deployment_),
                       kubeapi::NameOf(deployment_), std::move(patch), "", false});
  }

  void ScaleSet(const Json& set, int64_t replicas) {
    const int64_t before = IntAt(set, {"spec", "replicas"});
    if (before == replicas) return;
    Json patch = {{"spec", {{"replicas", replicas}}}};
    writes_.push_back({Write::Kind::kMergePatch, kReplicaSets, kubeapi::NamespaceOf(set),
                       kubeapi::NameOf(set), std::move(patch), "", false});
    NoteScaling(writes_.back(), kubeapi::NameOf(set), before, replicas);
  }

  void NoteScaling(Write& write, const std::string& set, int64_t before, int64_t now) {
    write = Noted(std::move(write), kDeployments, deployment_, kDeploymentController,
                  "ScalingReplicaSet",
                  "Scaled " + std::string(now > before ? "up" : "down") + " replica set " + set +
                      " from " + std::to_string(before) + " to " + std::to_string(now));
  }

  void Scale() {
    if (kubeapi::BoolAt(deployment_, {"spec", "paused"})) return;
    int64_t old_wanted = 0, old_running = 0;
    for (const Json* set : old_) {
      old_wanted += IntAt(*set, {"spec", "replicas"});
      old_running += IntAt(*set, {"status", "replicas"});
    }
    if (old_wanted == 0 && (!Recreates() || old_running == 0)) return ScaleSet(*newest_, wanted_);
    if (Recreates()) {
      for (const Json* set : old_) ScaleSet(*set, 0);
      return;
    }
    int64_t newest_wanted = IntAt(*newest_, {"spec", "replicas"});
    int64_t room = wanted_ + Surge() - TotalReplicas();
    if (newest_wanted < wanted_ && room > 0) {
      newest_wanted = std::min(wanted_, newest_wanted + room);
    } else if (newest_wanted > wanted_) {
      newest_wanted = wanted_;
    }
    ScaleSet(*newest_, newest_wanted);
    ScaleDownOld(newest_wanted);
  }

  /// Never so far that fewer than allowed could be ready: counted by what is asked for, since what
  /// is reported lags behind.
  void ScaleDownOld(int64_t newest_wanted) {
    const int64_t keep = wanted_ - MaxUnavailable();
    const int64_t unready_new =
        std::max<int64_t>(0, newest_wanted - IntAt(*newest_, {"status", "availableReplicas"}));
    int64_t old_total = 0;
    for (const Json* set : old_) old_total += IntAt(*set, {"spec", "replicas"});
    int64_t may_go = newest_wanted + old_total - keep - unready_new;
    for (const Json* set : old_) {
      int64_t replicas = IntAt(*set, {"spec", "replicas"});
      int64_t down = std::max<int64_t>(0, std::min(replicas, may_go));
      // The new set must have been asked for first, or nothing would remain.
      if (down == 0 || (newest_wanted == 0 && wanted_ > 0)) continue;
      may_go -= down;
      ScaleSet(*set, replicas - down);
    }
  }

  void CleanUp() {
    int64_t limit = IntAt(deployment_, {"spec", "revisionHistoryLimit"}, 10);
    std::vector<const Json*> idle;
    for (const Json* set : old_)
      if (IntAt(*set, {"spec", "replicas"}) == 0 && IntAt(*set, {"status", "replicas"}) == 0 &&
          !kubeapi::IsBeingDeleted(*set))
        idle.push_back(set);
    std::sort(idle.begin(), idle.end(),
              [](const Json* a, const Json* b) { return RevisionOf(*a) < RevisionOf(*b); });
    for (int64_t i = 0; i + limit < static_cast<int64_t>(idle.size()); ++i)
      writes_.push_back(Delete(kReplicaSets, *idle[i]));
  }

  void Status() {
    Json after = deployment_;
    Json& status = after["status"];
    if (!status.is_object()) status = Json::object();
    int64_t replicas = 0, ready = 0;
    std::vector<const Json*> all = old_;
    if (newest_ != nullptr) all.push_back(newest_);
    for (const Json* set : all) {
      replicas += IntAt(*set, {"status", "replicas"});
      ready += IntAt(*set, {"status", "readyReplicas"});
    }
    int64_t updated = newest_ == nullptr ? 0 : IntAt(*newest_, {"status", "replicas"});
    auto put = [&](const char* key, int64_t value) {
      if (value > 0) {
        status[key] = value;
      } else {
        status.erase(key);
      }
    };
    put("replicas", replicas);
    put("updatedReplicas", updated);
    put("readyReplicas", ready);
    put("availableReplicas", ready);
    put("unavailableReplicas", std::max<int64_t>(0, std::max(wanted_, replicas) - ready));
    status["observedGeneration"] = IntAt(deployment_, {"metadata", "generation"});
    bool available = ready >= wanted_ - MaxUnavailable();
    SetCondition(status, "Available", available,
                 available ? "MinimumReplicasAvailable" : "MinimumReplicasUnavailable",
                 available ? "Deployment has minimum availability."
                           : "Deployment does not have minimum availability.",
                 world_.Now());
    bool complete =
        newest_ != nullptr && updated == wanted_ && replicas == updated && ready >= wanted_;
    std::string set_name =
        newest_ == nullptr ? kubeapi::NameOf(deployment_) : kubeapi::NameOf(*newest_);
    const Json& was = StatusBefore();
    bool moved = false;
    for (const char* key : {"replicas", "updatedReplicas", "readyReplicas"})
      moved |= IntAt(status, {key}) != IntAt(was, {key});
    Progress(status, complete, moved, "ReplicaSet \"" + set_name + "\" ");
    if (after["status"] != deployment_.value("status", Json()))
      writes_.push_back(ReplaceStatus(kDeployments, std::move(after)));
  }

  const Json& StatusBefore() const {
    static const Json kNone = Json::object();
    auto status = deployment_.find("status");
    return status == deployment_.end() || !status->is_object() ? kNone : *status;
  }

  void Progress(Json& status, bool complete, bool moved, const std::string& who) {
    const auto left = DeadlineIn(world_, deployment_);
    if (complete) {
      SetCondition(status, "Progressing", true, "NewReplicaSetAvailable",
                   who + "has successfully progressed.", world_.Now());
    } else if (!moved && left && *left <= base::Duration::zero()) {
      SetCondition(status, "Progressing", false, kDeadlineExceeded,
                   who + "has timed out progressing.", world_.Now());
    } else if (moved || !left) {
      SetCondition(status, "Progressing", true, "ReplicaSetUpdated", who + "is progressing.",
                   world_.Now());
      // Each step gives the deadline anew.
      for (Json& condition : status["conditions"])
        if (StringAt(condition, {"type"}) == "Progressing")
          condition["lastUpdateTime"] = base::FormatTime(world_.Now());
    }
  }

  bool Recreates() const {
    return StringAt(deployment_, {"spec", "strategy", "type"}) == "Recreate";
  }
  int64_t Surge() const {
    int64_t surge =
        QuarterOr(kubeapi::Find(deployment_, {"spec", "strategy", "rollingUpdate", "maxSurge"}),
                  wanted_, true);
    // Both zero would never move.
    return surge == 0 && RawUnavailable() == 0 ? 1 : surge;
  }
  int64_t RawUnavailable() const {
    return QuarterOr(
        kubeapi::Find(deployment_, {"spec", "strategy", "rollingUpdate", "maxUnavailable"}),
        wanted_, false);
  }
  int64_t MaxUnavailable() const {
    return Recreates() ? wanted_ : std::min(RawUnavailable(), wanted_);
  }
  int64_t TotalReplicas() const {
    int64_t total = newest_ == nullptr ? 0 : IntAt(*newest_, {"spec", "replicas"});
    for (const Json* set : old_) total += IntAt(*set, {"spec", "replicas"});
    return total;
  }

  const World& world_;
  const Json& deployment_;
  const Json* newest_ = nullptr;
  std::vector<const Json*> old_;
  int64_t wanted_ = 1;
  int64_t last_revision_ = 0;
  std::vector<Write> writes_;
};

}  // namespace

std::vector<std::string> DeploymentController::KeysFor(const World&, const Resource& resource,
                                                       const Json& object, bool) const {
  if (Same(resource, kDeployments)) return {kubeapi::KeyOf(object)};
  if (Same(resource, kReplicaSets)) return OwnerKey(object, kDeployments);
  return {};
}

std::vector<Write> DeploymentController::Reconcile(const World& world, const std::string& key) {
  auto [ns, deployment_name] = SplitKey(key);
  const Json* deployment = world.Get(kDeployments, ns, deployment_name);
  return deployment == nullptr ? std::vector<Write>() : Rollout(world, *deployment).Decide();
}

base::Duration DeploymentController::LookAgainIn(const World& world, const std::string& key) const {
  auto [ns, deployment_name] = SplitKey(key);
  const Json* deployment = world.Get(kDeployments, ns, deployment_name);
  if (deployment == nullptr) return {};
  return DeadlineIn(world, *deployment).value_or(base::Duration::zero());
}

}  // namespace isthmus::lab::controllers
