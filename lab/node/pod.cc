#include "lab/node/pod.h"

#include <algorithm>
#include <filesystem>

#include "base/clock.h"
#include "base/files.h"
#include "kubeapi/meta.h"
#include "lab/node/downward.h"

namespace isthmus::lab::node {
namespace {

using kubeapi::Json;
using std::chrono_literals::operator""s;

}  // namespace

Pod::Pod(PodContext& context, Json pod, Events events)
    : context_(context),
      pod_(std::move(pod)),
      uid_(kubeapi::UidOf(pod_)),
      events_(std::move(events)),
      host_network_(kubeapi::BoolAt(pod_, {"spec", "hostNetwork"})),
      volumes_(context.loop, context.PodDir(uid_) + "/volumes", context.source, context.node) {
  start_time_ = kubeapi::StringAt(pod_, {"status", "startTime"});
  if (start_time_.empty()) start_time_ = base::FormatTime(base::SystemClock().Now());
  MakeContainers();
  Adopt();
  Wake();
}

Pod::~Pod() = default;

void Pod::MakeContainers() {
  auto add = [this](const char* field, List& list) {
    const Json* specs = kubeapi::Find(pod_, {"spec", field});
    if (specs == nullptr || !specs->is_array()) return;
    for (const Json& spec : *specs) {
      auto kind = PodContainer::Kind::kMain;
      if (&list == &inits_)
        kind = kubeapi::StringAt(spec, {"restartPolicy"}) == "Always" ? PodContainer::Kind::kSidecar
                                                                      : PodContainer::Kind::kInit;
      list.push_back(std::make_unique<PodContainer>(
          context_, pod_, spec, kind, dir() + "/containers/" + kubeapi::StringAt(spec, {"name"}),
          [this] { Wake(); }));
    }
  };
  add("initContainers", inits_);
  add("containers", mains_);
}

// Takes over from an earlier node process: its network first, because probes of adopted containers
// need it.
void Pod::Adopt() {
  const auto uids = context_.network.Uids();
  const bool known = std::find(uids.begin(), uids.end(), uid_) != uids.end();
  if (!known && !(host_network_ && base::Exists(dir()))) return;
  if (!SyncSandbox()) return;
  for (const List* list : {&inits_, &mains_})
    for (const auto& container : *list) container->Adopt(link_.ip);
}

void Pod::Update(Json pod) {
  pod_ = std::move(pod);
  Wake();
  // Downward API volumes show labels and annotations.
  if (volumes_state_ == VolumesState::kReady) volumes_stale_ = true;
}

void Pod::Remove() {
  removed_ = true;
  Wake();
}

void Pod::SourcesChanged() {
  volumes_stale_ = true;
  Wake();
}

// Events come in bunches, and out of callbacks of the very containers that Sync() may drop.
void Pod::Wake() {
  if (std::exchange(awake_, true)) return;
  context_.loop.Post([this, weak = std::weak_ptr<int>(alive_)] {
    if (weak.expired()) return;
    awake_ = false;
    Sync();
  });
}

void Pod::Sync() {
  if (gone_) return;
  if (removed_ || kubeapi::IsBeingDeleted(pod_)) {
    SyncEnding();
  } else if (Finished()) {
    StopSidecars(GraceLeft());
    if (!host_network_ &&
        std::none_of(inits_.begin(), inits_.end(), [](const auto& c) { return c->running(); }))
      context_.network.Detach(uid_);
  } else {
    SyncRunning();
  }
  if (!gone_) Report();
}

void Pod::SyncRunning() {
  problem_.clear();
  problem_reason_.clear();
  if (!SyncSandbox()) {
    retry_ = base::Timer::After(context_.loop, 2s, [this] { Wake(); });
    return;
  }
  SyncVolumes();
  if (volumes_state_ != VolumesState::kReady) return;
  if (SyncInit()) SyncMain();
}

bool Pod::SyncSandbox() {
  if (!link_.ip.empty()) return true;
  base::Status status = base::MakeDirs(dir() + "/containers");
  if (host_network_) {
    link_ = {context_.node.address, ""};
  } else if (status.ok()) {
    std::vector<std::pair<std::string, std::string>> sysctls;
    const Json* list = kubeapi::Find(pod_, {"spec", "securityContext", "sysctls"});
    if (list != nullptr && list->is_array())
      for (const Json& entry : *list)
        sysctls.emplace_back(kubeapi::StringAt(entry, {"name"}),
                             kubeapi::StringAt(entry, {"value"}));
    auto link = context_.network.Attach(uid_, sysctls);
    if (link.ok()) link_ = *link;
    status = link.status();
  }
  if (status.ok()) status = WriteEtcFiles();
  if (status.ok()) return true;
  link_ = {};
  problem_reason_ = "FailedCreatePodSandBox";
  if (std::exchange(problem_, status.message()) != status.message())
    context_.source.Event(pod_, "", true, problem_reason_,
                          "Failed to create pod sandbox: " + status.message());
  return false;
}

void Pod::SyncVolumes() {
  if (volumes_state_ == VolumesState::kMaking) return;
  if (volumes_state_ == VolumesState::kReady && !volumes_stale_) return;
  const bool first = volumes_state_ == VolumesState::kNone;
  if (first) volumes_state_ = VolumesState::kMaking;
  volumes_stale_ = false;
  volumes_.Refresh(pod_, link_.ip,
                   [this, first, weak = std::weak_ptr<int>(alive_)](const base::Status& status) {
                     // A later refresh that fails leaves the pod what it has.
                     if (weak.expired() || !first) return;
                     volumes_state_ = status.ok() ? VolumesState::kReady : VolumesState::kNone;
                     if (status.ok()) {
                       problem_.clear();
                       return Wake();
                     }
                     if (problem_ != status.message()) {
                       problem_ = status.message();
                       context_.source.Event(pod_, "", true, "FailedMount",
                                             "MountVolume.SetUp failed: " + status.message());
                     }
                     // What is missing may come; then SourcesChanged() is called. Tokens come
                     // without that.
                     retry_ = base::Timer::After(context_.loop, 1s, [this] { Wake(); });
                   });
}

bool Pod::SyncInit() {
  if (initialized_ && std::none_of(inits_.begin(), inits_.end(), [](const auto& container) {
        return container->kind() == PodContainer::Kind::kSidecar && container->ended();
      }))
    return true;
  // When main containers ran already, the ordinary init containers are history.
  const bool mains_ran = std::any_of(mains_.begin(), mains_.end(), [](const auto& c) {
    return c->phase() != PodContainer::Phase::kWaiting;
  });
  for (const auto& container : inits_) {
    const bool sidecar = container->kind() == PodContainer::Kind::kSidecar;
    if (!sidecar && (initialized_ || mains_ran)) continue;
    if (!sidecar && container->ended() && container->exit_code() == 0) continue;
    if (sidecar && container->started()) continue;
    if (container->phase() == PodContainer::Phase::kWaiting ||
        (container->ended() && Restarts(*container) && container->may_restart()))
      TryLaunch(*container);
    if (!initialized_ && !mains_ran) return false;
  }
  initialized_ = true;
  return true;
}

void Pod::SyncMain() {
  for (const auto& container : mains_) {
    if (container->phase() == PodContainer::Phase::kWaiting) {
      TryLaunch(*container);
      // The next one starts after this one's postStart hook.
      if (kubeapi::Find(container->spec(), {"lifecycle", "postStart"}) != nullptr) return;
    } else if (container->ended() && Restarts(*container) && container->may_restart()) {
      TryLaunch(*container);
    } else if (kubeapi::Find(container->spec(), {"lifecycle", "postStart"}) != nullptr &&
               container->restarts() == 0 &&
               (container->phase() == PodContainer::Phase::kStarting ||
                (container->running() && !container->hook_done()))) {
      return;
    }
  }
}

bool Pod::Restarts(const PodContainer& container) const {
  if (container.kind() == PodContainer::Kind::kSidecar) return true;
  const std::string policy = kubeapi::StringAt(pod_, {"spec", "restartPolicy"});
  if (policy == "Never") return false;
  // An init container that succeeded is done for good.
  if (policy == "OnFailure" || container.kind() == PodContainer::Kind::kInit)
    return container.exit_code() != 0;
  return true;
}

// All main containers have ended for good, or an init container failed for good.
bool Pod::Finished() const {
  for (const auto& container : inits_)
    if (container->kind() == PodContainer::Kind::kInit && container->ended() &&
        container->exit_code() != 0 && !Restarts(*container))
      return true;
  return !mains_.empty() &&
         std::all_of(mains_.begin(), mains_.end(), [this](const auto& container) {
           return container->ended() && !Restarts(*container);
         });
}

void Pod::TryLaunch(PodContainer& container) {
  const std::string image_name = kubeapi::StringAt(container.spec(), {"image"});
  auto image = context_.images.Find(image_name);
  if (!image.ok()) {
    if (container.phase() == PodContainer::Phase::kWaiting)
      context_.source.Event(pod_, container.name(), true, "Failed", image.status().message());
    return container.Wait("ErrImagePull", image.status().message());
  }
  auto config = MakeConfig(container, *image);
  if (!config.ok()) {
    context_.source.Event(pod_, container.name(), true, "Failed",
                          "Error: " + config.status().message());
    return container.Wait("CreateContainerConfigError", config.status().message());
  }
  config->log_path = container.NextLogPath();
  const std::string message_path = container.NextTerminationLog();
  std::string target = kubeapi::StringAt(container.spec(), {"terminationMessagePath"});
  if (target.empty()) target = "/dev/termination-log";
  if (base::MakeDirs(std::filesystem::path(message_path).parent_path()).ok() &&
      base::WriteFile(message_path, "", 0666).ok())
    config->mounts.push_back({message_path, target, false});
  context_.source.Event(pod_, container.name(), false, "Pulled",
                        "Container image \"" + image_name + "\" already present on machine");
  context_.source.Event(pod_, container.name(), false, "Created",
                        "Created container: " + container.name());
  container.Launch(std::move(*config), link_.ip, std::string(RepositoryOf(image_name)));
}

// The end of a pod: preStop hooks and signals to the main containers, then to sidecars; nothing
// lives longer than the grace period.
void Pod::SyncEnding() {
  if (!std::exchange(ending_, true)) {
    ending_since_ = base::SystemClock().Now();
    for (const auto& container : mains_)
      if (container->running())
        context_.source.Event(pod_, container->name(), false, "Killing",
                              "Stopping container " + container->name());
    retry_ = base::Timer::After(context_.loop, GraceLeft() + std::chrono::milliseconds(200),
                                [this] { Wake(); });
  }
  const base::Duration left = removed_ ? base::Duration::zero() : GraceLeft();
  bool mains_running = false;
  for (const auto& container : mains_) {
    if (container->phase() == PodContainer::Phase::kStarting) mains_running = true;
    if (!container->running()) continue;
    mains_running = true;
    if (left <= base::Duration::zero())
      container->Kill();
    else
      container->Terminate(left);
  }
  if (mains_running) return;
  StopSidecars(left);
  for (const auto& container : inits_)
    if (container->running() || container->phase() == PodContainer::Phase::kStarting) return;
  CleanUp();
}

void Pod::StopSidecars(base::Duration grace) {
  for (auto container = inits_.rbegin(); container != inits_.rend(); ++container) {
    if (!(*container)->running()) continue;
    if (grace <= base::Duration::zero() || (*container)->kind() == PodContainer::Kind::kInit)
      (*container)->Kill();
    else
      (*container)->Terminate(grace);
    if (grace > base::Duration::zero()) return;  // In reverse order, one after the other.
  }
}

base::Duration Pod::GraceLeft() const {
  int64_t seconds = kubeapi::IntAt(pod_, {"metadata", "deletionGracePeriodSeconds"}, -1);
  if (seconds < 0) seconds = kubeapi::IntAt(pod_, {"spec", "terminationGracePeriodSeconds"}, 30);
  if (!ending_) return std::chrono::seconds(seconds);
  return std::chrono::seconds(seconds) - (base::SystemClock().Now() - ending_since_);
}

void Pod::CleanUp() {
  gone_ = true;
  Report();
  if (!host_network_) context_.network.Detach(uid_);
  std::error_code error;
  std::filesystem::remove_all(dir(), error);
  events_.gone();
}

PodContainer* Pod::Find(std::string_view name) const {
  std::string wanted(name);
  if (wanted.empty())
    wanted = kubeapi::AnnotationOf(pod_, "kubectl.kubernetes.io/default-container");
  if (wanted.empty()) return mains_.empty() ? nullptr : mains_.front().get();
  for (const List* list : {&mains_, &inits_})
    for (const auto& container : *list)
      if (container->name() == wanted) return container.get();
  return nullptr;
}

}  // namespace isthmus::lab::node
