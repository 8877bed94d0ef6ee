#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "pki/certificate.h"

namespace isthmus::pki {

/// What a Kubernetes service-account token says. A value. Empty fields are left out when it is
/// signed.
struct TokenClaims {
  std::string issuer;
  std::string subject;  ///< "system:serviceaccount:<namespace>:<name>"
  std::vector<std::string> audiences;
  std::string id;  ///< jti
  base::Time issued_at;
  base::Time not_before;
  base::Time expires;  ///< The epoch: never (legacy token secrets).
  // The claim kubernetes.io.
  std::string ns;
  std::string service_account;
  std::string service_account_uid;
  std::string pod;
  std::string pod_uid;
  std::string node;
  std::string node_uid;
  std::string secret;  ///< Legacy tokens are bound to the secret that holds them.
  std::string secret_uid;
  bool operator==(const TokenClaims&) const = default;
};

/// Reads the claims of a token without checking who signed it: only to look at one's own token.
base::Result<TokenClaims> ParseTokenClaims(std::string_view token);

/// The public half of a key pair. An immutable value.
class PublicKey {
 public:
  /// A SubjectPublicKeyInfo, or a certificate or private key, of which the public half is taken.
  static base::Result<PublicKey> FromPem(std::string_view pem);
  static PublicKey Of(const PrivateKey& key);
  std::string pem() const;
  /// Kubernetes' key ID: base64url of the SHA-256 of the DER form.
  std::string id() const;
  /// The key as one JSON Web Key, RSA only:
  /// {"use":"sig","kty":"RSA","kid":...,"alg":"RS256","n":...,"e":...}.
  base::Result<std::string> Jwk() const;
  EVP_PKEY* evp() const { return key_.get(); }

 private:
  explicit PublicKey(std::shared_ptr<EVP_PKEY> key) : key_(std::move(key)) {}
  std::shared_ptr<EVP_PKEY> key_;
};

/// Signs with RS256; the key must be RSA.
base::Result<std::string> SignToken(const PrivateKey& key, const TokenClaims& claims);

/// Checks RS256 signature, times and audience (one of `audiences` suffices; none accepts any).
/// Errors are kUnauthenticated. Tokens of another algorithm, "none" above all, are refused.
base::Result<TokenClaims> VerifyToken(std::string_view token, const std::vector<PublicKey>& keys,
                                      const std::vector<std::string>& audiences, base::Time now);

}  // namespace isthmus::pki
