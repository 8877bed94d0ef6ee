#pragma once

#include <functional>
#include <memory>
#include <string>

#include "agent/settings.h"
#include "base/clock.h"
#include "base/loop.h"

namespace isthmus::agent {

/// The node agent of one pod: Envoy with all that it needs from its surroundings. Builds and
/// connects the parts; Start() opens the ports and starts Envoy. Lives on its loop.
class Agent {
 public:
  struct Options {
    Settings settings;
    /// Put before Envoy's command line; for programs that bind Envoy's life to theirs.
    std::vector<std::string> launcher;
    bool run_envoy = true;
    /// Called once when the agent has ended its work, with the program's exit code.
    std::function<void(int)> ended;
  };
  Agent(base::Loop& loop, const base::Clock& clock, Options options);
  ~Agent();
  Agent(const Agent&) = delete;
  Agent& operator=(const Agent&) = delete;

  base::Status Start();
  /// As on SIGTERM: drains, waits, ends Envoy. A second call ends it at once.
  void Terminate();
  int envoy_pid() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace isthmus::agent
