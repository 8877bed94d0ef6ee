#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "ca/authenticator.h"
#include "kubeclient/client.h"

namespace isthmus::ca {

struct TokenAuthenticatorOptions {
  std::string trust_domain = "cluster.local";
  std::vector<std::string> audiences = {"istio-ca"};  ///< One match is enough.
  /// The client of the cluster that a caller names in metadata `clusterid` (it may be empty: our
  /// own), or null when there is none of that name.
  std::function<kubeclient::Client*(std::string_view cluster)> client_of;
};

/// Believes a bearer token of a Kubernetes service account that the API server of the caller's
/// cluster confirms by a TokenReview. The clients must outlive the reviews under way.
class TokenAuthenticator final : public Authenticator {
 public:
  explicit TokenAuthenticator(TokenAuthenticatorOptions options) : options_(std::move(options)) {}
  void Authenticate(const http::PeerInfo& peer, const http::Headers& metadata, Done done) override;

 private:
  TokenAuthenticatorOptions options_;
};

/// Reads the status of a TokenReview. Pure; for TokenAuthenticator and its tests.
base::Result<Caller> CallerOfReview(const kubeapi::Json& review,
                                    const TokenAuthenticatorOptions& options);

/// "spiffe://<trust domain>/ns/<ns>/sa/<account>"; an "@" in a trust domain is written as ".".
std::string IdentityOf(std::string_view trust_domain, std::string_view ns,
                       std::string_view account);

}  // namespace isthmus::ca
