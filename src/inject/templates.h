#pragma once

#include <string_view>

#include "base/result.h"
#include "inject/pod.h"

namespace isthmus::inject {

/// The part of a pod that a template adds, to be merged onto the pod. "sidecar" and "gateway" are
/// built in; other names are an error. Pure.
base::Result<Json> Render(std::string_view name, const Job& job);

}  // namespace isthmus::inject
