#pragma once

#include "base/result.h"
#include "inject/pod.h"

namespace isthmus::inject {

/// Points the pod's scrape annotations at the agent, which merges the application's metrics with
/// Envoy's, and tells the agent where the application's are (ISTIO_PROMETHEUS_ANNOTATIONS). An
/// error when the annotations name a port of the proxy's own.
base::Status MergePrometheus(const Job& job, Json& pod);

}  // namespace isthmus::inject
