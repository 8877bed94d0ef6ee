#include "lab/controllers/accounts.h"

#include "base/encoding.h"
#include "base/log.h"
#include "kubeapi/meta.h"
#include "lab/controllers/pods.h"
#include "pki/digest.h"
#include "pki/jwt.h"

namespace isthmus::lab::controllers {
namespace {

using kubeapi::StringAt;

constexpr char kTokenType[] = "kubernetes.io/service-account-token";
constexpr char kAccountName[] = "kubernetes.io/service-account.name";
constexpr char kAccountUid[] = "kubernetes.io/service-account.uid";
constexpr char kRootMap[] = "kube-root-ca.crt";
constexpr std::string_view kAccountKey = "account:";

}  // namespace

std::vector<std::string> NamespaceDefaults::KeysFor(const World&, const Resource& resource,
                                                    const Json& object, bool gone) const {
  if (Same(resource, kNamespaces)) return {kubeapi::NameOf(object)};
  bool ours = (Same(resource, kServiceAccounts) && kubeapi::NameOf(object) == "default") ||
              (Same(resource, kConfigMaps) && kubeapi::NameOf(object) == kRootMap);
  if (ours) return {kubeapi::NamespaceOf(object)};
  return {};
}

std::vector<Write> NamespaceDefaults::Reconcile(const World& world, const std::string& key) {
  const Json* ns = world.Get(kNamespaces, "", key);
  if (ns == nullptr || kubeapi::IsBeingDeleted(*ns)) return {};
  std::vector<Write> writes;
  if (world.Get(kServiceAccounts, key, "default") == nullptr)
    writes.push_back(CreateObject(kServiceAccounts, key,
                                  {{"apiVersion", "v1"},
                                   {"kind", "ServiceAccount"},
                                   {"metadata", {{"name", "default"}, {"namespace", key}}}}));
  const Json* map = world.Get(kConfigMaps, key, kRootMap);
  if (map == nullptr) {
    writes.push_back(CreateObject(kConfigMaps, key,
                                  {{"apiVersion", "v1"},
                                   {"kind", "ConfigMap"},
                                   {"metadata", {{"name", kRootMap}, {"namespace", key}}},
                                   {"data", {{"ca.crt", root_pem_}}}}));
  } else if (StringAt(*map, {"data", "ca.crt"}) != root_pem_) {
    Json after = *map;
    after["data"]["ca.crt"] = root_pem_;
    writes.push_back(Replace(kConfigMaps, std::move(after)));
  }
  return writes;
}

std::vector<std::string> TokenController::KeysFor(const World& world, const Resource& resource,
                                                  const Json& object, bool) const {
  std::vector<std::string> keys;
  if (Same(resource, kSecrets) && StringAt(object, {"type"}) == kTokenType) {
    keys.push_back(kubeapi::KeyOf(object));
    keys.push_back(
        std::string(kAccountKey) +
        kubeapi::KeyOf(kubeapi::NamespaceOf(object), kubeapi::AnnotationOf(object, kAccountName)));
  }
  if (Same(resource, kServiceAccounts)) {
    keys.push_back(std::string(kAccountKey) + kubeapi::KeyOf(object));
    for (const Json* secret : world.List(kSecrets, kubeapi::NamespaceOf(object)))
      if (kubeapi::AnnotationOf(*secret, kAccountName) == kubeapi::NameOf(object))
        keys.push_back(kubeapi::KeyOf(*secret));
  }
  return keys;
}

std::vector<Write> TokenController::ReconcileAccount(const World& world, const std::string& key) {
  auto [ns, account_name] = SplitKey(key);
  const Json* account = world.Get(kServiceAccounts, ns, account_name);
  if (!settings_.for_every_account || account == nullptr || kubeapi::IsBeingDeleted(*account))
    return {};
  const std::string secret_name = account_name + "-token-" + ShortHash(kubeapi::UidOf(*account), 5);
  if (world.Get(kSecrets, ns, secret_name) == nullptr)
    return {CreateObject(kSecrets, ns,
                         {{"apiVersion", "v1"},
                          {"kind", "Secret"},
                          {"type", kTokenType},
                          {"metadata",
                           {{"name", secret_name},
                            {"namespace", ns},
                            {"annotations", {{kAccountName, account_name}}}}}})};
  const Json* named = kubeapi::Find(*account, {"secrets"});
  if (named != nullptr && named->is_array())
    for (const Json& one : *named)
      if (StringAt(one, {"name"}) == secret_name) return {};
  Json after = *account;
  after["secrets"].push_back({{"name", secret_name}});
  return {Replace(kServiceAccounts, std::move(after))};
}

std::vector<Write> TokenController::Reconcile(const World& world, const std::string& key) {
  if (key.starts_with(kAccountKey)) return ReconcileAccount(world, key.substr(kAccountKey.size()));
  auto [ns, secret_name] = SplitKey(key);
  const Json* secret = world.Get(kSecrets, ns, secret_name);
  if (secret == nullptr || kubeapi::IsBeingDeleted(*secret)) return {};
  const std::string account_name = kubeapi::AnnotationOf(*secret, kAccountName);
  const Json* account = world.Get(kServiceAccounts, ns, account_name);
  std::string uid = kubeapi::AnnotationOf(*secret, kAccountUid);
  // A token of an account that was deleted, or made anew, is worth nothing.
  if (account == nullptr || (!uid.empty() && uid != kubeapi::UidOf(*account)))
    return uid.empty() ? std::vector<Write>() : std::vector<Write>{Delete(kSecrets, *secret)};
  if (!StringAt(*secret, {"data", "token"}).empty() &&
      !StringAt(*secret, {"data", "ca.crt"}).empty())
    return {};
  pki::TokenClaims claims;
  claims.issuer = settings_.issuer;
  claims.subject = "system:serviceaccount:" + ns + ":" + account_name;
  claims.ns = ns;
  claims.service_account = account_name;
  claims.service_account_uid = kubeapi::UidOf(*account);
  claims.secret = secret_name;
  claims.secret_uid = kubeapi::UidOf(*secret);
  claims.issued_at = world.Now();
  claims.id = pki::RandomUuid();
  auto token = pki::SignToken(settings_.key, claims);
  if (!token.ok()) {
    LOG_ERROR("controllers", "signing a token for {}: {}", account_name, token.status().message());
    return {};
  }
  Json after = *secret;
  kubeapi::SetAnnotation(after, kAccountUid, kubeapi::UidOf(*account));
  after["data"]["token"] = base::Base64Encode(*token);
  after["data"]["ca.crt"] = base::Base64Encode(settings_.root_pem);
  after["data"]["namespace"] = base::Base64Encode(ns);
  return {Replace(kSecrets, std::move(after))};
}

}  // namespace isthmus::lab::controllers
