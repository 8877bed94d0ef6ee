#pragma once

#include <string>
#include <vector>

#include "base/backoff.h"
#include "base/clock.h"
#include "base/loop.h"
#include "base/result.h"
#include "lab/network/process.h"

namespace isthmus::lab::world {

struct ProcessSpec {
  std::string name;  ///< "cluster1/apiserver"
  std::vector<std::string> argv;
  std::string network_namespace;  ///< Path; where it runs.
  std::string log_path;           ///< Its output is appended there.
  bool is_api_server = false;
};

/// A process that is kept running: whenever it ends, it is started again, at once the first time
/// and with growing delays when it keeps failing. Lives on its loop; destroying it kills the
/// process.
class ManagedProcess {
 public:
  ManagedProcess(base::Loop& loop, ProcessSpec spec);
  ~ManagedProcess();
  ManagedProcess(const ManagedProcess&) = delete;
  ManagedProcess& operator=(const ManagedProcess&) = delete;

  /// The first start of it; when that fails, it is tried again all the same until Stop().
  base::Status Start();
  /// Kills it and leaves it dead until Start().
  void Stop();
  /// Tells it that its configuration has changed (SIGHUP); one that is not running reads it anyway.
  void Reload();
  const ProcessSpec& spec() const { return spec_; }
  int pid() const { return pid_; }
  bool wanted() const { return wanted_; }
  int restarts() const { return restarts_; }

 private:
  base::Status Launch();
  void Ended(int exit_code);

  base::Loop& loop_;
  const ProcessSpec spec_;
  bool wanted_ = false;
  int pid_ = 0, restarts_ = -1;
  base::Time started_{};
  base::Backoff backoff_;
  network::ProcessWatch watch_;
  base::Timer retry_;
};

}  // namespace isthmus::lab::world
