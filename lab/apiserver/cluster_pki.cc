#include "lab/apiserver/cluster_pki.h"

#include <algorithm>

#include "base/encoding.h"
#include "base/files.h"
#include "base/net.h"
#include "kubeapi/json.h"
#include "pki/csr.h"
#include "pki/signer.h"

namespace isthmus::lab::apiserver {
namespace {

using kubeapi::Json;

constexpr auto kTenYears = 3650 * pki::kDay;

base::Status WritePair(const std::string& folder, const std::string& name,
                       const pki::KeyCertificate& pair) {
  RETURN_IF_ERROR(base::WriteFile(folder + "/" + name + ".key", pair.key.pem(), 0600),
                  "writing the key " + name);
  return base::WriteFile(folder + "/" + name + ".crt", pair.chain_pem(), 0644);
}

base::Result<pki::KeyCertificate> ReadPair(const std::string& folder, const std::string& name) {
  ASSIGN_OR_RETURN(const std::string key, base::ReadFile(folder + "/" + name + ".key"),
                   "reading the key " + name);
  ASSIGN_OR_RETURN(const std::string chain, base::ReadFile(folder + "/" + name + ".crt"),
                   "reading the certificate " + name);
  return pki::KeyCertificate::FromPem(key, chain);
}

bool Covers(const pki::Certificate& certificate, const pki::Names& names, base::Time now) {
  auto has_all = [](const std::vector<std::string>& has, const std::vector<std::string>& wanted) {
    return std::all_of(wanted.begin(), wanted.end(), [&](const std::string& each) {
      return std::find(has.begin(), has.end(), each) != has.end();
    });
  };
  return has_all(certificate.dns_sans(), names.dns_sans) &&
         has_all(certificate.ip_sans(), names.ip_sans) &&
         certificate.not_after() - now > 30 * pki::kDay;
}

base::Result<pki::KeyCertificate> EnsureClient(const std::string& folder, const std::string& name,
                                               const pki::IssuingCa& ca, const std::string& user,
                                               std::vector<std::string> groups, base::Time now) {
  if (auto present = ReadPair(folder, name);
      present.ok() && present->chain[0].not_after() - now > 30 * pki::kDay)
    return present;
  pki::Names names;
  names.common_name = user;
  names.organizations = std::move(groups);
  ASSIGN_OR_RETURN(pki::KeyCertificate pair,
                   ca.IssueLeaf(names, {.server_auth = false, .client_auth = true}, kTenYears),
                   "issuing the certificate " + name);
  RETURN_IF_ERROR(WritePair(folder, name, pair), "writing the certificate " + name);
  return pair;
}

}  // namespace

base::Result<ClusterPki> ClusterPki::LoadOrCreate(const std::string& folder,
                                                  const std::vector<std::string>& sans,
                                                  const base::Clock& clock) {
  RETURN_IF_ERROR(base::MakeDirs(folder, 0700), "making the folder for keys");
  const base::Time now = clock.Now();
  auto ca = ReadPair(folder, "ca");
  if (!ca.ok()) {
    if (base::Exists(folder + "/ca.key")) return ca.status().In("the cluster's CA");
    ASSIGN_OR_RETURN(pki::PrivateKey key, pki::PrivateKey::GenerateEcdsaP256(),
                     "making the cluster's CA");
    pki::RootOptions options;
    options.names.common_name = "kubernetes";
    ca = pki::MakeSelfSignedRoot(std::move(key), options, now);
    if (!ca.ok()) return ca.status().In("making the cluster's CA");
    RETURN_IF_ERROR(WritePair(folder, "ca", *ca), "writing the cluster's CA");
  }
  auto roots =
      std::make_shared<const pki::TrustBundle>(std::vector<pki::Certificate>{ca->chain[0]});
  pki::IssueLimits limits;
  limits.max_ttl = kTenYears;
  ASSIGN_OR_RETURN(pki::IssuingCa issuer, pki::IssuingCa::Create(*ca, *roots, clock, limits),
                   "using the cluster's CA");

  pki::Names names;
  names.common_name = "kube-apiserver";
  names.dns_sans = {"kubernetes", "kubernetes.default", "kubernetes.default.svc",
                    "kubernetes.default.svc.cluster.local", "localhost"};
  names.ip_sans = {"127.0.0.1"};
  for (const std::string& san : sans) {
    auto& list = base::IsIpAddress(san) ? names.ip_sans : names.dns_sans;
    if (!san.empty() && std::find(list.begin(), list.end(), san) == list.end()) list.push_back(san);
  }
  auto serving = ReadPair(folder, "apiserver");
  if (!serving.ok() || !Covers(serving->chain[0], names, now)) {
    serving = issuer.IssueLeaf(names, {.server_auth = true, .client_auth = false}, kTenYears);
    if (!serving.ok()) return serving.status().In("issuing the API server's certificate");
    RETURN_IF_ERROR(WritePair(folder, "apiserver", *serving),
                    "writing the API server's certificate");
  }
  ASSIGN_OR_RETURN(pki::KeyCertificate kubelet,
                   EnsureClient(folder, "apiserver-kubelet-client", issuer,
                                "kube-apiserver-kubelet-client", {"system:masters"}, now),
                   "");
  for (const auto& [name, user, group] :
       {std::tuple("admin", "kubernetes-admin", "system:masters"),
        std::tuple("controllers", "system:kube-controller-manager", "")}) {
    auto pair =
        EnsureClient(folder, name, issuer, user,
                     *group ? std::vector<std::string>{group} : std::vector<std::string>{}, now);
    if (!pair.ok()) return pair.status();
  }
  auto account = base::ReadFile(folder + "/sa.key");
  auto key = account.ok() ? pki::PrivateKey::FromPem(*account) : pki::PrivateKey::GenerateRsa(2048);
  if (!key.ok()) return key.status().In("the service-account key");
  if (!account.ok()) {
    RETURN_IF_ERROR(base::WriteFile(folder + "/sa.key", key->pem(), 0600),
                    "writing the service-account key");
    RETURN_IF_ERROR(base::WriteFile(folder + "/sa.pub", key->public_pem(), 0644),
                    "writing the service-account key");
  }
  return ClusterPki{std::move(*ca),
                    std::make_shared<const pki::KeyCertificate>(std::move(*serving)),
                    std::make_shared<const pki::KeyCertificate>(std::move(kubelet)),
                    std::move(roots), std::move(*key)};
}

base::Status WriteKubeconfig(const std::string& folder, const std::string& user,
                             const std::string& server, const std::string& context,
                             const std::string& path) {
  auto ca = base::ReadFile(folder + "/ca.crt"),
       certificate = base::ReadFile(folder + "/" + user + ".crt"),
       key = base::ReadFile(folder + "/" + user + ".key");
  for (const auto* part : {&ca, &certificate, &key})
    if (!part->ok()) return part->status().In("writing " + path);
  const std::string login = context + "-" + user;
  const Json config = {
      {"apiVersion", "v1"},
      {"kind", "Config"},
      {"current-context", context},
      {"preferences", Json::object()},
      {"clusters", Json::array({{{"name", context},
                                 {"cluster",
                                  {{"server", server},
                                   {"certificate-authority-data", base::Base64Encode(*ca)}}}}})},
      {"users", Json::array({{{"name", login},
                              {"user",
                               {{"client-certificate-data", base::Base64Encode(*certificate)},
                                {"client-key-data", base::Base64Encode(*key)}}}}})},
      {"contexts",
       Json::array({{{"name", context}, {"context", {{"cluster", context}, {"user", login}}}}})}};
  return base::WriteFile(path, kubeapi::ToYaml(config), 0600);
}

}  // namespace isthmus::lab::apiserver
