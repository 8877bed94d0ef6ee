#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/loop.h"
#include "base/result.h"
#include "kubeclient/client.h"

namespace isthmus::kubeclient {

struct ExecRequest {
  std::string ns;
  std::string pod;
  std::string container;
  std::vector<std::string> argv;
  /// Given up when nothing is heard for so long.
  base::Duration idle_timeout = std::chrono::seconds(60);
};

struct ExecOutcome {
  std::string out;
  std::string err;
  int exit_code = 0;
};

/// A command in a container of a pod, by the API server's exec over WebSocket. Lives on the
/// client's loop; destroying it breaks the connection, after which the command may go on.
class PodExec {
 public:
  /// `done` is called once: with what the command gave, whatever its exit code, or why it could not
  /// be run to its end. It may destroy this.
  PodExec(base::Loop& loop, Client& client, ExecRequest request,
          std::function<void(base::Result<ExecOutcome>)> done);
  ~PodExec();
  PodExec(const PodExec&) = delete;
  PodExec& operator=(const PodExec&) = delete;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace isthmus::kubeclient
