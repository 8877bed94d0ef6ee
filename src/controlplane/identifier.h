#pragma once

#include <string>

namespace isthmus::controlplane {

/// How the control plane names itself in control_plane.identifier: JSON that `istioctl
/// proxy-status` and `istioctl version` read.
std::string ControlPlaneIdentifier(const std::string& pod, const std::string& revision);

}  // namespace isthmus::controlplane
