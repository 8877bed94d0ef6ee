#include "ca/authority.h"

namespace isthmus::ca {

using base::Code;

const std::string& Authority::roots_pem() const {
  static const std::string none;
  return material_ ? material_->roots_pem : none;
}

void Authority::Use(SigningMaterial material) {
  roots_ = std::make_shared<const pki::TrustBundle>(material.ca.roots());
  material_.emplace(std::move(material));
  // A listener may drop its handle or another's, so each is held while it is called.
  std::vector<std::shared_ptr<std::function<void()>>> to_tell;
  for (auto at = listeners_.begin(); at != listeners_.end();) {
    if (auto listener = at->lock()) {
      to_tell.push_back(std::move(listener));
      ++at;
    } else {
      at = listeners_.erase(at);
    }
  }
  for (const auto& listener : to_tell) (*listener)();
}

std::shared_ptr<void> Authority::OnChange(std::function<void()> changed) {
  auto listener = std::make_shared<std::function<void()>>(std::move(changed));
  listeners_.push_back(listener);
  return listener;
}

base::Result<std::vector<std::string>> Authority::Sign(const std::string& csr_pem,
                                                       const std::vector<std::string>& identities,
                                                       std::chrono::seconds ttl) const {
  if (!ready())
    return base::Error(Code::kInternal, "the CA is not ready: it has no signing key yet");
  ASSIGN_OR_RETURN(const pki::Csr csr, pki::Csr::FromPem(csr_pem), "certificate request");
  const base::Result<pki::Certificate> leaf = material_->ca.SignWorkload(csr, identities, ttl);
  if (!leaf.ok()) {
    const base::Status status = leaf.status();
    const Code code =
        status.code() == Code::kInvalidArgument ? Code::kInvalidArgument : Code::kInternal;
    return base::Status(code, status.message());
  }
  std::vector<std::string> answer = {leaf->pem()};
  answer.insert(answer.end(), material_->chain_pem.begin(), material_->chain_pem.end());
  answer.push_back(material_->roots_pem);
  return answer;
}

}  // namespace isthmus::ca
