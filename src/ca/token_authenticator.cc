#include "ca/token_authenticator.h"

#include <algorithm>

namespace isthmus::ca {
namespace {

using base::Code;
using kubeapi::Json;

const kubeapi::Resource kTokenReviews{"authentication.k8s.io", "v1", "tokenreviews", "TokenReview",
                                      false};

bool Has(const std::vector<std::string>& values, std::string_view value) {
  return std::find(values.begin(), values.end(), value) != values.end();
}

/// The token of "Bearer <token>", or "".
std::string_view BearerToken(const http::Headers& metadata) {
  std::string_view value = metadata.Get("authorization").value_or("");
  constexpr std::string_view kScheme = "Bearer ";
  if (value.size() <= kScheme.size()) return {};
  for (size_t i = 0; i < kScheme.size(); ++i)
    if ((value[i] | 0x20) != (kScheme[i] | 0x20)) return {};
  return value.substr(kScheme.size());
}

}  // namespace

std::string IdentityOf(std::string_view trust_domain, std::string_view ns,
                       std::string_view account) {
  std::string domain(trust_domain);
  std::replace(domain.begin(), domain.end(), '@', '.');
  return fmt::format("spiffe://{}/ns/{}/sa/{}", domain, ns, account);
}

base::Result<Caller> CallerOfReview(const Json& review, const TokenAuthenticatorOptions& options) {
  if (!kubeapi::BoolAt(review, {"status", "authenticated"})) {
    const std::string error = kubeapi::StringAt(review, {"status", "error"});
    return base::Error(Code::kUnauthenticated, "the API server does not accept the token{}{}",
                       error.empty() ? "" : ": ", error);
  }
  // Without audiences in its answer a server has not looked at them, and the token may be meant for
  // anyone.
  const std::vector<std::string> audiences = kubeapi::StringsAt(review, {"status", "audiences"});
  const bool meant_for_us =
      std::any_of(options.audiences.begin(), options.audiences.end(),
                  [&](const std::string& audience) { return Has(audiences, audience); });
  if (!options.audiences.empty() && !meant_for_us)
    return base::Error(Code::kUnauthenticated, "the token is not for audience [{}]",
                       fmt::join(options.audiences, ", "));
  if (!Has(kubeapi::StringsAt(review, {"status", "user", "groups"}), "system:serviceaccounts"))
    return base::Error(Code::kUnauthenticated, "the token is not of a service account");
  const std::string user = kubeapi::StringAt(review, {"status", "user", "username"});
  constexpr std::string_view kPrefix = "system:serviceaccount:";
  const size_t colon = user.starts_with(kPrefix) ? user.find(':', kPrefix.size()) : user.npos;
  if (colon == user.npos || colon == kPrefix.size() || colon + 1 == user.size() ||
      user.find(':', colon + 1) != user.npos) {
    return base::Error(Code::kUnauthenticated, "user \"{}\" is not a service account", user);
  }
  Caller caller;
  caller.proof = Caller::Proof::kKubernetesToken;
  caller.identities = {IdentityOf(options.trust_domain,
                                  user.substr(kPrefix.size(), colon - kPrefix.size()),
                                  user.substr(colon + 1))};
  const auto extra = [&](std::string_view key) {
    const std::vector<std::string> values =
        kubeapi::StringsAt(review, {"status", "user", "extra", key});
    return values.empty() ? std::string() : values.front();
  };
  caller.pod = extra("authentication.kubernetes.io/pod-name");
  caller.pod_uid = extra("authentication.kubernetes.io/pod-uid");
  return caller;
}

void TokenAuthenticator::Authenticate(const http::PeerInfo&, const http::Headers& metadata,
                                      Done done) {
  const std::string_view token = BearerToken(metadata);
  if (token.empty()) return done(base::Error(Code::kUnauthenticated, "no bearer token"));
  const std::string cluster(metadata.Get("clusterid").value_or(""));
  kubeclient::Client* client = options_.client_of(cluster);
  if (client == nullptr)
    return done(base::Error(Code::kUnauthenticated,
                            "cluster \"{}\" is not known here: no remote secret names it",
                            cluster));
  const Json review = {
      {"apiVersion", "authentication.k8s.io/v1"},
      {"kind", "TokenReview"},
      {"spec", {{"token", std::string(token)}, {"audiences", options_.audiences}}}};
  client->Create(
      kTokenReviews, "", review,
      [options = options_, cluster, done = std::move(done)](base::Result<Json> answer) {
        if (!answer.ok())
          return done(base::Error(Code::kUnauthenticated, "reviewing a token in cluster \"{}\": {}",
                                  cluster, answer.status().message()));
        done(CallerOfReview(*answer, options));
      });
}

}  // namespace isthmus::ca
