#pragma once

#include <string>

#include "base/result.h"
#include "lab/world/lab_dirs.h"
#include "lab/world/lab_spec.h"

namespace isthmus::lab::world {

/// The lab's life as seen from the machine.
///
/// A lab is one process namespace: its first process starts the supervisor and reaps whatever is
/// left without a parent; when it ends, the kernel ends everything in it. So "down" is one signal,
/// and nothing that is not the lab's can be hit.

/// Starts the lab in the background and waits until it is up, printing progress on standard error.
base::Status StartLab(const LabDirs& dirs, const LabSpec& spec, const std::string& topology_text);
/// Ends it, if it runs, and removes its state.
base::Status StopLab(const LabDirs& dirs);
/// The process id (as the machine sees it) of the running lab's first process, or 0.
int RunningLab(const LabDirs& dirs);

}  // namespace isthmus::lab::world
