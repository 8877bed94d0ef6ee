#pragma once

#include <memory>
#include <string>
#include <vector>

#include "model/view.h"
#include "translate/mesh_settings.h"

namespace isthmus::translate {

/// Trust domains of other meshes that meshConfig.caCertificates names; neither the own one nor an
/// alias.
std::vector<std::string> ForeignTrustDomains(const MeshSettings& mesh);

/// What agents are told of the roots in meshConfig.caCertificates; null when there are none. One
/// resource, so that they hear of all of it at once.
///
/// A ProxyConfig with all roots in `ca_certificates_pem`, as Istio's agents read it. When some root
/// is bound to trust domains, `proxy_metadata` has an entry for each trust domain that the mesh
/// believes: its own roots in PEM, or nothing for those that share the mesh's own. Entries of the
/// mesh's own domain add to the roots that the CA gives.
std::shared_ptr<const model::Resource> BuildMeshTrust(const MeshSettings& mesh);

}  // namespace isthmus::translate
