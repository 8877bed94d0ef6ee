#pragma once

#include <string>

#include "translate/mesh_settings.h"

namespace envoy::config::rbac::v3 {
class Policy;
}
namespace istio::security::v1 {
class Rule;
}

namespace isthmus::translate {

/// Where a rule of an AuthorizationPolicy is used.
struct RuleContext {
  const MeshSettings& mesh;
  const std::string& ns;  ///< Of the policy.
  bool tcp = false;       ///< Requests cannot be seen.
  bool allow = false;     ///< What cannot be checked must not be let in.
};

/// Writes one rule. False when it can never match here and is left out.
bool WriteRule(const RuleContext& context, const istio::security::v1::Rule& rule,
               envoy::config::rbac::v3::Policy* policy);

}  // namespace isthmus::translate
