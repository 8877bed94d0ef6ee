#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "model/snapshot.h"
#include "model/view.h"
#include "translate/mesh_settings.h"
#include "translate/policy_index.h"

namespace isthmus::translate {

using RequestAuthenticationIndex = PolicyIndex<istio::security::v1::RequestAuthentication>;
using RequestAuthentications = RequestAuthenticationIndex::List;

/// How a workload's proxy checks tokens. Keys are fetched by Envoy itself, not by the control
/// plane: a service of the mesh through its own cluster, any other host through a cluster made for
/// it.
struct TokenChecks {
  std::string filter;  ///< A serialised HttpFilter; empty where no token is checked.
  std::vector<std::shared_ptr<const model::Resource>>
      clusters;  ///< Those that lead to hosts with keys.
};
TokenChecks BuildTokenChecks(const MeshSettings& mesh, const model::Snapshot& snapshot,
                             const RequestAuthentications& policies, bool ipv4, bool router);

}  // namespace isthmus::translate
