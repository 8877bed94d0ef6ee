#pragma once

#include "inject/pod.h"

namespace isthmus::inject {

/// Points the application's probes and lifecycle hooks at the agent, which carries them out from
/// inside the pod (the kubelet has no mesh certificate), and tells the agent about the originals in
/// ISTIO_KUBE_APP_PROBERS. REQUIRES: the pod has its proxy container.
void RewriteProbes(const Job& job, Json& pod);

}  // namespace isthmus::inject
