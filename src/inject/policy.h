#pragma once

#include <string>
#include <string_view>

#include "inject/config.h"
#include "kubeapi/json.h"

namespace isthmus::inject {

/// Whether a pod that the webhook was shown gets a proxy, and if not, why.
struct Decision {
  bool inject = false;
  std::string why;
};
/// The second look, after the webhook's own selectors.
Decision Decide(const Json& pod, std::string_view ns, const InjectorConfig& config);

}  // namespace isthmus::inject
