#include "lab/world/control_plane.h"

#include "base/clock.h"
#include "base/encoding.h"
#include "base/files.h"
#include "kubeapi/json.h"
#include "lab/network/netlink.h"
#include "pki/signer.h"

namespace isthmus::lab::world {
namespace {

constexpr auto kLife = 3650 * pki::kDay;

base::Result<pki::IssuingCa> OpenAuthority(const std::string& pki_dir, const base::Clock& clock) {
  ASSIGN_OR_RETURN(const std::string key, base::ReadFile(pki_dir + "/ca.key"),
                   "cluster's authority");
  ASSIGN_OR_RETURN(const std::string certificate, base::ReadFile(pki_dir + "/ca.crt"),
                   "cluster's authority");
  ASSIGN_OR_RETURN(pki::KeyCertificate signing, pki::KeyCertificate::FromPem(key, certificate),
                   "cluster's authority");
  ASSIGN_OR_RETURN(pki::TrustBundle roots, pki::TrustBundle::FromPem(certificate),
                   "cluster's authority");
  return pki::IssuingCa::Create(std::move(signing), std::move(roots), clock);
}

base::Status WritePair(const std::string& path, const pki::KeyCertificate& pair) {
  RETURN_IF_ERROR(base::WriteFile(path + ".crt", pair.chain_pem()), "certificate");
  return base::WriteFile(path + ".key", pair.key.pem(), 0600);
}

// The authority, the API server's certificates, the key of service accounts, the administrator:
// what kubeadm makes.
base::Status MakePki(const std::string& dir, const ClusterSpec& cluster) {
  if (base::Exists(dir + "/ca.crt")) return {};
  RETURN_IF_ERROR(base::MakeDirs(dir), "pki");
  const base::SystemClock clock;
  ASSIGN_OR_RETURN(pki::PrivateKey key, pki::PrivateKey::GenerateEcdsaP256(), "key");
  ASSIGN_OR_RETURN(const pki::KeyCertificate root,
                   pki::MakeSelfSignedRoot(std::move(key), {.names = {.common_name = "kubernetes"}},
                                           clock.Now()),
                   "authority");
  RETURN_IF_ERROR(WritePair(dir + "/ca", root), "authority");
  ASSIGN_OR_RETURN(const pki::IssuingCa ca, OpenAuthority(dir, clock), "authority");
  const auto services = network::Cidr::Parse(cluster.service_range);
  const pki::Names server{
      .common_name = "kube-apiserver",
      .dns_sans = {"kubernetes", "kubernetes.default", "kubernetes.default.svc",
                   "kubernetes.default.svc.cluster.local", "localhost"},
      .ip_sans = {cluster.api_server, network::FormatIpv4(services->network() + 1), "127.0.0.1"}};
  ASSIGN_OR_RETURN(const pki::KeyCertificate serving,
                   ca.IssueLeaf(server, {.server_auth = true, .client_auth = false}, kLife),
                   "certificate");
  RETURN_IF_ERROR(WritePair(dir + "/apiserver", serving), "certificate");
  const std::pair<const char*, const char*> clients[] = {
      {"admin", "kubernetes-admin"}, {"apiserver-kubelet-client", "kube-apiserver-kubelet-client"}};
  for (const auto& [file, name] : clients) {
    ASSIGN_OR_RETURN(const pki::KeyCertificate pair,
                     ca.IssueLeaf({.common_name = name, .organizations = {"system:masters"}},
                                  {.server_auth = false, .client_auth = true}, kLife),
                     file);
    RETURN_IF_ERROR(WritePair(dir + "/" + file, pair), file);
  }
  ASSIGN_OR_RETURN(const pki::PrivateKey accounts, pki::PrivateKey::GenerateRsa(2048), "key");
  RETURN_IF_ERROR(base::WriteFile(dir + "/sa.key", accounts.pem(), 0600), "key");
  return base::WriteFile(dir + "/sa.pub", accounts.public_pem());
}

}  // namespace

std::string MakeKubeconfig(const std::string& name, const std::string& server,
                           const std::string& proxy_url, const std::string& ca_pem,
                           const std::string& certificate_pem, const std::string& key_pem) {
  using kubeapi::Json;
  Json cluster = {{"server", server}, {"certificate-authority-data", base::Base64Encode(ca_pem)}};
  if (!proxy_url.empty()) cluster["proxy-url"] = proxy_url;
  const Json user = {{"client-certificate-data", base::Base64Encode(certificate_pem)},
                     {"client-key-data", base::Base64Encode(key_pem)}};
  const std::string user_name = name + "-admin";
  const Json config = {
      {"apiVersion", "v1"},
      {"kind", "Config"},
      {"current-context", name},
      {"clusters", {{{"name", name}, {"cluster", cluster}}}},
      {"users", {{{"name", user_name}, {"user", user}}}},
      {"contexts", {{{"name", name}, {"context", {{"cluster", name}, {"user", user_name}}}}}}};
  return kubeapi::ToYaml(config);
}

base::Status ControlPlane::Prepare(const LabSpec& /*lab*/, const ClusterSpec& cluster) const {
  RETURN_IF_ERROR(base::MakeDirs(dirs_.data(cluster.name)), cluster.name);
  if (!real()) return {};
  const std::string pki_dir = dirs_.pki(cluster.name);
  RETURN_IF_ERROR(MakePki(pki_dir, cluster), "certificates of " + cluster.name);
  ASSIGN_OR_RETURN(const std::string ca, base::ReadFile(pki_dir + "/ca.crt"), "certificates");
  ASSIGN_OR_RETURN(const std::string certificate, base::ReadFile(pki_dir + "/admin.crt"),
                   "certificates");
  ASSIGN_OR_RETURN(const std::string key, base::ReadFile(pki_dir + "/admin.key"), "certificates");
  return base::WriteFile(
      AdminKubeconfig(cluster),
      MakeKubeconfig(cluster.name,
                     fmt::format("https://{}:{}", cluster.api_server, cluster.api_port), "", ca,
                     certificate, key),
      0600);
}

bool ControlPlane::FilesReady(const ClusterSpec& cluster) const {
  return base::Exists(AdminKubeconfig(cluster)) &&
         base::Exists(dirs_.pki(cluster.name) + "/ca.key");
}

base::Status ControlPlane::IssueKubeletCertificate(const ClusterSpec& cluster,
                                                   const NodeSpec& node) const {
  const base::SystemClock clock;
  ASSIGN_OR_RETURN(const pki::IssuingCa ca, OpenAuthority(dirs_.pki(cluster.name), clock),
                   cluster.name);
  ASSIGN_OR_RETURN(const pki::KeyCertificate pair,
                   ca.IssueLeaf({.common_name = "system:node:" + node.name,
                                 .organizations = {"system:nodes"},
                                 .dns_sans = {node.name},
                                 .ip_sans = {node.address}},
                                {.server_auth = true, .client_auth = true}, 365 * pki::kDay),
                   "kubelet certificate");
  return WritePair(dirs_.pki(cluster.name) + "/kubelet-" + node.name, pair);
}

ProcessSpec ControlPlane::Own(const ClusterSpec& cluster, const std::string& role,
                              std::vector<std::string> args, const std::string& ns) const {
  args.insert(args.begin(), {program_, role});
  return {.name = cluster.name + "/" + role,
          .argv = std::move(args),
          .network_namespace = ns,
          .log_path = dirs_.logs() + "/" + cluster.name + "-" + role + ".log",
          .is_api_server = role == "apiserver"};
}

ProcessSpec ControlPlane::Asset(const ClusterSpec& cluster, const std::string& name,
                                std::vector<std::string> args, const std::string& ns) const {
  args.insert(args.begin(), assets_ + "/" + name);
  return {.name = cluster.name + "/" + name,
          .argv = std::move(args),
          .network_namespace = ns,
          .log_path = dirs_.logs() + "/" + cluster.name + "-" + name + ".log",
          .is_api_server = name == "kube-apiserver"};
}

std::vector<ProcessSpec> ControlPlane::Servers(const ClusterSpec& cluster,
                                               const std::string& ns) const {
  const std::string data = dirs_.data(cluster.name), pki_dir = dirs_.pki(cluster.name),
                    port = std::to_string(cluster.api_port);
  if (!real())
    return {Own(cluster, "apiserver",
                {"--data-dir", data, "--address", cluster.api_server, "--port", port,
                 "--advertise-address", cluster.api_server, "--service-cidr", cluster.service_range,
                 "--cluster-name", cluster.name},
                ns)};
  return {Asset(cluster, "etcd",
                {"--data-dir", data + "/etcd", "--listen-client-urls", "http://127.0.0.1:2379",
                 "--advertise-client-urls", "http://127.0.0.1:2379", "--listen-peer-urls",
                 "http://127.0.0.1:2380", "--unsafe-no-fsync", "--log-level", "warn"},
                ns),
          Asset(cluster, "kube-apiserver",
                {"--etcd-servers=http://127.0.0.1:2379", "--bind-address=" + cluster.api_server,
                 "--advertise-address=" + cluster.api_server, "--secure-port=" + port,
                 "--service-cluster-ip-range=" + cluster.service_range, "--allow-privileged=true",
                 "--authorization-mode=RBAC", "--client-ca-file=" + pki_dir + "/ca.crt",
                 "--tls-cert-file=" + pki_dir + "/apiserver.crt",
                 "--tls-private-key-file=" + pki_dir + "/apiserver.key",
                 "--service-account-key-file=" + pki_dir + "/sa.pub",
                 "--service-account-signing-key-file=" + pki_dir + "/sa.key",
                 "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
                 "--kubelet-client-certificate=" + pki_dir + "/apiserver-kubelet-client.crt",
                 "--kubelet-client-key=" + pki_dir + "/apiserver-kubelet-client.key",
                 "--kubelet-preferred-address-types=InternalIP", "--cert-dir=" + data + "/tmp"},
                ns)};
}

std::vector<ProcessSpec> ControlPlane::Controllers(const LabSpec& lab, const ClusterSpec& cluster,
                                                   const std::string& ns) const {
  const std::string data = dirs_.data(cluster.name), pki_dir = dirs_.pki(cluster.name);
  if (!real()) {
    std::vector<std::string> args = {"--kubeconfig", data + "/controllers.kubeconfig", "--pki-dir",
                                     pki_dir};
    for (const std::string& pool : cluster.load_balancer_pool)
      args.insert(args.end(), {"--lb-pool", pool});
    for (const auto& [service, address] : cluster.load_balancer_addresses)
      args.insert(args.end(), {"--lb-address", service + "=" + address});
    if (lab.token_secrets) args.push_back("--token-secrets");
    return {Own(cluster, "controllers", std::move(args), ns)};
  }
  const std::string kubeconfig = "--kubeconfig=" + AdminKubeconfig(cluster);
  return {Asset(cluster, "kube-controller-manager",
                {kubeconfig, "--root-ca-file=" + pki_dir + "/ca.crt",
                 "--service-account-private-key-file=" + pki_dir + "/sa.key",
                 "--cluster-signing-cert-file=" + pki_dir + "/ca.crt",
                 "--cluster-signing-key-file=" + pki_dir + "/ca.key",
                 "--use-service-account-credentials=true", "--leader-elect=false",
                 "--bind-address=127.0.0.1", "--cert-dir=" + data + "/tmp-kcm"},
                ns),
          Asset(cluster, "kube-scheduler",
                {kubeconfig, "--leader-elect=false", "--bind-address=127.0.0.1",
                 "--cert-dir=" + data + "/tmp-sched"},
                ns)};
}

}  // namespace isthmus::lab::world
