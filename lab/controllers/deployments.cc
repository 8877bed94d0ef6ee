#include "lab/controllers/deployments.h"

#include <algorithm>
#include <cmath>

#include "kubeapi/meta.h"
#include "lab/controllers/pods.h"

namespace isthmus::lab::controllers {
namespace {

using kubeapi::IntAt;
using kubeapi::StringAt;

constexpr char kRevision[] = "deployment.kubernetes.io/revision";
constexpr char kHashLabel[] = "pod-template-hash";

/// "25%" of `total`, or a number.
int64_t Portion(const Json* value, int64_t total, bool round_up) {
  if (value == nullptr) return round_up ? (total + 3) / 4 : total / 4;
  if (value->is_number_integer()) return value->get<int64_t>();
  double share =
      std::strtod(value->is_string() ? value->get<std::string>().c_str() : "0", nullptr) / 100 *
      static_cast<double>(total);
  return static_cast<int64_t>(round_up ? std::ceil(share) : std::floor(share));
}

Json TemplateOf(const Json& set) {
  Json pod_template = set["spec"]["template"];
  if (pod_template.contains("metadata") && pod_template["metadata"].contains("labels"))
    pod_template["metadata"]["labels"].erase(kHashLabel);
  return pod_template;
}

int64_t RevisionOf(const Json& object) {
  return std::strtoll(kubeapi::AnnotationOf(object, kRevision).c_str(), nullptr, 10);
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
    pod_template["metadata"]["labels"][kHashLabel] = hash;
    Json selector = deployment_["spec"]["selector"];
    selector["matchLabels"][kHashLabel] = hash;
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
    if (IntAt(set, {"spec", "replicas"}) == replicas) return;
    Json patch = {{"spec", {{"replicas", replicas}}}};
    writes_.push_back({Write::Kind::kMergePatch, kReplicaSets, kubeapi::NamespaceOf(set),
                       kubeapi::NameOf(set), std::move(patch), "", false});
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
    SetCondition(status, "Progressing", true,
                 complete ? "NewReplicaSetAvailable" : "ReplicaSetUpdated",
                 complete ? "ReplicaSet \"" + set_name + "\" has successfully progressed."
                          : "ReplicaSet \"" + set_name + "\" is progressing.",
                 world_.Now());
    if (after["status"] != deployment_.value("status", Json()))
      writes_.push_back(ReplaceStatus(kDeployments, std::move(after)));
  }

  bool Recreates() const {
    return StringAt(deployment_, {"spec", "strategy", "type"}) == "Recreate";
  }
  int64_t Surge() const {
    int64_t surge =
        Portion(kubeapi::Find(deployment_, {"spec", "strategy", "rollingUpdate", "maxSurge"}),
                wanted_, true);
    // Both zero would never move.
    return surge == 0 && RawUnavailable() == 0 ? 1 : surge;
  }
  int64_t RawUnavailable() const {
    return Portion(
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

}  // namespace isthmus::lab::controllers
