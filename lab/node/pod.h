#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/loop.h"
#include "base/result.h"
#include "kubeapi/json.h"
#include "lab/node/pod_container.h"
#include "lab/node/pod_context.h"
#include "lab/node/volumes.h"

namespace isthmus::lab::node {

/// One pod on this node, from the moment it is bound until nothing of it is left. It holds what the
/// pod should be (the API's object) against what runs, and does the next step; every event leads to
/// the same Sync(). What it has done stands in files under the pod's folder, so that a new node
/// process takes over without disturbing the containers. Lives on the node's loop.
class Pod {
 public:
  struct Events {
    /// The pod's new status, each time it differs from the one before.
    std::function<void(const kubeapi::Json& status)> status;
    /// Everything has ended after a deletion; files and network are gone. The pod may be destroyed.
    std::function<void()> gone;
  };

  Pod(PodContext& context, kubeapi::Json pod, Events events);
  ~Pod();
  Pod(const Pod&) = delete;
  Pod& operator=(const Pod&) = delete;

  const kubeapi::Json& object() const { return pod_; }
  /// The object changed in the API: metadata, or the wish to delete it.
  void Update(kubeapi::Json pod);
  /// The object is gone from the API: end at once, whatever it says about grace.
  void Remove();
  /// Config maps, secrets or services changed.
  void SourcesChanged();

  /// Null when there is no such container; an empty name picks the default one.
  PodContainer* Find(std::string_view container) const;
  const std::string& ip() const { return link_.ip; }
  const std::string& network_namespace() const { return link_.network_namespace; }
  kubeapi::Json Status() const;

 private:
  using List = std::vector<std::unique_ptr<PodContainer>>;

  void MakeContainers();
  void Adopt();
  void Wake();
  void Sync();
  void SyncRunning();
  bool SyncSandbox();
  void SyncVolumes();
  bool SyncInit();
  void SyncMain();
  void SyncEnding();
  void TryLaunch(PodContainer& container);
  base::Result<ContainerConfig> MakeConfig(const PodContainer& container, const Image& image);
  base::Status WriteEtcFiles();
  void SetIdentity(const kubeapi::Json& spec, const Image& image, ContainerConfig& config) const;
  bool Restarts(const PodContainer& container) const;
  bool Finished() const;
  void StopSidecars(base::Duration grace);
  void CleanUp();
  void Report();
  std::string PhaseWord() const;
  kubeapi::Json Conditions(const std::string& phase) const;
  base::Duration GraceLeft() const;
  std::string dir() const { return context_.PodDir(uid_); }

  PodContext& context_;
  kubeapi::Json pod_;
  const std::string uid_;
  Events events_;
  List inits_, mains_;
  PodLink link_;
  bool host_network_ = false;
  PodVolumes volumes_;
  enum class VolumesState { kNone, kMaking, kReady } volumes_state_ = VolumesState::kNone;
  bool volumes_stale_ = false;
  bool initialized_ = false;
  bool removed_ = false, ending_ = false, gone_ = false;
  base::Time ending_since_{};
  std::string problem_reason_, problem_;
  kubeapi::Json reported_;
  std::string start_time_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
  bool awake_ = false;
  base::Timer retry_;
};

}  // namespace isthmus::lab::node
