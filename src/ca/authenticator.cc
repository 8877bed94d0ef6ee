#include "ca/authenticator.h"

#include <algorithm>

#include "pki/spiffe.h"

namespace isthmus::ca {

using base::Code;

std::string_view NameOf(Caller::Proof proof) {
  switch (proof) {
    case Caller::Proof::kClientCertificate:
      return "ClientCertificate";
    case Caller::Proof::kKubernetesToken:
      return "KubernetesToken";
    case Caller::Proof::kNone:
      break;
  }
  return "None";
}

void ClientCertificateAuthenticator::Authenticate(const http::PeerInfo& peer, const http::Headers&,
                                                  Done done) {
  if (!peer.tls || peer.chain.empty())
    return done(base::Error(Code::kUnauthenticated, "no verified client certificate"));
  std::vector<std::string> uris = peer.chain.front().uri_sans();
  if (uris.size() != 1)
    return done(base::Error(Code::kUnauthenticated, "client certificate has {} URI SANs, not one",
                            uris.size()));
  const base::Result<pki::SpiffeId> id = pki::SpiffeId::Parse(uris.front());
  if (!id.ok())
    return done(
        base::Error(Code::kUnauthenticated, "client certificate: {}", id.status().message()));
  if (std::find(trust_domains_.begin(), trust_domains_.end(), id->trust_domain) ==
      trust_domains_.end())
    return done(base::Error(Code::kUnauthenticated,
                            "client certificate of trust domain \"{}\" is of another mesh",
                            id->trust_domain));
  Caller caller;
  caller.proof = Caller::Proof::kClientCertificate;
  caller.identities = std::move(uris);
  done(std::move(caller));
}

struct AuthenticatorChain::Attempt {
  http::PeerInfo peer;
  http::Headers metadata;
  Done done;
  std::string reasons;
};

void AuthenticatorChain::Authenticate(const http::PeerInfo& peer, const http::Headers& metadata,
                                      Done done) {
  if (!peer.tls) {
    if (plaintext_ == Plaintext::kAnonymous) return done(Caller{});
    return done(base::Error(Code::kUnauthenticated, "the connection is not encrypted: use TLS"));
  }
  Try(std::make_shared<Attempt>(Attempt{peer, metadata, std::move(done), {}}), 0);
}

void AuthenticatorChain::Try(std::shared_ptr<Attempt> attempt, size_t member) {
  if (member == members_.size())
    return attempt->done(
        base::Error(Code::kUnauthenticated, "caller is not known: {}", attempt->reasons));
  members_[member]->Authenticate(attempt->peer, attempt->metadata,
                                 [this, attempt, member](base::Result<Caller> caller) {
                                   if (caller.ok()) return attempt->done(std::move(caller));
                                   if (!attempt->reasons.empty()) attempt->reasons += "; ";
                                   attempt->reasons += caller.status().message();
                                   Try(attempt, member + 1);
                                 });
}

}  // namespace isthmus::ca
