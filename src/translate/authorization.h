#pragma once

#include <memory>
#include <string>
#include <vector>

#include "model/snapshot.h"
#include "translate/mesh_settings.h"
#include "translate/policy_index.h"

namespace isthmus::translate {

using AuthorizationObject = config::Object<istio::security::v1::AuthorizationPolicy>;

/// The policies that hold for one workload, in the order in which they decide; oldest first in
/// each.
struct WorkloadAuthorization {
  using List = std::vector<std::shared_ptr<const AuthorizationObject>>;
  /// Policies that hand the decision to a service we cannot ask; their rules deny.
  List custom;
  List audit;
  List deny;
  List allow;
};

using AuthorizationIndex = PolicyIndex<istio::security::v1::AuthorizationPolicy>;

/// Takes the policies of a workload apart by what they do.
WorkloadAuthorization ByAction(const AuthorizationIndex::List& policies);

/// Serialised HTTP filters (HttpFilter) that enforce the policies, in order.
std::vector<std::string> HttpAuthorization(const MeshSettings& mesh,
                                           const WorkloadAuthorization& policies);
/// Serialised network filters (listener Filter) for connections that are not HTTP. What a rule says
/// about requests cannot be checked there: an ALLOW rule with such a field does not match, a DENY
/// or AUDIT rule goes by the rest.
std::vector<std::string> TcpAuthorization(const MeshSettings& mesh,
                                          const WorkloadAuthorization& policies);

}  // namespace isthmus::translate
