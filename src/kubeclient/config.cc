#include "kubeclient/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <tuple>

#include "base/encoding.h"
#include "base/files.h"
#include "base/strings.h"
#include "kubeapi/json.h"
#include "kubeclient/exec_credential.h"

namespace isthmus::kubeclient {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;
using kubeapi::BoolAt;
using kubeapi::Find;
using kubeapi::ItemsAt;
using kubeapi::Json;
using kubeapi::StringAt;

constexpr std::string_view kServiceAccountDir = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The entry of a list of {name, <what>} pairs, or null.
const Json* Named(const Json& config, std::string_view list, std::string_view name,
                  std::string_view what) {
  for (const Json& entry : ItemsAt(config, {list}))
    if (StringAt(entry, {"name"}) == name) return Find(entry, {what});
  return nullptr;
}

/// The content of "<field>-data" (base64), else of the file that "<field>" names.
Result<std::string> Material(const Json& entry, std::string_view field) {
  const std::string data = StringAt(entry, {fmt::format("{}-data", field)});
  if (!data.empty()) {
    auto bytes = base::Base64Decode(data);
    if (!bytes.ok()) return bytes.status().In(fmt::format("{}-data", field));
    return bytes;
  }
  const std::string path = StringAt(entry, {field});
  if (path.empty()) return std::string();
  auto content = base::ReadFile(path);
  if (!content.ok()) return content.status().In(field);
  return content;
}

/// Paths to files and programs that a kubeconfig from outside may not have in an entry.
struct Untrusted {
  std::string_view field, option;
};
constexpr Untrusted kUntrustedOfCluster[] = {{"certificate-authority", "certificateAuthority"}};
constexpr Untrusted kUntrustedOfUser[] = {{"exec", "exec"},
                                          {"tokenFile", "tokenFile"},
                                          {"client-key", "clientKey"},
                                          {"client-certificate", "clientCertificate"}};

bool Refused(std::string_view option, const std::vector<std::string>& allowed) {
  return std::find(allowed.begin(), allowed.end(), option) == allowed.end();
}

template <size_t kRows>
Status CheckPaths(const Json& entry, const Untrusted (&rows)[kRows],
                  const std::vector<std::string>& allowed) {
  for (const Untrusted& row : rows) {
    const Json* value = Find(entry, {row.field});
    const bool set = value != nullptr && !value->is_null() && *value != Json("");
    if (set && Refused(row.option, allowed))
      return Error(Code::kPermissionDenied,
                   "\"{}\" is not allowed; give its content in the kubeconfig itself", row.field);
  }
  return {};
}

/// What of a user entry a kubeconfig from outside may not have.
Status CheckTrusted(const Json& user, const std::vector<std::string>& allowed) {
  if (const Json* provider = Find(user, {"auth-provider"}); provider != nullptr) {
    const std::string name = StringAt(*provider, {"name"});
    if (name != "oidc" && Refused(name, allowed))
      return Error(Code::kPermissionDenied,
                   "auth provider \"{}\" is not allowed; use a token or a client certificate",
                   name);
  }
  return CheckPaths(user, kUntrustedOfUser, allowed);
}

Status ReadCluster(const Json& cluster, RestConfig& out) {
  std::string url = StringAt(cluster, {"server"});
  if (url.find("://") == url.npos && !url.empty()) url = "http://" + url;
  const size_t scheme_end = url.find("://");
  if (url.empty() || (!url.starts_with("https://") && !url.starts_with("http://")))
    return Error(Code::kInvalidArgument, "server \"{}\" is no http or https URL",
                 StringAt(cluster, {"server"}));
  const size_t slash = url.find('/', scheme_end + 3);
  out.server = url.substr(0, slash);
  if (slash != url.npos) out.path_prefix = url.substr(slash);
  while (out.path_prefix.ends_with('/')) out.path_prefix.pop_back();
  if (out.server.size() == scheme_end + 3)
    return Error(Code::kInvalidArgument, "server \"{}\" names no host", url);
  ASSIGN_OR_RETURN(out.ca_pem, Material(cluster, "certificate-authority"), "cluster");
  out.insecure_skip_tls_verify = BoolAt(cluster, {"insecure-skip-tls-verify"});
  if (out.insecure_skip_tls_verify && !out.ca_pem.empty())
    return Error(Code::kInvalidArgument,
                 "certificate-authority and insecure-skip-tls-verify exclude each other");
  out.tls_server_name = StringAt(cluster, {"tls-server-name"});
  out.proxy_url = StringAt(cluster, {"proxy-url"});
  if (!out.proxy_url.empty() && !out.proxy_url.starts_with("http://"))
    return Error(Code::kUnimplemented, "proxy-url \"{}\": only http:// proxies are supported",
                 out.proxy_url);
  return {};
}

Status ReadUser(const Json& user, RestConfig& out) {
  if (const Json* exec = Find(user, {"exec"}); exec != nullptr && exec->is_object())
    return RunCredentialPlugin(*exec, out);
  out.token = StringAt(user, {"token"});
  out.token_file = StringAt(user, {"tokenFile"});
  if (out.token.empty() && StringAt(user, {"auth-provider", "name"}) == "oidc")
    out.token = StringAt(user, {"auth-provider", "config", "id-token"});
  ASSIGN_OR_RETURN(out.client_certificate_pem, Material(user, "client-certificate"), "user");
  ASSIGN_OR_RETURN(out.client_key_pem, Material(user, "client-key"), "user");
  if (out.client_certificate_pem.empty() != out.client_key_pem.empty())
    return Error(Code::kInvalidArgument,
                 "client-certificate and client-key must be given together");
  out.username = StringAt(user, {"username"});
  out.password = StringAt(user, {"password"});
  out.impersonate_user = StringAt(user, {"as"});
  for (const Json& group : ItemsAt(user, {"as-groups"}))
    if (group.is_string()) out.impersonate_groups.push_back(group.get<std::string>());
  return {};
}

Result<RestConfig> Build(const Json& config, std::string_view wanted, KubeconfigTrust trust,
                         const std::vector<std::string>& allowed) {
  if (!config.is_object())
    return Error(Code::kInvalidArgument,
                 "a kubeconfig must be an object with clusters, contexts and users");
  const std::string context_name =
      wanted.empty() ? StringAt(config, {"current-context"}) : std::string(wanted);
  if (context_name.empty())
    return Error(Code::kInvalidArgument, "no current-context is set; {}",
                 ItemsAt(config, {"contexts"}).empty()
                     ? "it has no contexts at all: is it a kubeconfig?"
                     : "name a context with --context");
  const Json* context = Named(config, "contexts", context_name, "context");
  if (context == nullptr) {
    std::vector<std::string> names;
    for (const Json& entry : ItemsAt(config, {"contexts"}))
      names.push_back(StringAt(entry, {"name"}));
    if (names.empty())
      return Error(
          Code::kNotFound,
          "context \"{}\" does not exist; the file has no contexts at all: is it a kubeconfig?",
          context_name);
    return Error(Code::kNotFound, "context \"{}\" does not exist; there are: {}", context_name,
                 base::Join(names, ", "));
  }
  RestConfig out;
  out.context = context_name;
  out.cluster = StringAt(*context, {"cluster"});
  if (const std::string ns = StringAt(*context, {"namespace"}); !ns.empty())
    out.default_namespace = ns;
  const Json* cluster = Named(config, "clusters", out.cluster, "cluster");
  if (cluster == nullptr)
    return Error(Code::kInvalidArgument, "context \"{}\": cluster \"{}\" does not exist",
                 context_name, out.cluster);
  const std::string in_cluster = fmt::format("cluster \"{}\"", out.cluster);
  if (trust == KubeconfigTrust::kRemoteSecret)
    RETURN_IF_ERROR(CheckPaths(*cluster, kUntrustedOfCluster, allowed), in_cluster);
  RETURN_IF_ERROR(ReadCluster(*cluster, out), in_cluster);
  const std::string user_name = StringAt(*context, {"user"});
  if (user_name.empty()) return out;
  const Json* user = Named(config, "users", user_name, "user");
  if (user == nullptr)
    return Error(Code::kInvalidArgument, "context \"{}\": user \"{}\" does not exist", context_name,
                 user_name);
  const std::string doing = fmt::format("user \"{}\"", user_name);
  if (trust == KubeconfigTrust::kRemoteSecret) RETURN_IF_ERROR(CheckTrusted(*user, allowed), doing);
  RETURN_IF_ERROR(ReadUser(*user, out), doing);
  return out;
}

/// Paths in a kubeconfig are relative to its own folder.
void ResolvePaths(Json& config, const std::string& path) {
  const size_t slash = path.rfind('/');
  const std::string folder = slash == path.npos ? "." : path.substr(0, slash);
  const auto resolve = [&](Json* entry, std::string_view field) {
    if (entry == nullptr) return;
    Json* value = kubeapi::FindMutable(*entry, {field});
    if (value == nullptr || !value->is_string()) return;
    std::string& text = value->get_ref<std::string&>();
    if (!text.empty() && text[0] != '/') text = folder + "/" + text;
  };
  if (Json* users = kubeapi::FindMutable(config, {"users"}); users != nullptr && users->is_array())
    for (Json& entry : *users)
      // A plain name is looked up in PATH.
      if (StringAt(entry, {"user", "exec", "command"}).find('/') != std::string::npos)
        resolve(kubeapi::FindMutable(entry, {"user", "exec"}), "command");
  for (const auto& [list, what, fields] :
       {std::tuple("clusters", "cluster", std::vector<const char*>{"certificate-authority"}),
        std::tuple("users", "user",
                   std::vector<const char*>{"client-certificate", "client-key", "tokenFile"})}) {
    Json* entries = kubeapi::FindMutable(config, {list});
    if (entries == nullptr || !entries->is_array()) continue;
    for (Json& entry : *entries)
      for (const char* field : fields) resolve(kubeapi::FindMutable(entry, {what}), field);
  }
}

/// The first entry of a name counts, as with kubectl.
void MergeConfig(Json& into, const Json& from) {
  for (const char* list : {"clusters", "contexts", "users"}) {
    for (const Json& entry : ItemsAt(from, {list})) {
      const std::string name = StringAt(entry, {"name"});
      const std::vector<Json>& have = ItemsAt(into, {list});
      const bool known = std::any_of(have.begin(), have.end(), [&](const Json& other) {
        return StringAt(other, {"name"}) == name;
      });
      if (!known) into[list].push_back(entry);
    }
  }
  if (StringAt(into, {"current-context"}).empty())
    into["current-context"] = StringAt(from, {"current-context"});
}

struct Loaded {
  Json config;
  std::string origin;
};

/// kNotFound when there is no kubeconfig anywhere.
Result<Loaded> LoadFiles(std::string_view path) {
  std::vector<std::string> files;
  const bool explicit_path = !path.empty();
  const char* variable = std::getenv("KUBECONFIG");
  if (explicit_path) {
    files = {std::string(path)};
  } else if (variable != nullptr && *variable != '\0') {
    for (const std::string_view file : base::Split(variable, ':'))
      if (!file.empty()) files.emplace_back(file);
  } else if (const char* home = std::getenv("HOME"); home != nullptr) {
    files = {fmt::format("{}/.kube/config", home)};
  }
  Loaded loaded{Json::object(), base::Join(files, ":")};
  bool any = false;
  for (const std::string& file : files) {
    auto text = base::ReadFile(file);
    if (!text.ok()) {
      if (text.status().code() == Code::kNotFound && !explicit_path) continue;
      return text.status().In("reading kubeconfig");
    }
    ASSIGN_OR_RETURN(Json config, kubeapi::ParseYaml(*text), fmt::format("kubeconfig {}", file));
    if (!config.is_object() && !config.is_null())
      return Error(Code::kInvalidArgument, "kubeconfig {}: expected an object", file);
    ResolvePaths(config, file);
    MergeConfig(loaded.config, config);
    any = true;
  }
  if (!any)
    return Error(Code::kNotFound,
                 "no kubeconfig found ({}); give one with --kubeconfig or KUBECONFIG",
                 files.empty() ? "HOME is not set" : loaded.origin);
  return loaded;
}

}  // namespace

