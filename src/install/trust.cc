#include "install/trust.h"

#include "base/encoding.h"
#include "base/files.h"

namespace isthmus::install {
namespace {

using base::Code;
using base::Error;

constexpr std::chrono::seconds kLifetime = 3650 * pki::kDay;

base::Result<std::string> SecretFile(const Json& secret, std::string_view key) {
  std::string data = kubeapi::StringAt(secret, {"data", key});
  if (data.empty())
    return Error(
        Code::kInvalidArgument,
        "key {} is missing; it needs ca-cert.pem, ca-key.pem, cert-chain.pem and root-cert.pem",
        key);
  return base::Base64Decode(data);
}

}  // namespace

base::Result<TopologyRoot> LoadOrMakeRoot(const std::string& directory, const base::Clock& clock) {
  const std::string key_file = directory + "/root-key.pem";
  const std::string cert_file = directory + "/root-cert.pem";
  bool made = false;
  if (!base::Exists(key_file) && !base::Exists(cert_file)) {
    ASSIGN_OR_RETURN(pki::PrivateKey key, pki::PrivateKey::GenerateEcdsaP256(),
                     "making the root's key");
    pki::RootOptions options;
    options.names.organizations = {"Istio"};
    options.names.common_name = "Root CA";
    options.ttl = kLifetime;
    ASSIGN_OR_RETURN(pki::KeyCertificate root, pki::MakeSelfSignedRoot(key, options, clock.Now()),
                     "making the root");
    RETURN_IF_ERROR(base::MakeDirs(directory, 0700), "making the folder of the root");
    RETURN_IF_ERROR(base::WriteFile(key_file, root.key.pem(), 0600), "writing the root's key");
    RETURN_IF_ERROR(base::WriteFile(cert_file, root.chain_pem(), 0644), "writing the root");
    made = true;
  }
  ASSIGN_OR_RETURN(std::string key_pem, base::ReadFile(key_file), "the root's key");
  ASSIGN_OR_RETURN(std::string cert_pem, base::ReadFile(cert_file), "the root");
  ASSIGN_OR_RETURN(pki::KeyCertificate root, pki::KeyCertificate::FromPem(key_pem, cert_pem),
                   key_file + " and " + cert_file);
  pki::TrustBundle bundle({root.chain.back()});
  pki::IssueLimits limits;
  limits.max_ttl = kLifetime;
  ASSIGN_OR_RETURN(pki::IssuingCa ca,
                   pki::IssuingCa::Create(std::move(root), std::move(bundle), clock, limits),
                   cert_file);
  return TopologyRoot{std::move(ca), made};
}

base::Result<Json> MakeCaCerts(const TopologyRoot& root, const std::string& cluster,
                               const std::string& ns) {
  ASSIGN_OR_RETURN(pki::PrivateKey key, pki::PrivateKey::GenerateEcdsaP256(),
                   "making the intermediate's key");
  pki::Names names;
  names.organizations = {"Istio"};
  names.common_name = "Intermediate CA";
  names.locality = cluster;
  names.dns_sans = {"istiod." + ns + ".svc"};
  // It ends with its root at the latest, or the root would have to sign beyond its own life.
  auto left = std::chrono::duration_cast<std::chrono::seconds>(root.ca.not_after() -
                                                               std::chrono::system_clock::now());
  ASSIGN_OR_RETURN(
      pki::KeyCertificate signed_ca,
      root.ca.IssueIntermediate(std::move(key), names, 0, std::min(730 * pki::kDay, left)),
      cluster);
  std::string intermediate = signed_ca.chain.front().pem();
  std::string root_pem = root.ca.roots().pem();
  auto encode = [](const std::string& text) { return base::Base64Encode(text); };
  return Json{{"apiVersion", "v1"},
              {"kind", "Secret"},
              {"metadata", {{"name", "cacerts"}, {"namespace", ns}}},
              {"data",
               {{"ca-cert.pem", encode(intermediate)},
                {"ca-key.pem", encode(signed_ca.key.pem())},
                {"cert-chain.pem", encode(intermediate + root_pem)},
                {"root-cert.pem", encode(root_pem)}}}};
}

namespace {

/// The intermediate with what its chain file leads to, leaf first.
base::Result<std::vector<pki::Certificate>> ReadCaChain(const Json& secret) {
  ASSIGN_OR_RETURN(std::string cert, SecretFile(secret, "ca-cert.pem"), "secret cacerts");
  ASSIGN_OR_RETURN(std::string key, SecretFile(secret, "ca-key.pem"), "secret cacerts");
  ASSIGN_OR_RETURN(std::string chain, SecretFile(secret, "cert-chain.pem"), "secret cacerts");
  ASSIGN_OR_RETURN(pki::KeyCertificate pair, pki::KeyCertificate::FromPem(key, cert),
                   "secret cacerts: ca-key.pem and ca-cert.pem");
  ASSIGN_OR_RETURN(std::vector<pki::Certificate> certificates,
                   pki::Certificate::ChainFromPem(chain), "secret cacerts: cert-chain.pem");
  std::vector<pki::Certificate> path = {pair.chain.front()};
  for (const pki::Certificate& certificate : certificates)
    if (!(certificate == path.front())) path.push_back(certificate);
  return path;
}

}  // namespace

base::Status CheckCaCerts(const Json& secret, const pki::TrustBundle& roots,
                          const base::Clock& clock) {
  ASSIGN_OR_RETURN(std::vector<pki::Certificate> path, ReadCaChain(secret), "");
  return roots.Verify(path, clock.Now())
      .In("secret cacerts: ca-cert.pem does not lead to the root of this topology; all clusters "
          "need intermediates of one root");
}

base::Status CheckOwnCaCerts(const Json& secret, const base::Clock& clock) {
  // Other forms (tls.crt, or a root alone for an external signer) are istiod's to judge.
  if (kubeapi::StringAt(secret, {"data", "ca-cert.pem"}).empty()) return {};
  ASSIGN_OR_RETURN(std::vector<pki::Certificate> path, ReadCaChain(secret), "");
  ASSIGN_OR_RETURN(std::string root, SecretFile(secret, "root-cert.pem"), "secret cacerts");
  ASSIGN_OR_RETURN(std::vector<pki::Certificate> roots, pki::Certificate::ChainFromPem(root),
                   "secret cacerts: root-cert.pem");
  return pki::TrustBundle(std::move(roots))
      .Verify(path, clock.Now())
      .In("secret cacerts: ca-cert.pem does not chain to root-cert.pem; make both anew from one "
          "root "
          "(tools/certs/Makefile.selfsigned.mk) and replace the secret");
}

}  // namespace isthmus::install
