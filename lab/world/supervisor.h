#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/loop.h"
#include "base/result.h"
#include "lab/world/lab_dirs.h"
#include "lab/world/lab_spec.h"

namespace isthmus::lab::world {

struct SupervisorOptions {
  LabDirs dirs;
  LabSpec spec;
  std::string program;  ///< This program's path.
  std::string assets;   ///< Folder of a real Kubernetes' programs; empty for the lab's own.
  /// Lines for whoever waits for the lab to be up.
  std::function<void(const std::string&)> progress;
  /// Once: OK when every API server answers and every node is ready.
  std::function<void(const base::Status&)> ready;
};

/// The lab itself: makes the networks, starts the processes of every cluster, keeps them running,
/// serves the ways in from the machine and the commands of the user. Runs in mount and process
/// namespaces of the lab's own, so that its end is the end of everything it made. Lives on its
/// loop.
class Supervisor {
 public:
  Supervisor(base::Loop& loop, SupervisorOptions options);
  ~Supervisor();
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;
  base::Status Start();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace isthmus::lab::world
