#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "http/message.h"
#include "http/tls.h"

namespace isthmus::ca {

/// Who calls, and how that was proved. A value.
struct Caller {
  enum class Proof { kNone, kClientCertificate, kKubernetesToken };
  Proof proof = Proof::kNone;
  std::vector<std::string>
      identities;   ///< SPIFFE IDs; none when nothing was asked for (plaintext).
  std::string pod;  ///< Known from bound tokens only.
  std::string pod_uid;
};
std::string_view NameOf(Caller::Proof proof);

/// Finds out who calls on a gRPC connection, for the certificate service and for xDS alike. Lives
/// on the loop of the connections.
class Authenticator {
 public:
  using Done = std::function<void(base::Result<Caller>)>;
  virtual ~Authenticator() = default;
  /// Calls `done` once, in this call or later; the arguments need not outlive the call. Errors are
  /// kUnauthenticated and say what was wrong, never what the credential was.
  virtual void Authenticate(const http::PeerInfo& peer, const http::Headers& metadata,
                            Done done) = 0;
};

/// Believes a client certificate that TLS has verified: it must carry exactly one URI SAN, a SPIFFE
/// ID of one of the trust domains.
class ClientCertificateAuthenticator final : public Authenticator {
 public:
  explicit ClientCertificateAuthenticator(std::vector<std::string> trust_domains)
      : trust_domains_(std::move(trust_domains)) {}
  void Authenticate(const http::PeerInfo& peer, const http::Headers& metadata, Done done) override;

 private:
  std::vector<std::string> trust_domains_;
};

/// Asks several in order; the first success counts. Without TLS the credentials could have been
/// read or changed on the way, so nobody is believed: the call fails, or has a caller without
/// identity when `plaintext` says so.
class AuthenticatorChain final : public Authenticator {
 public:
  enum class Plaintext { kRefuse, kAnonymous };
  AuthenticatorChain(std::vector<std::unique_ptr<Authenticator>> members, Plaintext plaintext)
      : members_(std::move(members)), plaintext_(plaintext) {}
  void Authenticate(const http::PeerInfo& peer, const http::Headers& metadata, Done done) override;

 private:
  struct Attempt;
  void Try(std::shared_ptr<Attempt> attempt, size_t member);

  std::vector<std::unique_ptr<Authenticator>> members_;
  Plaintext plaintext_;
};

}  // namespace isthmus::ca
