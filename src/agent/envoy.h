#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/backoff.h"
#include "base/loop.h"
#include "base/process.h"

namespace isthmus::agent {

/// Runs Envoy and starts it again when it ends by itself, with growing delays; gives up when it
/// cannot stay alive. Lives on its loop; destroying it kills Envoy.
class EnvoyProcess {
 public:
  struct Events {
    /// After each start; what was known of the one before does not hold any more.
    std::function<void()> started;
    /// It does not stay alive: the last end.
    std::function<void(base::ExitStatus)> gave_up;
  };
  EnvoyProcess(base::Loop& loop, std::vector<std::string> argv, Events events);
  EnvoyProcess(const EnvoyProcess&) = delete;
  EnvoyProcess& operator=(const EnvoyProcess&) = delete;

  void Start();
  /// Ends Envoy for good (SIGTERM, after `grace` SIGKILL), then calls `done`; at once when it does
  /// not run.
  void Stop(base::Duration grace, std::function<void()> done);
  /// 0 when it does not run.
  int pid() const { return process_ == nullptr ? 0 : process_->pid(); }

 private:
  void OnExit(base::ExitStatus status);

  base::Loop& loop_;
  std::vector<std::string> argv_;
  Events events_;
  std::unique_ptr<base::Process> process_;
  base::Backoff backoff_;
  base::Timer timer_;
  base::Timer alive_timer_;
  int short_lives_ = 0;
  std::function<void()> stopped_;
};

/// The command `run-envoy`: becomes the program in `args`, which the kernel kills when the process
/// that started it (the agent) ends in any way. Only returns when that failed.
int RunBound(const std::vector<std::string>& args);

}  // namespace isthmus::agent
