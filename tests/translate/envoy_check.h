#pragma once

#include <string>

#include "kubeapi/json.h"

namespace isthmus::translate {

/// Feeds a view (as ViewToJson gives it) to a real Envoy in validation mode: clusters and listeners
/// become static, routes are put into the listeners that ask for them. Empty when Envoy takes it,
/// else what it says.
std::string EnvoyComplaint(const kubeapi::Json& view);

}  // namespace isthmus::translate
