#pragma once

#include <string>
#include <vector>

#include "model/snapshot.h"
#include "translate/authorization.h"
#include "translate/mesh_settings.h"

namespace isthmus::translate {

/// Serialised HttpFilters that ask a service of the mesh about the requests that CUSTOM policies
/// match: first the rules, which only mark, then the question. Takes the policies that it handles
/// out of `authorization`; left there are those whose provider is unknown, is no service of the
/// mesh, or is another than the first policy's. They deny.
std::vector<std::string> ExternalAuthorization(const MeshSettings& mesh,
                                               const model::Snapshot& snapshot,
                                               WorkloadAuthorization* authorization);

/// The cluster that leads to a provider's service, "host" or "namespace/host"; empty when the mesh
/// has no such service.
std::string ProviderCluster(const model::Snapshot& snapshot, const std::string& service, int port);

}  // namespace isthmus::translate
