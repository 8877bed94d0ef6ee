#pragma once

#include "base/result.h"
#include "kubeapi/json.h"

namespace isthmus::inject {

/// Whether every annotation of the pod that injection reads has a value it can use; the error names
/// the annotation and what it may be.
base::Status ValidateAnnotations(const kubeapi::Json& pod);

}  // namespace isthmus::inject
