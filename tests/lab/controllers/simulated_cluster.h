#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "kubeapi/meta.h"
#include "kubeapi/patch.h"
#include "lab/controllers/world.h"

namespace isthmus::lab::controllers {

/// An API server in miniature: carries out what controllers want at once, so that a test sees where
/// they come to rest.
class SimulatedCluster {
 public:
  SimulatedCluster() : clock_(base::Time(std::chrono::seconds(1700000000))), world_(clock_) {}

  void Add(std::unique_ptr<Controller> controller) {
    controllers_.push_back(std::move(controller));
  }
  World& world() { return world_; }
  /// "Kind/name Reason: message" of each event so far.
  const std::vector<std::string>& notes() const { return notes_; }

  /// Lets time pass, and controllers look again at what they said they would.
  void Advance(std::chrono::seconds time) {
    clock_.Advance(time);
    for (const auto& [controller, keys] : looked_at_)
      for (const std::string& key : keys)
        for (const Write& write : controller->Reconcile(world_, key)) Perform(write);
  }
  /// The shortest time after which a controller wants to look at that key again.
  base::Duration LookAgainIn(const std::string& key) {
    base::Duration least{};
    for (const auto& controller : controllers_) {
      const base::Duration pause = controller->LookAgainIn(world_, key);
      if (pause > base::Duration::zero() && (least == base::Duration::zero() || pause < least))
        least = pause;
    }
    return least;
  }

  Json Make(const Resource& resource, const std::string& ns, Json object) {
    Json& metadata = object["metadata"];
    if (!metadata.contains("name"))
      metadata["name"] = metadata["generateName"].get<std::string>() + std::to_string(++counter_);
    if (resource.namespaced) metadata["namespace"] = ns;
    metadata["uid"] = "uid-" + std::to_string(++counter_);
    metadata["generation"] = 1;
    object["kind"] = resource.kind;
    Store(resource, object);
    return object;
  }

  void Store(const Resource& resource, Json object) {
    object["metadata"]["resourceVersion"] = std::to_string(++version_);
    world_.Put(resource, object);
    changed_.push_back({resource, object, false});
  }

  void Erase(const Resource& resource, const std::string& ns, const std::string& name) {
    const Json* known = world_.Get(resource, ns, name);
    if (known == nullptr) return;
    Json last = *known;
    world_.Remove(resource, kubeapi::KeyOf(last));
    changed_.push_back({resource, last, true});
  }

  /// Lets all controllers act until none wants anything; false when that does not happen in 500
  /// rounds.
  bool Settle() {
    for (int round = 0; round < 500; ++round) {
      if (changed_.empty()) return true;
      Change change = changed_.front();
      changed_.erase(changed_.begin());
      for (const auto& controller : controllers_)
        for (const std::string& key :
             controller->KeysFor(world_, change.resource, change.object, change.gone)) {
          looked_at_[controller.get()].insert(key);
          for (const Write& write : controller->Reconcile(world_, key)) Perform(write);
        }
    }
    return false;
  }

  /// Marks every pod ready that has a node or needs none.
  void ReadyAllPods() {
    std::vector<Json> pods;
    for (const Json* pod : world_.List(kPods)) pods.push_back(*pod);
    for (Json& pod : pods) {
      if (kubeapi::ConditionIsTrue(pod, "Ready")) continue;
      pod["status"]["phase"] = "Running";
      pod["status"]["podIP"] = "172.20.0." + std::to_string(++ip_);
      pod["status"]["conditions"] = Json::array({{{"type", "Ready"}, {"status", "True"}}});
      Store(kPods, pod);
    }
  }

  size_t Count(const Resource& resource) { return world_.List(resource).size(); }

 private:
  struct Change {
    Resource resource;
    Json object;
    bool gone;
  };

  void Perform(const Write& write) {
    if (write.note)
      notes_.push_back(kubeapi::KindOf(write.note->about) + "/" +
                       kubeapi::NameOf(write.note->about) + " " + write.note->reason + ": " +
                       write.note->message);
    const Json* known = world_.Get(write.resource, write.ns, write.name);
    switch (write.kind) {
      case Write::Kind::kCreate:
        Make(write.resource, write.ns, write.object);
        return;
      case Write::Kind::kReplace:
      case Write::Kind::kReplaceStatus:
        Store(write.resource, write.object);
        return;
      case Write::Kind::kMergePatch: {
        if (known == nullptr) return;
        Json after = *known;
        after.merge_patch(write.object);
        Store(write.resource, after);
        return;
      }
      case Write::Kind::kDelete:
        Erase(write.resource, write.ns, write.name);
        return;
      case Write::Kind::kSubresource: {
        if (known == nullptr || write.subresource != "binding") return;
        Json after = *known;
        after["spec"]["nodeName"] = write.object["target"]["name"];
        Store(write.resource, after);
        return;
      }
    }
  }

  base::ManualClock clock_;
  World world_;
  std::vector<std::unique_ptr<Controller>> controllers_;
  std::vector<Change> changed_;
  std::map<Controller*, std::set<std::string>> looked_at_;
  std::vector<std::string> notes_;
  int counter_ = 0;
  int version_ = 0;
  int ip_ = 0;
};

}  // namespace isthmus::lab::controllers
