#pragma once

#include <string>

#include "base/result.h"
#include "inject/config.h"
#include "kubeapi/json.h"

namespace isthmus::inject {

struct Outcome {
  Json pod;
  bool injected = false;
  std::string skipped;  ///< Why not, when it was not.
};

/// The pod with its proxy as the webhook would make it, or unchanged when it is to have none. Pure:
/// the same for the webhook and for kube-inject. `ns` is the namespace of the request; a pod
/// without one is in it. Injecting an injected pod again gives the same pod.
base::Result<Outcome> Inject(const Json& pod, const std::string& ns, const InjectorConfig& config,
                             const MeshSettings& mesh, const Params& params);

}  // namespace isthmus::inject
