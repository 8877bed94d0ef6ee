#include "ca/certificate_authority.h"

#include <algorithm>

#include "base/log.h"

namespace isthmus::ca {
namespace {

using base::Code;

bool Holds(const std::vector<pki::Certificate>& all, const std::vector<pki::Certificate>& part) {
  return std::all_of(part.begin(), part.end(), [&](const pki::Certificate& root) {
    return std::find(all.begin(), all.end(), root) != all.end();
  });
}

}  // namespace

CertificateAuthority::CertificateAuthority(base::Loop& loop, const base::Clock& clock,
                                           Authority& authority, kubeclient::Client* client,
                                           CertificateAuthorityOptions options)
    : loop_(loop),
      clock_(clock),
      authority_(authority),
      client_(client),
      options_(std::move(options)) {}

base::Status CertificateAuthority::Start() {
  ASSIGN_OR_RETURN(std::optional<SigningMaterial> material,
                   LoadPluggedIn(options_.folder, clock_, options_.self_signed.limits),
                   "loading the CA");
  if (!material) {
    LOG_INFO("pkica", "no plugged-in keys in {}: using a self-signed root", options_.folder);
    if (base::Result<std::string> extra = base::ReadFile(options_.folder + "/root-cert.pem");
        extra.ok())
      options_.self_signed.extra_roots = std::move(*extra);
    self_signed_ =
        std::make_unique<SelfSignedCa>(loop_, clock_, authority_, client_, options_.self_signed);
    self_signed_->Start();
    return {};
  }
  LOG_INFO("pkica", "signing with the plugged-in certificate of \"{}\", valid until {}",
           material->ca.certificate().subject(), base::FormatTime(material->ca.not_after()));
  authority_.Use(std::move(*material));
  std::vector<std::string> files;
  for (const char* name : {"ca-cert.pem", "ca-key.pem", "root-cert.pem", "cert-chain.pem",
                           "tls.crt", "tls.key", "ca.crt"})
    files.push_back(options_.folder + "/" + name);
  watcher_ = std::make_unique<base::FileWatcher>(loop_, std::move(files), [this] {
    if (base::Status status = Reload(); !status.ok())
      LOG_ERROR("pkica", "changed files in {} not taken, the CA stays as it was: {}",
                options_.folder, status.message());
  });
  return {};
}

base::Status CertificateAuthority::Reload() {
  ASSIGN_OR_RETURN(std::optional<SigningMaterial> material,
                   LoadPluggedIn(options_.folder, clock_, options_.self_signed.limits),
                   "loading the CA");
  if (!material)
    return base::Error(Code::kFailedPrecondition,
                       "the plugged-in keys have gone; restart to use a self-signed root");
  RETURN_IF_ERROR(CheckSuccession(*material), "loading the CA");
  const SigningMaterial& now = authority_.material();
  if (now.ca.certificate() == material->ca.certificate() && now.chain_pem == material->chain_pem &&
      now.roots_pem == material->roots_pem) {
    return {};
  }
  LOG_INFO("pkica", "from now on signing with the certificate of \"{}\", valid until {}",
           material->ca.certificate().subject(), base::FormatTime(material->ca.not_after()));
  authority_.Use(std::move(*material));
  return {};
}

base::Status CertificateAuthority::CheckSuccession(const SigningMaterial& next) const {
  const std::vector<pki::Certificate>& before = authority_.roots()->roots();
  const std::vector<pki::Certificate>& after = next.ca.roots().roots();
  if (Holds(before, after) && Holds(after, before)) return {};
  if (options_.multi_root && (Holds(before, after) || Holds(after, before))) return {};
  return base::Error(
      Code::kFailedPrecondition,
      "root-cert.pem has changed: workloads with the old and the new roots would not trust one "
      "another. "
      "Add the new root to the old ones everywhere and restart, then change the intermediate, then "
      "take the old root away");
}

}  // namespace isthmus::ca
