#include "lab/node/pod_container.h"

#include <algorithm>
#include <filesystem>

#include "base/clock.h"
#include "base/files.h"
#include "kubeapi/meta.h"

namespace isthmus::lab::node {
namespace {

using kubeapi::Json;
using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;

// Kubelets wait 10 s and double up to 5 min; in a lab that people watch, a crash heals sooner.
base::Backoff::Options BackoffOptions() {
  return {.initial = 500ms, .max = 30s, .factor = 2, .jitter = 0};
}
// A run of so long counts as healthy: the next crash is the first again.
constexpr auto kHealthyRun = 30s;

// RFC 3339 in whole seconds, as the API has it.
std::string Seconds(const std::string& time) {
  return time.size() > 20 ? time.substr(0, 19) + "Z" : time;
}

}  // namespace

PodContainer::PodContainer(PodContext& context, const Json& pod, Json spec, Kind kind,
                           std::string dir, std::function<void()> changed)
    : context_(context),
      pod_(pod),
      spec_(std::move(spec)),
      name_(kubeapi::StringAt(spec_, {"name"})),
      kind_(kind),
      dir_(std::move(dir)),
      changed_(std::move(changed)),
      backoff_(BackoffOptions()) {
  if (kind != Kind::kInit) waiting_reason_ = "PodInitializing";
}

PodContainer::~PodContainer() = default;

Container::Events PodContainer::EventsOf() {
  return {.started = [this](const RunningState& state) { OnStarted(state); },
          .failed = [this](const base::Status& status) { OnFailed(status); },
          .ended = [this](const ExitState& state) { OnEnded(state); }};
}

bool PodContainer::Adopt(const std::string& pod_ip) {
  auto runs = base::ListDir(dir_);
  if (!runs.ok()) return false;
  for (const std::string& run : *runs)
    if (!run.empty() && run.find_first_not_of("0123456789") == std::string::npos)
      attempt_ = std::max(attempt_, std::atoi(run.c_str()));
  if (attempt_ < 0) return false;
  pod_ip_ = pod_ip;
  image_id_ = kubeapi::StringAt(spec_, {"image"});
  phase_ = Phase::kStarting;
  hook_done_ = true;  // Ran when it was started.
  container_ =
      std::make_unique<Container>(context_.loop, context_.program, RunDir(attempt_), EventsOf());
  container_->Adopt();
  return true;
}

void PodContainer::Launch(ContainerConfig config, const std::string& pod_ip,
                          const std::string& image_id) {
  if (phase_ == Phase::kTerminated) last_state_ = Json{{"terminated", TerminatedState()}};
  ++attempt_;
  pod_ip_ = pod_ip;
  image_id_ = image_id;
  std::error_code error;
  if (attempt_ >= 2) {  // The run before stays for `logs --previous`.
    std::filesystem::remove_all(RunDir(attempt_ - 2), error);
    for (const char* end : {".log", ".log.1", ".message"})
      std::filesystem::remove(RunDir(attempt_ - 2) + end, error);
  }
  startup_passed_ = readiness_passed_ = hook_done_ = false;
  terminating_ = false;
  exit_reason_.clear();
  phase_ = Phase::kStarting;
  container_ =
      std::make_unique<Container>(context_.loop, context_.program, RunDir(attempt_), EventsOf());
  container_->Start(config);
}

void PodContainer::Wait(const std::string& reason, const std::string& message) {
  if (waiting_reason_ == reason && waiting_message_ == message && phase_ == Phase::kWaiting) return;
  waiting_reason_ = reason;
  waiting_message_ = message;
  if (phase_ != Phase::kTerminated) phase_ = Phase::kWaiting;
  changed_();
}

void PodContainer::OnStarted(const RunningState& state) {
  started_at_ = state;
  phase_ = Phase::kRunning;
  startup_passed_ = kubeapi::Find(spec_, {"startupProbe"}) == nullptr;
  readiness_passed_ = kubeapi::Find(spec_, {"readinessProbe"}) == nullptr;
  if (!hook_done_)
    context_.source.Event(pod_, name_, false, "Started", "Started container " + name_);
  RunPostStart();
  StartProbes();
  changed_();
}

void PodContainer::RunPostStart() {
  const Json* hook = kubeapi::Find(spec_, {"lifecycle", "postStart"});
  if (hook_done_ || hook == nullptr) {
    hook_done_ = true;
    return;
  }
  hook_ = RunHandler(context_.loop, *hook, spec_, pod_ip_, *container_, 300s,
                     [this](const base::Status& status) {
                       if (status.ok()) {
                         hook_done_ = true;
                         return changed_();
                       }
                       context_.source.Event(pod_, name_, true, "FailedPostStartHook",
                                             "PostStartHook failed: " + status.message());
                       container_->Kill();
                     });
}

void PodContainer::StartProbes() {
  if (startup_passed_) {
    StartProbe(Probe::Kind::kLiveness, "livenessProbe", [this](bool passing) {
      if (passing) return;
      context_.source.Event(pod_, name_, false, "Killing",
                            "Container " + name_ + " failed liveness probe, will be restarted");
      Terminate(std::chrono::seconds(
          kubeapi::IntAt(pod_, {"spec", "terminationGracePeriodSeconds"}, 30)));
    });
    StartProbe(Probe::Kind::kReadiness, "readinessProbe", [this](bool passing) {
      readiness_passed_ = passing;
      changed_();
    });
    return;
  }
  StartProbe(Probe::Kind::kStartup, "startupProbe", [this](bool passing) {
    if (!passing) {
      context_.source.Event(pod_, name_, false, "Killing",
                            "Container " + name_ + " failed startup probe, will be restarted");
      return Terminate(std::chrono::seconds(
          kubeapi::IntAt(pod_, {"spec", "terminationGracePeriodSeconds"}, 30)));
    }
    startup_passed_ = true;
    // From the loop, because this call comes out of the startup probe itself.
    context_.loop.Post([this, weak = std::weak_ptr<void>(alive_)] {
      if (weak.expired() || phase_ != Phase::kRunning) return;
      startup_.reset();
      StartProbes();
    });
    changed_();
  });
}

void PodContainer::StartProbe(Probe::Kind kind, const char* field,
                              std::function<void(bool)> changed) {
  const Json* spec = kubeapi::Find(spec_, {field});
  if (spec == nullptr) return;
  std::unique_ptr<Probe>& slot = kind == Probe::Kind::kStartup    ? startup_
                                 : kind == Probe::Kind::kLiveness ? liveness_
                                                                  : readiness_;
  const char* word = kind == Probe::Kind::kStartup    ? "Startup"
                     : kind == Probe::Kind::kLiveness ? "Liveness"
                                                      : "Readiness";
  slot = std::make_unique<Probe>(
      context_.loop, kind, *spec, spec_, pod_ip_, *container_,
      Probe::Events{.changed = std::move(changed),
                    .unhealthy = [this, word](const std::string& why) {
                      if (terminating_) return;
                      const std::string text = fmt::format("{} probe failed: {}", word, why);
                      context_.source.Event(pod_, name_, true, "Unhealthy", text);
                    }});
}

void PodContainer::OnFailed(const base::Status& status) {
  exit_ = {128, 0, base::FormatTime(base::SystemClock().Now())};
  started_at_ = {};
  exit_reason_ = "StartError";
  waiting_message_ = status.message();
  context_.source.Event(pod_, name_, true, "Failed",
                        "Error: failed to start container: " + status.message());
  phase_ = Phase::kTerminated;
  StartBackoff();
  changed_();
}

void PodContainer::OnEnded(const ExitState& state) {
  exit_ = state;
  exit_reason_ = state.exit_code == 0 ? "Completed" : "Error";
  startup_.reset(), liveness_.reset(), readiness_.reset(), hook_.reset();
  grace_timer_.Cancel();
  phase_ = Phase::kTerminated;
  auto began = base::ParseTime(started_at_.started_at);
  if (began.ok() && base::SystemClock().Now() - *began > kHealthyRun) backoff_.Reset();
  StartBackoff();
  changed_();
}

void PodContainer::StartBackoff() {
  // The first restart comes at once.
  const base::Duration delay = attempt_ == 0 ? base::Duration(50ms) : backoff_.Next();
  backoff_timer_ = base::Timer::After(context_.loop, delay, [this] {
    backoff_timer_.Cancel();
    changed_();
  });
}

void PodContainer::Terminate(base::Duration grace) {
  if (phase_ == Phase::kStarting || phase_ == Phase::kWaiting || terminating_) return;
  if (!running()) return;
  terminating_ = true;
  readiness_passed_ = readiness_passed_ && grace > base::Duration::zero();
  grace_timer_ = base::Timer::After(context_.loop, grace, [this] { Kill(); });
  const Json* hook = kubeapi::Find(spec_, {"lifecycle", "preStop"});
  const std::string signal = [&] {
    const std::string wanted = kubeapi::StringAt(spec_, {"lifecycle", "stopSignal"});
    return wanted.empty() ? std::string("TERM") : wanted;
  }();
  if (hook == nullptr) return container_->Signal(signal);
  hook_ = RunHandler(context_.loop, *hook, spec_, pod_ip_, *container_, grace,
                     [this, signal](const base::Status& status) {
                       if (!status.ok())
                         context_.source.Event(pod_, name_, true, "FailedPreStopHook",
                                               "PreStopHook failed: " + status.message());
                       container_->Signal(signal);
                     });
}

void PodContainer::Kill() {
  terminating_ = true;
  if (container_ != nullptr) container_->Kill();
}

std::string PodContainer::LogPath(bool previous) const {
  const int run = previous ? attempt_ - 1 : attempt_;
  return run < 0 ? "" : RunDir(run) + ".log";
}

std::string PodContainer::TerminationMessage() const {
  if (exit_reason_ == "StartError") return waiting_message_;
  if (attempt_ < 0) return "";
  auto text = base::ReadFile(RunDir(attempt_) + ".message");
  std::string message = text.ok() ? text->substr(0, 4096) : "";
  if (!message.empty() || exit_.exit_code == 0 ||
      kubeapi::StringAt(spec_, {"terminationMessagePolicy"}) != "FallbackToLogsOnError")
    return message;
  auto log = base::ReadFile(RunDir(attempt_) + ".log");
  if (!log.ok()) return "";
  return log->size() > 2048 ? log->substr(log->size() - 2048) : *log;
}

Json PodContainer::TerminatedState() const {
  Json state = {
      {"exitCode", exit_.exit_code},
      {"reason", exit_reason_},
      {"finishedAt", Seconds(exit_.finished_at)},
      {"containerID", fmt::format("isthmus://{}-{}-{}", kubeapi::UidOf(pod_), name_, attempt_)}};
  if (!started_at_.started_at.empty()) state["startedAt"] = Seconds(started_at_.started_at);
  if (exit_.signal != 0) state["signal"] = exit_.signal;
  if (const std::string message = TerminationMessage(); !message.empty())
    state["message"] = message;
  return state;
}

Json PodContainer::Status() const {
  Json status = {{"name", name_},
                 {"image", kubeapi::StringAt(spec_, {"image"})},
                 {"imageID", image_id_},
                 {"ready", kind_ == Kind::kInit ? ended() && exit_.exit_code == 0 : ready()},
                 {"restartCount", restarts()},
                 {"started", started()},
                 {"lastState", last_state_}};
  if (attempt_ >= 0)
    status["containerID"] =
        fmt::format("isthmus://{}-{}-{}", kubeapi::UidOf(pod_), name_, attempt_);
  if (phase_ == Phase::kRunning) {
    status["state"] = {{"running", {{"startedAt", Seconds(started_at_.started_at)}}}};
  } else if (phase_ == Phase::kTerminated) {
    status["state"] = {{"terminated", TerminatedState()}};
  } else {
    Json waiting = {{"reason", phase_ == Phase::kStarting ? "ContainerCreating" : waiting_reason_}};
    if (!waiting_message_.empty() && phase_ == Phase::kWaiting)
      waiting["message"] = waiting_message_;
    status["state"] = {{"waiting", waiting}};
  }
  return status;
}

}  // namespace isthmus::lab::node
