#pragma once

#include "inject/pod.h"

namespace isthmus::inject {

/// The init container that sets up traffic capture (istio-init), or with CNI only checks it
/// (istio-validation). Null when the pod's traffic is not captured.
Json CaptureContainer(const Job& job);
/// With CNI: the capture settings as annotations, where the plugin reads them.
void AddCaptureAnnotations(const Job& job, Json& annotations);

}  // namespace isthmus::inject
