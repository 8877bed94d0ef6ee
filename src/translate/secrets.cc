#include "translate/secrets.h"

#include "envoy/extensions/transport_sockets/tls/v3/secret.pb.h"
#include "istio/networking/v1/destination_rule.pb.h"
#include "istio/networking/v1/gateway.pb.h"
#include "translate/names.h"
#include "translate/pack.h"

namespace isthmus::translate {
namespace {

namespace v1 = istio::networking::v1;
using envoy::extensions::transport_sockets::tls::v3::Secret;

constexpr std::string_view kScheme = "kubernetes://";

/// The credential that a resource name stands for; null when it is not this proxy's to have.
const model::Credential* Lookup(const ClassInputs& in, std::string_view name) {
  if (!name.starts_with(kScheme) || in.world.snapshot->credentials == nullptr) return nullptr;
  name.remove_prefix(kScheme.size());
  const size_t slash = name.find('/');
  if (slash != std::string_view::npos) {
    if (name.substr(0, slash) != in.proxy.ns) return nullptr;
    name.remove_prefix(slash + 1);
  }
  const auto& all = *in.world.snapshot->credentials;
  auto found = all.find(in.proxy.cluster.text() + "/" + in.proxy.ns + "/" + std::string(name));
  return found == all.end() ? nullptr : &found->second;
}

bool WriteCertificate(const ClassInputs& in, const std::string& name, Secret* secret) {
  const model::Credential* credential = Lookup(in, name);
  if (credential == nullptr || credential->certificate_pem.empty() || credential->key_pem.empty())
    return false;
  secret->mutable_tls_certificate()->mutable_certificate_chain()->set_inline_bytes(
      credential->certificate_pem);
  secret->mutable_tls_certificate()->mutable_private_key()->set_inline_bytes(credential->key_pem);
  return true;
}

/// The roots may be in a Secret of their own, or beside the certificate.
bool WriteRoots(const ClassInputs& in, const std::string& name, Secret* secret) {
  const model::Credential* credential = Lookup(in, name);
  if (credential == nullptr || credential->ca_pem.empty()) {
    credential = Lookup(in, std::string_view(name).substr(0, name.size() - kCaSuffix.size()));
  }
  if (credential == nullptr || credential->ca_pem.empty()) return false;
  secret->mutable_validation_context()->mutable_trusted_ca()->set_inline_bytes(credential->ca_pem);
  return true;
}

void AddNames(const std::string& credential, bool own, bool roots, std::set<std::string>* names) {
  if (credential.empty()) return;
  const std::string name =
      credential.find("://") == std::string::npos ? std::string(kScheme) + credential : credential;
  if (own) names->insert(name);
  if (roots) names->insert(name + std::string(kCaSuffix));
}

template <typename Policy>
void AddRuleNames(const Policy& policy, std::set<std::string>* names) {
  const v1::ClientTLSSettings& tls = policy.tls();
  AddNames(tls.credential_name(), tls.mode() == v1::ClientTLSSettings::MUTUAL, true, names);
}

}  // namespace

Resources BuildSecrets(const ClassInputs& in, const std::vector<GatewayPort>& ports,
                       const std::vector<std::shared_ptr<const MergedRule>>& rules) {
  std::set<std::string> names;
  for (const GatewayPort& port : ports) {
    for (const GatewayServer& server : port.servers) {
      const v1::ServerTLSSettings& tls = server.server->tls();
      AddNames(tls.credential_name(), true, true, &names);
      for (const std::string& name : tls.credential_names()) AddNames(name, true, true, &names);
      AddNames(tls.ca_cert_credential_name(), true, false, &names);
    }
  }
  for (const auto& rule : rules) {
    if (rule == nullptr || (!in.proxy.router() && !rule->selects)) continue;
    auto add = [&](const v1::TrafficPolicy& policy) {
      AddRuleNames(policy, &names);
      for (const auto& level : policy.port_level_settings()) AddRuleNames(level, &names);
    };
    if (rule->policy != nullptr) add(*rule->policy);
    for (const v1::Subset* subset : rule->subsets) add(subset->traffic_policy());
  }
  Resources result;
  for (const std::string& name : names) {
    Secret secret;
    secret.set_name(name);
    const bool roots = name.ends_with(kCaSuffix);
    // A credential named as the roots of a server may hold nothing else.
    const bool found = roots ? WriteRoots(in, name, &secret) : WriteCertificate(in, name, &secret);
    if (found)
      result.push_back(in.workshop.interned.Intern(MakeResource(name, kSecretType, secret)));
  }
  return result;
}

}  // namespace isthmus::translate
