#include "install/remote_secret.h"

#include "base/encoding.h"
#include "install/render.h"

namespace isthmus::install {
namespace {

using base::Code;
using base::Error;
using base::Status;
using kubeapi::Find;
using kubeapi::StringAt;

constexpr std::string_view kTokenType = "kubernetes.io/service-account-token";
constexpr std::string_view kAccountAnnotation = "kubernetes.io/service-account.name";

bool IsDnsLabel(std::string_view name) {
  if (name.empty() || name.size() > 63 || name.front() == '-' || name.back() == '-') return false;
  return name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") == std::string_view::npos;
}

bool IsLoopback(std::string_view server) {
  return server.find("//127.") != std::string_view::npos ||
         server.find("//localhost") != std::string_view::npos ||
         server.find("//[::1]") != std::string_view::npos;
}

Status EnsureAccount(ClusterAccess& cluster, const RemoteSecretOptions& options,
                     const std::string& account) {
  auto existing = cluster.Get(kServiceAccounts, options.ns, account);
  if (existing.ok()) return {};
  if (existing.status().code() != Code::kNotFound) return existing.status();
  if (!options.create_service_account)
    return Error(Code::kNotFound,
                 "service account {}/{} does not exist, and --create-service-account=false forbids "
                 "to make it",
                 options.ns, account);
  Json ns = {{"apiVersion", "v1"}, {"kind", "Namespace"}, {"metadata", {{"name", options.ns}}}};
  auto created = cluster.Create(kNamespaces, "", ns);
  if (!created.ok() && created.status().code() != Code::kAlreadyExists)
    return created.status().In("creating the namespace");
  std::vector<Json> objects = ReaderAccess(options.ns, "", false);
  if (objects[0]["metadata"]["name"] != account) {
    objects[0]["metadata"]["name"] = account;
    for (Json& object : objects)
      if (object.contains("subjects"))
        for (Json& subject : object["subjects"]) subject["name"] = account;
  }
  return cluster.ApplyAll(objects, options.ns);
}

bool IsTokenOf(const Json& secret, const std::string& account) {
  return StringAt(secret, {"type"}) == kTokenType &&
         StringAt(secret, {"metadata", "annotations", kAccountAnnotation}) == account;
}

/// The name of the token Secret to read: the one asked for, one there is, or a new one.
base::Result<std::string> TokenSecretName(ClusterAccess& cluster,
                                          const RemoteSecretOptions& options,
                                          const std::string& account) {
  if (!options.secret_name.empty()) {
    ASSIGN_OR_RETURN(Json secret, cluster.Get(kSecrets, options.ns, options.secret_name),
                     "--secret-name");
    if (!IsTokenOf(secret, account))
      return Error(Code::kInvalidArgument,
                   "secret {}/{} is not a token of service account {}: its type must be {} and its "
                   "annotation {} must name the account",
                   options.ns, options.secret_name, account, kTokenType, kAccountAnnotation);
    return options.secret_name;
  }
  ASSIGN_OR_RETURN(std::vector<Json> secrets, cluster.List(kSecrets, options.ns), "");
  for (const Json& secret : secrets)
    if (IsTokenOf(secret, account)) return StringAt(secret, {"metadata", "name"});
  std::string name = account + "-istio-remote-secret-token";
  Json secret = {{"apiVersion", "v1"},
                 {"kind", "Secret"},
                 {"type", kTokenType},
                 {"metadata", {{"name", name}, {"annotations", {{kAccountAnnotation, account}}}}}};
  auto created = cluster.Create(kSecrets, options.ns, secret);
  if (!created.ok() && created.status().code() != Code::kAlreadyExists)
    return created.status().In("creating secret " + options.ns + "/" + name);
  return name;
}

Json Kubeconfig(const std::string& name, const std::string& server,
                const std::string& tls_server_name, const std::string& ca_data,
                const std::string& token) {
  Json cluster = {{"certificate-authority-data", ca_data}, {"server", server}};
  if (!tls_server_name.empty()) cluster["tls-server-name"] = tls_server_name;
  return {{"apiVersion", "v1"},
          {"kind", "Config"},
          {"clusters", Json::array({{{"name", name}, {"cluster", cluster}}})},
          {"contexts",
           Json::array({{{"name", name}, {"context", {{"cluster", name}, {"user", name}}}}})},
          {"current-context", name},
          {"users", Json::array({{{"name", name}, {"user", {{"token", token}}}}})}};
}

}  // namespace

base::Result<RemoteSecret> CreateRemoteSecret(ClusterAccess cluster,
                                              const RemoteSecretOptions& options) {
  const bool remote = options.type == RemoteSecretOptions::Type::kRemote;
  std::string account = options.service_account;
  if (account.empty()) account = remote ? "istio-reader-service-account" : "istiod";
  std::string name = options.name;
  if (name.empty()) {
    ASSIGN_OR_RETURN(Json system, cluster.Get(kNamespaces, "", "kube-system"),
                     "looking for the cluster's ID");
    name = StringAt(system, {"metadata", "uid"});
  }
  if (!IsDnsLabel(name))
    return Error(
        Code::kInvalidArgument,
        "\"{}\" cannot be a cluster name: it must be a DNS label (lower-case letters, digits, '-')",
        name);

  RETURN_IF_ERROR(EnsureAccount(cluster, options, account),
                  "service account " + options.ns + "/" + account);
  ASSIGN_OR_RETURN(std::string token_secret, TokenSecretName(cluster, options, account), "");
  std::string ca, token;
  Status filled = cluster.Until(std::chrono::seconds(5), [&]() -> base::Result<bool> {
    ASSIGN_OR_RETURN(Json secret, cluster.Get(kSecrets, options.ns, token_secret), "");
    ca = StringAt(secret, {"data", "ca.crt"});
    token = StringAt(secret, {"data", "token"});
    return !ca.empty() && !token.empty();
  });
  if (!filled.ok())
    return filled.In("secret " + options.ns + "/" + token_secret +
                     " has no token and ca.crt (does the cluster run a token controller?)");
  auto decoded = base::Base64Decode(token);
  if (!decoded.ok()) return decoded.status().In("the token of secret " + token_secret);

  RemoteSecret result;
  const auto& config = cluster.client().config();
  std::string server = options.server.empty() ? config.server + config.path_prefix : options.server;
  if (options.server.empty() && IsLoopback(server))
    result.warning = "server " + server +
                     " in the kubeconfig is a loopback address, which other clusters cannot reach; "
                     "give one with --server";
  std::string key = remote ? name : "config";
  result.secret = {
      {"apiVersion", "v1"},
      {"kind", "Secret"},
      {"metadata",
       {{"name", remote ? "istio-remote-secret-" + name : "istio-kubeconfig"},
        {"namespace", options.ns},
        {"annotations", {{"networking.istio.io/cluster", name}}}}},
      {"stringData",
       {{key, kubeapi::ToYaml(Kubeconfig(name, server, options.tls_server_name, ca, *decoded))}}}};
  if (remote) result.secret["metadata"]["labels"] = {{"istio/multiCluster", "true"}};
  return result;
}

std::string PrintRemoteSecret(const Json& secret) {
  return "# This file is autogenerated, do not edit.\n" + kubeapi::ToYaml(secret) + "---\n";
}

}  // namespace isthmus::install
