#include "translate/mesh_trust.h"

#include <map>
#include <set>

#include "base/log.h"
#include "istio/mesh/v1alpha1/config.pb.h"
#include "istio/mesh/v1alpha1/proxy.pb.h"
#include "pki/trust_bundle.h"
#include "translate/names.h"
#include "translate/pack.h"

namespace isthmus::translate {
namespace {

using istio::mesh::v1alpha1::ProxyConfig;

/// Proxies would refuse all of their roots for one that cannot be read.
bool AllAreRoots(const std::string& pem) {
  const base::Result<pki::TrustBundle> bundle = pki::TrustBundle::FromPem(pem);
  if (!bundle.ok()) {
    LOG_WARN("translate", "meshConfig.caCertificates: left out an entry: {}",
             bundle.status().message());
    return false;
  }
  for (const pki::Certificate& root : bundle->roots()) {
    if (root.is_ca()) continue;
    LOG_WARN("translate", "meshConfig.caCertificates: left out an entry: {} is no CA's certificate",
             root.subject());
    return false;
  }
  return true;
}

std::string Joined(const std::set<std::string>& texts) {
  std::string all;
  for (const std::string& text : texts) all += text.ends_with('\n') ? text : text + "\n";
  return all;
}

}  // namespace

std::vector<std::string> ForeignTrustDomains(const MeshSettings& mesh) {
  std::vector<std::string> foreign;
  if (mesh.source == nullptr) return foreign;
  std::set<std::string> known(mesh.trust_domain_aliases.begin(), mesh.trust_domain_aliases.end());
  known.insert(mesh.trust_domain);
  for (const auto& anchor : mesh.source->ca_certificates())
    for (const std::string& domain : anchor.trust_domains())
      if (known.insert(domain).second) foreign.push_back(domain);
  return foreign;
}

std::shared_ptr<const model::Resource> BuildMeshTrust(const MeshSettings& mesh) {
  if (mesh.source == nullptr) return nullptr;
  std::set<std::string> all;
  std::map<std::string, std::set<std::string>> of_domain;
  bool bound = false;
  for (const auto& anchor : mesh.source->ca_certificates()) {
    if (anchor.pem().empty() || !AllAreRoots(anchor.pem())) continue;
    all.insert(anchor.pem());
    bound = bound || anchor.trust_domains_size() > 0;
    for (const std::string& domain : anchor.trust_domains()) of_domain[domain].insert(anchor.pem());
    if (anchor.trust_domains().empty()) of_domain[mesh.trust_domain].insert(anchor.pem());
  }
  if (all.empty()) return nullptr;
  ProxyConfig trust;
  for (const std::string& pem : all) trust.add_ca_certificates_pem(pem);
  if (bound) {
    of_domain.try_emplace(mesh.trust_domain);
    for (const std::string& alias : mesh.trust_domain_aliases) of_domain.try_emplace(alias);
    for (const auto& [domain, roots] : of_domain)
      (*trust.mutable_proxy_metadata())[domain] = Joined(roots);
  }
  return MakeResource("meshtrust", kMeshTrustType, trust);
}

}  // namespace isthmus::translate
