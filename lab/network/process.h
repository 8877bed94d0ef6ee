#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/loop.h"
#include "base/result.h"
#include "lab/network/fd.h"
#include "lab/network/fd_watch.h"

namespace isthmus::lab::network {

/// A program to start. Descriptors that are not named in `fds` are closed in the child.
struct Command {
  std::vector<std::string> argv;  ///< argv[0] is a path, or a name looked up in PATH.
  std::vector<std::string> env;   ///< "NAME=value"; empty keeps ours.
  /// {ours, theirs}: our descriptor becomes theirs. 0, 1, 2 that are not named are /dev/null,
  /// /dev/null and ours.
  std::vector<std::pair<int, int>> fds;
  bool new_session = false;
};

/// Starts it; the caller must wait for the pid (ProcessWatch, or waitpid).
base::Result<pid_t> Spawn(const Command& command);

/// What a command that has ended left: 0 to 255, or 128 + signal.
struct Finished {
  int exit_code = 0;
  std::string output;  ///< Standard output and standard error, mixed as they came.
};

/// Runs a short command with `input` on its standard input and waits for its end. Blocks: for `nft`
/// and the like, which take milliseconds.
base::Result<Finished> RunCommand(const std::vector<std::string>& argv,
                                  std::string_view input = {});

/// Tells once when a process has ended. For children the exit code is theirs (and they are reaped);
/// for others, such as a container adopted from an earlier run, it is -1: look where they wrote it.
/// Lives on its loop; destroying it forgets the process, which runs on.
class ProcessWatch {
 public:
  ProcessWatch() = default;
  static ProcessWatch Start(base::Loop& loop, pid_t pid, std::function<void(int exit_code)> ended);
  bool active() const;
  void Cancel() { state_.reset(); }

 private:
  struct State;
  std::shared_ptr<State> state_;
};

/// When the process started, in clock ticks since boot; 0 when there is none. With the pid it names
/// a process for good, because pids are used again.
uint64_t StartTime(pid_t pid);

}  // namespace isthmus::lab::network
