#pragma once

#include "translate/class_inputs.h"
#include "translate/gateway_plan.h"

namespace isthmus::translate {

/// The credentials that the servers and DestinationRules of a class name, as far as they exist in
/// the proxy's own cluster and namespace. Names that cannot be resolved are left out.
Resources BuildSecrets(const ClassInputs& inputs, const std::vector<GatewayPort>& ports,
                       const std::vector<std::shared_ptr<const MergedRule>>& rules);

}  // namespace isthmus::translate