Result<RestConfig> ParseKubeconfig(std::string_view yaml, std::string_view context,
                                   KubeconfigTrust trust, const std::vector<std::string>& allowed) {
  ASSIGN_OR_RETURN(const Json config, kubeapi::ParseYaml(yaml), "kubeconfig");
  auto built = Build(config, context, trust, allowed);
  if (!built.ok()) return built.status().In("kubeconfig");
  return built;
}

Result<RestConfig> LoadKubeconfig(std::string_view path, std::string_view context) {
  auto loaded = LoadFiles(path);
  if (!loaded.ok()) {
    if (path.empty() && context.empty() && loaded.status().code() == Code::kNotFound) {
      auto in_cluster = InClusterConfig();
      if (in_cluster.ok()) return in_cluster;
    }
    return loaded.status();
  }
  auto built = Build(loaded->config, context, KubeconfigTrust::kOwn, {});
  if (!built.ok()) return built.status().In(fmt::format("kubeconfig {}", loaded->origin));
  return built;
}

Result<RestConfig> InClusterConfig() {
  const char* host = std::getenv("KUBERNETES_SERVICE_HOST");
  const char* port = std::getenv("KUBERNETES_SERVICE_PORT");
  if (host == nullptr || port == nullptr || *host == '\0' || *port == '\0')
    return Error(
        Code::kNotFound,
        "not in a cluster: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set");
  RestConfig out;
  const bool v6 = std::string_view(host).find(':') != std::string_view::npos;
  out.server = fmt::format("https://{}{}{}:{}", v6 ? "[" : "", host, v6 ? "]" : "", port);
  out.token_file = fmt::format("{}/token", kServiceAccountDir);
  out.context = "in-cluster";
  ASSIGN_OR_RETURN(out.ca_pem, base::ReadFile(fmt::format("{}/ca.crt", kServiceAccountDir)),
                   "in-cluster credentials");
  if (!base::Exists(out.token_file))
    return Error(Code::kNotFound, "in-cluster credentials: {} does not exist", out.token_file);
  if (auto ns = base::ReadFile(fmt::format("{}/namespace", kServiceAccountDir)); ns.ok())
    out.default_namespace = base::Trim(*ns);
  return out;
}

Result<std::vector<std::string>> KubeconfigContexts(std::string_view path) {
  ASSIGN_OR_RETURN(const Loaded loaded, LoadFiles(path), "listing contexts");
  std::vector<std::string> names;
  for (const Json& entry : ItemsAt(loaded.config, {"contexts"}))
    names.push_back(StringAt(entry, {"name"}));
  return names;
}

}  // namespace isthmus::kubeclient
