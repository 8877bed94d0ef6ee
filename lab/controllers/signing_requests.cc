#include "lab/controllers/signing_requests.h"

#include "base/encoding.h"
#include "kubeapi/meta.h"
#include "lab/controllers/pods.h"

namespace isthmus::lab::controllers {
namespace {

using kubeapi::StringAt;

base::Result<std::string> Sign(const pki::IssuingCa& ca, const Json& request) {
  ASSIGN_OR_RETURN(std::string pem, base::Base64Decode(StringAt(request, {"spec", "request"})),
                   "spec.request");
  ASSIGN_OR_RETURN(pki::Csr csr, pki::Csr::FromPem(pem), "spec.request");
  const bool serving = StringAt(request, {"spec", "signerName"}) == "kubernetes.io/kubelet-serving";
  int64_t seconds = kubeapi::IntAt(request, {"spec", "expirationSeconds"}, 365 * 24 * 3600);
  ASSIGN_OR_RETURN(
      pki::Certificate certificate,
      ca.SignLeaf(csr, csr.names(), {serving, !serving}, std::chrono::seconds(seconds)), "signing");
  return certificate.pem();
}

}  // namespace

std::vector<std::string> SigningController::KeysFor(const World&, const Resource& resource,
                                                    const Json& object, bool gone) const {
  if (!Same(resource, kSigningRequests) || gone) return {};
  return {kubeapi::NameOf(object)};
}

std::vector<Write> SigningController::Reconcile(const World& world, const std::string& key) {
  const Json* request = world.Get(kSigningRequests, "", key);
  if (request == nullptr || !kubeapi::ConditionIsTrue(*request, "Approved") ||
      !StringAt(*request, {"status", "certificate"}).empty())
    return {};
  std::string signer = StringAt(*request, {"spec", "signerName"});
  if (signer != "kubernetes.io/kube-apiserver-client" &&
      signer != "kubernetes.io/kube-apiserver-client-kubelet" &&
      signer != "kubernetes.io/kubelet-serving")
    return {};
  if (kubeapi::FindCondition(*request, "Failed") != nullptr) return {};
  Json after = *request;
  auto certificate = Sign(ca_, *request);
  if (certificate.ok()) {
    after["status"]["certificate"] = base::Base64Encode(*certificate);
  } else {
    SetCondition(after["status"], "Failed", true, "SignerValidationFailure",
                 certificate.status().message(), world.Now());
  }
  return {ReplaceStatus(kSigningRequests, std::move(after))};
}

}  // namespace isthmus::lab::controllers
