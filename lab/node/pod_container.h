#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/backoff.h"
#include "base/loop.h"
#include "kubeapi/json.h"
#include "lab/node/container.h"
#include "lab/node/pod_context.h"
#include "lab/node/probe.h"

namespace isthmus::lab::node {

/// One container of a pod through all its runs: starts it, probes it, tells its state, ends it.
/// When it is to run is the pod's to decide. Lives on the node's loop.
///
///   waiting --Launch--> starting --> running --> terminated --Launch--> ...
///                          `--> terminated (could not start)
class PodContainer {
 public:
  enum class Kind { kInit, kSidecar, kMain };
  enum class Phase { kWaiting, kStarting, kRunning, kTerminated };

  /// `changed` is called after every change of state. `dir` is the container's own folder in its
  /// pod's.
  PodContainer(PodContext& context, const kubeapi::Json& pod, kubeapi::Json spec, Kind kind,
               std::string dir, std::function<void()> changed);
  ~PodContainer();
  PodContainer(const PodContainer&) = delete;
  PodContainer& operator=(const PodContainer&) = delete;

  const std::string& name() const { return name_; }
  Kind kind() const { return kind_; }
  const kubeapi::Json& spec() const { return spec_; }
  Phase phase() const { return phase_; }
  bool running() const { return phase_ == Phase::kRunning; }
  bool ended() const { return phase_ == Phase::kTerminated; }
  int exit_code() const { return exit_.exit_code; }
  int restarts() const { return attempt_ < 0 ? 0 : attempt_; }
  /// Running, its startup probe passed and its postStart hook done: what comes after it may start.
  bool started() const { return running() && startup_passed_ && hook_done_; }
  bool ready() const { return started() && readiness_passed_; }
  bool hook_done() const { return hook_done_; }
  /// Whether enough time has passed since it ended to start it again.
  bool may_restart() const { return !backoff_timer_.active(); }

  /// Takes up the last run of an earlier node process; false when there was none.
  bool Adopt(const std::string& pod_ip);
  void Launch(ContainerConfig config, const std::string& pod_ip, const std::string& image_id);
  /// Why it cannot be launched yet: "ErrImagePull", "CreateContainerConfigError"...
  void Wait(const std::string& reason, const std::string& message);
  /// preStop, then the stop signal, then at `deadline` the end.
  void Terminate(base::Duration grace);
  void Kill();

  /// The entry of containerStatuses.
  kubeapi::Json Status() const;
  const Container* container() const { return running() ? container_.get() : nullptr; }
  /// The log of the current run, or of the one before.
  std::string LogPath(bool previous) const;
  /// Where the next run's config must point its log and termination message.
  std::string NextLogPath() const { return RunDir(attempt_ + 1) + ".log"; }
  std::string NextTerminationLog() const { return RunDir(attempt_ + 1) + ".message"; }

 private:
  std::string RunDir(int attempt) const { return dir_ + "/" + std::to_string(attempt); }
  Container::Events EventsOf();
  void OnStarted(const RunningState& state);
  void OnFailed(const base::Status& status);
  void OnEnded(const ExitState& state);
  void StartBackoff();
  void StartProbes();
  void StartProbe(Probe::Kind kind, const char* field, std::function<void(bool)> changed);
  void RunPostStart();
  kubeapi::Json TerminatedState() const;
  std::string TerminationMessage() const;

  PodContext& context_;
  const kubeapi::Json& pod_;  // The pod's, kept up to date by it.
  const kubeapi::Json spec_;
  const std::string name_;
  const Kind kind_;
  const std::string dir_;
  const std::function<void()> changed_;

  Phase phase_ = Phase::kWaiting;
  int attempt_ = -1;
  std::string pod_ip_, image_id_;
  std::unique_ptr<Container> container_;
  RunningState started_at_;
  ExitState exit_;
  std::string exit_reason_, waiting_reason_ = "ContainerCreating", waiting_message_;
  kubeapi::Json last_state_ = kubeapi::Json::object();
  bool startup_passed_ = false, readiness_passed_ = false, hook_done_ = false, terminating_ = false;
  std::unique_ptr<Probe> startup_, liveness_, readiness_;
  std::shared_ptr<void> hook_;
  base::Timer grace_timer_, backoff_timer_;
  base::Backoff backoff_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace isthmus::lab::node
