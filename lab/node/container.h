#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/loop.h"
#include "base/result.h"
#include "lab/network/fd.h"
#include "lab/network/process.h"
#include "lab/node/container_config.h"

namespace isthmus::lab::node {

/// One run of one container, in one folder. It starts it, or finds the one that an earlier node
/// process started, and tells when it has ended; the container itself belongs to nobody and
/// outlives this object. Lives on its loop.
class Container {
 public:
  struct Events {
    std::function<void(const RunningState&)> started;
    std::function<void(const base::Status&)> failed;  ///< It could not be started.
    std::function<void(const ExitState&)> ended;
  };

  /// `program` is run in the roles of helper.h.
  Container(base::Loop& loop, std::string program, std::string dir, Events events);
  Container(const Container&) = delete;
  Container& operator=(const Container&) = delete;

  /// Makes the folder and starts the container.
  void Start(const ContainerConfig& config);
  /// Takes up what is in the folder: running (started is called), ended, or never started (failed).
  void Adopt();

  bool running() const { return pid_ > 0; }
  int pid() const { return pid_; }
  const std::string& dir() const { return files_.dir; }
  const std::string& program() const { return program_; }
  /// To its application; "TERM", "SIGTERM" or a number.
  void Signal(const std::string& name);
  void Kill();

 private:
  void Watch(const RunningState& state);
  void OnGone();

  base::Loop& loop_;
  const std::string program_;
  const ContainerFiles files_;
  Events events_;
  int pid_ = 0;
  network::ProcessWatch starter_;
  network::ProcessWatch process_;
  base::Timer soon_;
};

/// One more command in a running container.
struct ExecRequest {
  std::vector<std::string> command;
  bool tty = false;
  bool in = false;
};

/// The caller's ends. With a terminal only `terminal` is valid, for both directions.
struct Exec {
  int pid = 0;
  network::Fd in, out, err;
  network::Fd terminal_socket;  ///< The terminal arrives here: read it with ReceiveTerminal().
};

base::Result<Exec> StartExec(const Container& container, const ExecRequest& request);
/// The same for a container known by its folder and its first process.
base::Result<Exec> StartExec(const std::string& program, const std::string& dir, int pid,
                             const ExecRequest& request);
/// The terminal's descriptor, once `terminal_socket` can be read; invalid when the command failed
/// before.
network::Fd ReceiveTerminal(const network::Fd& terminal_socket);

}  // namespace isthmus::lab::node
