#pragma once

#include <string>

#include "lab/controllers/world.h"
#include "pki/certificate.h"

namespace isthmus::lab::controllers {

/// Gives every namespace its default service account and the cluster's root certificates (ConfigMap
/// kube-root-ca.crt).
class NamespaceDefaults final : public Controller {
 public:
  explicit NamespaceDefaults(std::string root_pem) : root_pem_(std::move(root_pem)) {}
  std::string_view name() const override { return "namespace-defaults"; }
  std::vector<std::string> KeysFor(const World& world, const Resource& resource, const Json& object,
                                   bool gone) const override;
  std::vector<Write> Reconcile(const World& world, const std::string& key) override;

 private:
  const std::string root_pem_;
};

struct TokenSettings {
  pki::PrivateKey key;  ///< The key by which the API server knows service-account tokens.
  std::string issuer;
  std::string root_pem;            ///< ca.crt of the Secrets.
  bool for_every_account = false;  ///< A token Secret for each account, as before Kubernetes 1.24.
};

/// Fills Secrets of type kubernetes.io/service-account-token, and removes those whose account is
/// gone.
class TokenController final : public Controller {
 public:
  explicit TokenController(TokenSettings settings) : settings_(std::move(settings)) {}
  std::string_view name() const override { return "serviceaccount-token"; }
  std::vector<std::string> KeysFor(const World& world, const Resource& resource, const Json& object,
                                   bool gone) const override;
  /// The key is a Secret's, or "account:<namespace>/<name>".
  std::vector<Write> Reconcile(const World& world, const std::string& key) override;

 private:
  std::vector<Write> ReconcileAccount(const World& world, const std::string& key);
  const TokenSettings settings_;
};

}  // namespace isthmus::lab::controllers
