#pragma once

#include <optional>
#include <string>
#include <vector>

#include "lab/apiserver/engine.h"
#include "pki/certificate.h"
#include "pki/jwt.h"

namespace isthmus::lab::apiserver {

/// Issues and checks service-account tokens. A bound token is good while its account (and pod,
/// secret or node) with the same uid is there and not being deleted too long ago. Single-threaded
/// with the engine.
class TokenIssuer {
 public:
  struct Binding {
    std::string kind, name, uid;  ///< "Pod", "Secret", "Node", or empty.
  };
  /// `audience` is the API server's own, which tokens without audiences get and requests are
  /// checked for.
  TokenIssuer(Engine& engine, pki::PrivateKey key, std::string issuer,
              std::vector<std::string> api_audiences);

  /// A token for an account that exists; `expires` is told through `expiration`.
  base::Result<std::string> Issue(const std::string& ns, const Json& account,
                                  std::vector<std::string> audiences, const Binding& bound,
                                  int64_t seconds, base::Time* expiration) const;
  /// The never-expiring token of a kubernetes.io/service-account-token secret.
  base::Result<std::string> IssueLegacy(const std::string& ns, const Json& account,
                                        const std::string& secret) const;

  struct Identity {
    User user;
    std::vector<std::string> audiences;  ///< Those of the token that were asked for.
  };
  /// `audiences` empty takes the API server's own.
  base::Result<Identity> Check(const std::string& token,
                               const std::vector<std::string>& audiences) const;

  const std::string& issuer() const { return issuer_; }
  /// The JSON Web Key Set.
  Json Keys() const;

 private:
  Engine& engine_;
  pki::PrivateKey key_;
  pki::PublicKey public_;
  std::string issuer_;
  std::vector<std::string> api_audiences_;
};

}  // namespace isthmus::lab::apiserver
