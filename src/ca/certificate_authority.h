#pragma once

#include <memory>
#include <string>

#include "base/files.h"
#include "ca/authority.h"
#include "ca/self_signed.h"

namespace isthmus::ca {

struct CertificateAuthorityOptions {
  std::string folder = "./etc/cacerts";  ///< ROOT_CA_DIR
  /// Takes over changed roots when one bundle holds the other (ISTIO_MULTIROOT_MESH).
  bool multi_root = false;
  SelfSignedOptions self_signed;  ///< Its limits count for plugged-in keys too.
};

/// Decides what the authority signs with: the keys plugged in as files, else a self-signed root.
/// Follows the files: a new intermediate under the same roots is taken live; changed roots are
/// refused, since proxies with the old and the new roots would not trust one another. Lives on its
/// loop; what it is given outlives it.
class CertificateAuthority {
 public:
  /// `client` may be null: a self-signed root then lives in memory only.
  CertificateAuthority(base::Loop& loop, const base::Clock& clock, Authority& authority,
                       kubeclient::Client* client, CertificateAuthorityOptions options);
  CertificateAuthority(const CertificateAuthority&) = delete;
  CertificateAuthority& operator=(const CertificateAuthority&) = delete;

  /// An error when plugged-in keys are there and wrong: the program should not go on. Self-signed,
  /// the authority becomes ready later.
  base::Status Start();
  /// Reads the files again; an error leaves the CA as it was.
  base::Status Reload();

 private:
  base::Status CheckSuccession(const SigningMaterial& next) const;

  base::Loop& loop_;
  const base::Clock& clock_;
  Authority& authority_;
  kubeclient::Client* client_;
  CertificateAuthorityOptions options_;
  std::unique_ptr<SelfSignedCa> self_signed_;
  std::unique_ptr<base::FileWatcher> watcher_;
};

}  // namespace isthmus::ca
