#include "lab/apiserver/tokens.h"

#include <algorithm>

#include "kubeapi/meta.h"
#include "pki/digest.h"

namespace isthmus::lab::apiserver {

using base::Code;
using base::Error;

namespace {
constexpr char kLegacyIssuer[] = "kubernetes/serviceaccount";
}  // namespace

TokenIssuer::TokenIssuer(Engine& engine, pki::PrivateKey key, std::string issuer,
                         std::vector<std::string> api_audiences)
    : engine_(engine),
      key_(key),
      public_(pki::PublicKey::Of(key)),
      issuer_(std::move(issuer)),
      api_audiences_(std::move(api_audiences)) {
  if (api_audiences_.empty()) api_audiences_.push_back(issuer_);
}

base::Result<std::string> TokenIssuer::Issue(const std::string& ns, const Json& account,
                                             std::vector<std::string> audiences,
                                             const Binding& bound, int64_t seconds,
                                             base::Time* expiration) const {
  pki::TokenClaims claims;
  claims.issuer = issuer_;
  claims.subject = "system:serviceaccount:" + ns + ":" + kubeapi::NameOf(account);
  claims.audiences = audiences.empty() ? api_audiences_ : std::move(audiences);
  claims.id = pki::RandomUuid();
  claims.issued_at = claims.not_before = engine_.clock.Now();
  claims.expires = claims.issued_at + std::chrono::seconds(seconds);
  claims.ns = ns;
  claims.service_account = kubeapi::NameOf(account);
  claims.service_account_uid = kubeapi::UidOf(account);
  if (bound.kind == "Pod") {
    auto pod = engine_.Get("pods", ns, bound.name);
    if (!pod) return Error(Code::kNotFound, "pods \"{}\" not found", bound.name);
    if (!bound.uid.empty() && bound.uid != kubeapi::UidOf(*pod))
      return Error(Code::kAborted,
                   "the UID in the bound object reference ({}) does not match the UID in record. "
                   "The object might have been deleted and then recreated",
                   bound.uid);
    claims.pod = bound.name;
    claims.pod_uid = kubeapi::UidOf(*pod);
    claims.node = kubeapi::StringAt(*pod, {"spec", "nodeName"});
    if (auto node = claims.node.empty() ? std::nullopt : engine_.Get("nodes", "", claims.node))
      claims.node_uid = kubeapi::UidOf(*node);
  } else if (bound.kind == "Secret") {
    auto secret = engine_.Get("secrets", ns, bound.name);
    if (!secret) return Error(Code::kNotFound, "secrets \"{}\" not found", bound.name);
    claims.secret = bound.name;
    claims.secret_uid = kubeapi::UidOf(*secret);
  } else if (!bound.kind.empty()) {
    return Error(Code::kInvalidArgument,
                 "cannot bind token for serviceaccount \"{}\" to an object of kind \"{}\"",
                 claims.service_account, bound.kind);
  }
  if (expiration) *expiration = claims.expires;
  return pki::SignToken(key_, claims);
}

base::Result<std::string> TokenIssuer::IssueLegacy(const std::string& ns, const Json& account,
                                                   const std::string& secret) const {
  pki::TokenClaims claims;
  claims.issuer = kLegacyIssuer;
  claims.subject = "system:serviceaccount:" + ns + ":" + kubeapi::NameOf(account);
  claims.ns = ns;
  claims.service_account = kubeapi::NameOf(account);
  claims.service_account_uid = kubeapi::UidOf(account);
  claims.secret = secret;
  return pki::SignToken(key_, claims);
}

base::Result<TokenIssuer::Identity> TokenIssuer::Check(
    const std::string& token, const std::vector<std::string>& audiences) const {
  auto claims = pki::VerifyToken(token, {public_}, {}, engine_.clock.Now());
  if (!claims.ok()) return claims.status();
  const bool legacy = claims->issuer == kLegacyIssuer;
  if (!legacy && claims->issuer != issuer_)
    return Error(Code::kUnauthenticated, "the token is of another issuer: {}", claims->issuer);
  Identity identity;
  const std::vector<std::string>& wanted = audiences.empty() ? api_audiences_ : audiences;
  const std::vector<std::string>& has = legacy ? api_audiences_ : claims->audiences;
  for (const std::string& audience : wanted)
    if (std::find(has.begin(), has.end(), audience) != has.end())
      identity.audiences.push_back(audience);
  if (identity.audiences.empty())
    return Error(Code::kUnauthenticated, "token audiences are invalid for the target audiences");
  auto account = engine_.Get("serviceaccounts", claims->ns, claims->service_account);
  if (!account || (!claims->service_account_uid.empty() &&
                   kubeapi::UidOf(*account) != claims->service_account_uid))
    return Error(Code::kUnauthenticated, "the service account {}/{} of the token is gone",
                 claims->ns, claims->service_account);
  auto alive = [&](const char* resource, const std::string& ns, const std::string& name,
                   const std::string& uid) {
    if (name.empty()) return true;
    auto object = engine_.Get(resource, ns, name);
    return object && (uid.empty() || kubeapi::UidOf(*object) == uid);
  };
  if (!alive("pods", claims->ns, claims->pod, claims->pod_uid))
    return Error(Code::kUnauthenticated, "the pod {}/{} of the token is gone", claims->ns,
                 claims->pod);
  if (!alive("secrets", claims->ns, claims->secret, claims->secret_uid))
    return Error(Code::kUnauthenticated, "the secret {}/{} of the token is gone", claims->ns,
                 claims->secret);
  identity.user.name = "system:serviceaccount:" + claims->ns + ":" + claims->service_account;
  identity.user.uid = kubeapi::UidOf(*account);
  identity.user.groups = {"system:serviceaccounts", "system:serviceaccounts:" + claims->ns,
                          "system:authenticated"};
  if (!claims->id.empty())
    identity.user.extra["authentication.kubernetes.io/credential-id"] = {"JTI=" + claims->id};
  if (!claims->pod.empty()) {
    identity.user.extra["authentication.kubernetes.io/pod-name"] = {claims->pod};
    identity.user.extra["authentication.kubernetes.io/pod-uid"] = {claims->pod_uid};
  }
  if (!claims->node.empty()) {
    identity.user.extra["authentication.kubernetes.io/node-name"] = {claims->node};
    if (!claims->node_uid.empty())
      identity.user.extra["authentication.kubernetes.io/node-uid"] = {claims->node_uid};
  }
  return identity;
}

Json TokenIssuer::Keys() const {
  auto jwk = public_.Jwk();
  Json key = jwk.ok() ? Json::parse(*jwk, nullptr, false) : Json();
  return {{"keys", Json::array({key})}};
}

}  // namespace isthmus::lab::apiserver
