#pragma once

#include <map>
#include <string>
#include <string_view>

#include "base/result.h"

namespace isthmus::agent {

/// Roots that the mesh believes besides those of the workload's CA (meshConfig.caCertificates), as
/// the control plane tells them. A value.
class MeshTrust {
 public:
  /// `message`: a serialised istio.mesh.v1alpha1.ProxyConfig. `ca_certificates_pem` holds all
  /// roots; where `proxy_metadata` has entries, they bind the roots to trust domains. A root that
  /// cannot be read makes the whole of it refused.
  static base::Result<MeshTrust> Parse(std::string_view message);

  bool empty() const { return roots_.empty(); }
  bool operator==(const MeshTrust&) const = default;

  /// The fields of Envoy's CertificateValidationContext that say which roots count, serialised.
  /// `own_roots` are those of the CA, `own_domain` is the workload's trust domain.
  ///
  /// When roots are bound, each trust domain is verified by its own roots only, so that the CA of
  /// one mesh cannot make identities of another. `revoked` are revocation lists in PEM.
  std::string Validation(const std::string& own_domain, const std::string& own_roots,
                         const std::string& revoked) const;

 private:
  std::string roots_;  ///< PEM; all of them.
  /// PEM by trust domain; nothing for domains that share the mesh's own roots.
  std::map<std::string, std::string> of_domain_;
};

}  // namespace isthmus::agent
