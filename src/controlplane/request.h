#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace isthmus::controlplane {

/// "request [--debug-port PORT] METHOD PATH": one request to the monitoring port of the istiod on
/// this machine, and the body of its answer. The way for the CLI, by exec in the pod, to the pages
/// that only loopback may see.
base::Result<std::string> MakeRequest(const std::vector<std::string>& arguments);

}  // namespace isthmus::controlplane
