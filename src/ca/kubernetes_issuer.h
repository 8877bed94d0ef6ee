#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/loop.h"
#include "ca/issuer.h"
#include "kubeclient/client.h"
#include "pki/trust_bundle.h"

namespace isthmus::ca {

/// Trust anchors of some signers, as meshConfig.caCertificates lists them.
struct SignerRoots {
  std::vector<std::string> signers;  ///< Full names; empty: of all signers that have no entry.
  std::string pem;
};

struct KubernetesIssuerOptions {
  std::string signer;  ///< K8S_SIGNER: whom to ask when a workload names nobody.
  std::string
      signer_domain;  ///< CERT_SIGNER_DOMAIN: "<domain>/<name>" for the name that a workload gives.
  std::string root_file = "./etc/external-ca-cert/root-cert.pem";
  std::string cluster_root_file = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";
  std::chrono::seconds default_ttl = std::chrono::hours(24);
  std::chrono::seconds max_ttl = std::chrono::hours(2160);
  base::Duration patience = std::chrono::seconds(60);
  /// Asked at each request, so that a changed mesh configuration holds at once. May be empty.
  std::function<std::vector<SignerRoots>()> mesh_roots;
};

/// Stands between workloads and a CA outside: each request becomes a CertificateSigningRequest,
/// which is approved here, because the caller's identity was proven here, and signed by whoever
/// serves the signer (cert-manager, the cluster's own CA). Takes nothing on trust: the request may
/// ask for the proven identity only, and the answer must lead to a root that was given for the
/// signer. Lives on its loop; client, clock and loop outlive it.
class KubernetesIssuer final : public Issuer {
 public:
  KubernetesIssuer(base::Loop& loop, const base::Clock& clock, kubeclient::Client& client,
                   KubernetesIssuerOptions options);
  ~KubernetesIssuer() override;
  KubernetesIssuer(const KubernetesIssuer&) = delete;
  KubernetesIssuer& operator=(const KubernetesIssuer&) = delete;

  void Issue(const std::string& csr_pem, const std::vector<std::string>& identities,
             std::chrono::seconds ttl, const std::string& signer, Done done) override;
  /// Every root that an issued certificate may lead to: what client certificates are checked
  /// against. Files that are not there count as empty.
  pki::TrustBundle Roots() const;

 private:
  struct Request;
  base::Result<std::string> SignerName(const std::string& asked) const;
  base::Result<std::string> RootsOf(const std::string& signer,
                                    const std::vector<pki::Certificate>& chain) const;
  base::Result<std::vector<std::string>> Answer(const std::string& signer,
                                                const std::string& certificate_base64) const;
  void Approve(const std::shared_ptr<Request>& request, kubeapi::Json object);
  void Await(const std::shared_ptr<Request>& request, const kubeapi::Json& object);
  void Look(const std::shared_ptr<Request>& request, const kubeapi::Json& object);
  void Finish(const std::shared_ptr<Request>& request,
              base::Result<std::vector<std::string>> answer);

  base::Loop& loop_;
  const base::Clock& clock_;
  kubeclient::Client& client_;
  const KubernetesIssuerOptions options_;
  std::vector<std::shared_ptr<Request>> open_;
};

}  // namespace isthmus::ca
