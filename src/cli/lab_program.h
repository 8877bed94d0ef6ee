#pragma once

#include <string>
#include <vector>

#include "base/loop.h"
#include "base/result.h"

namespace isthmus::cli {

/// Runs isthmus-lab, found beside this program or in PATH, with our standard streams; gives its
/// exit code. The error says that the program is not there.
base::Result<int> RunLab(base::Loop& loop, std::vector<std::string> arguments);

/// The kubeconfig of the running lab: $ISTHMUS_LAB_DIR/kubeconfig, by default below
/// /var/lib/isthmus/lab.
std::string LabKubeconfig();

}  // namespace isthmus::cli
