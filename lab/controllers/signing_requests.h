#pragma once

#include "lab/controllers/world.h"
#include "pki/signer.h"

namespace isthmus::lab::controllers {

/// Signs approved CertificateSigningRequests of the signers kubernetes.io/kube-apiserver-client and
/// kubernetes.io/kubelet-serving with the cluster's CA. Requests of other signers are left to
/// those.
class SigningController final : public Controller {
 public:
  explicit SigningController(pki::IssuingCa ca) : ca_(std::move(ca)) {}
  std::string_view name() const override { return "csrsigning"; }
  std::vector<std::string> KeysFor(const World& world, const Resource& resource, const Json& object,
                                   bool gone) const override;
  std::vector<Write> Reconcile(const World& world, const std::string& key) override;

 private:
  const pki::IssuingCa ca_;
};

}  // namespace isthmus::lab::controllers
