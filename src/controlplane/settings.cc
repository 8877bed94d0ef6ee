#include "controlplane/settings.h"

#include <fmt/format.h>
#include <unistd.h>

#include <functional>
#include <limits>

#include "base/duration.h"
#include "base/files.h"
#include "base/net.h"
#include "base/strings.h"

namespace isthmus::controlplane {
namespace {

using base::Code;
using base::Error;
using base::Status;

Status SetBool(std::string_view text, bool* out) {
  const std::string lower = base::ToLower(text);
  if (lower == "true" || lower == "1" || lower == "t") {
    *out = true;
  } else if (lower == "false" || lower == "0" || lower == "f") {
    *out = false;
  } else {
    return Error(Code::kInvalidArgument, "\"{}\" is neither true nor false", text);
  }
  return {};
}

Status SetText(std::string_view text, std::string* out) {
  *out = text;
  return {};
}

Status SetAddress(std::string_view text, std::string* out) {
  if (!text.empty()) {
    const std::string with_host =
        text.front() == ':' ? "0.0.0.0" + std::string(text) : std::string(text);
    RETURN_IF_ERROR(base::HostPort::Parse(with_host).status(), fmt::format("address \"{}\"", text));
  }
  *out = text;
  return {};
}

Status SetDuration(std::string_view text, base::Duration* out) {
  ASSIGN_OR_RETURN(*out, base::ParseDuration(text), fmt::format("duration \"{}\"", text));
  return {};
}

Status SetSeconds(std::string_view text, std::chrono::seconds* out) {
  base::Duration duration{};
  RETURN_IF_ERROR(SetDuration(text, &duration), "time");
  *out = std::chrono::duration_cast<std::chrono::seconds>(duration);
  return {};
}

Status SetAliases(std::string_view text, std::map<std::string, std::string>* out) {
  for (const std::string& pair : base::SplitList(text)) {
    const auto [alias, id] = base::Cut(pair, "=");
    if (alias.empty() || id.empty())
      return Error(Code::kInvalidArgument, "\"{}\" is not of the form alias=cluster", pair);
    (*out)[std::string(alias)] = id;
  }
  return {};
}

// "default:info,ads:debug" or "info": the level of default; the scopes are not told apart.
Status SetLogLevel(std::string_view text, std::string* out) {
  for (const std::string& item : base::SplitList(text)) {
    const auto [scope, level] = base::Cut(item, ":");
    const std::string_view own = level.empty() ? scope : level;
    if (own != "none" && own != "fatal" && own != "error" && own != "warn" && own != "info" &&
        own != "debug")
      return Error(Code::kInvalidArgument,
                   "log level \"{}\" is none of none, fatal, error, warn, info, debug", own);
    if (level.empty() || scope == "default" || scope == "all") *out = own;
  }
  return {};
}

using Setter = std::function<Status(std::string_view)>;
struct Flag {
  Setter set;  ///< Null: accepted and not used.
  bool boolean = false;
  std::string help;
};

std::map<std::string, Flag> Flags(Settings& s) {
  const auto text = [](std::string* out) {
    return [out](std::string_view t) { return SetText(t, out); };
  };
  const auto address = [](std::string* out) {
    return [out](std::string_view t) { return SetAddress(t, out); };
  };
  const auto time = [](base::Duration* out) {
    return [out](std::string_view t) { return t == "infinity" ? Status() : SetDuration(t, out); };
  };
  std::map<std::string, Flag> flags = {
      {"clusterID", {text(&s.cluster_id), false, "name of the cluster this runs in"}},
      {"clusterAliases",
       {[&s](std::string_view t) { return SetAliases(t, &s.cluster_aliases); }, false,
        "alias=cluster, comma separated"}},
      {"domain", {text(&s.domain), false, "DNS domain of services"}},
      {"namespace", {text(&s.ns), false, "namespace this runs in"}},
      {"kubeconfig", {text(&s.kubeconfig), false, "kubeconfig file; default: in-cluster"}},
      {"meshConfig", {text(&s.mesh_config), false, "file with the mesh configuration"}},
      {"networksConfig", {text(&s.networks_config), false, "file with the mesh networks"}},
      {"grpcAddr",
       {address(&s.grpc_addr), false, "plaintext xDS; opened only when given, e.g. :15010"}},
      {"secureGRPCAddr", {address(&s.secure_grpc_addr), false, "xDS and CA over TLS"}},
      {"httpAddr", {address(&s.http_addr), false, "readiness and debug"}},
      {"httpsAddr", {address(&s.https_addr), false, "webhooks"}},
      {"monitoringAddr", {address(&s.monitoring_addr), false, "metrics and debug"}},
      {"tlsCertFile", {text(&s.tls_cert_file), false, "serving certificate"}},
      {"tlsKeyFile", {text(&s.tls_key_file), false, "its key"}},
      {"caCertFile", {text(&s.ca_cert_file), false, "roots of the serving certificate"}},
      {"shutdownDuration",
       {time(&s.shutdown_duration), false, "how long streams may go on at the end"}},
      {"keepaliveInterval", {time(&s.keepalive), false, "between pings to clients"}},
      {"keepaliveMaxServerConnectionAge",
       {time(&s.max_connection_age), false, "when clients are told to reconnect"}},
      {"log_output_level",
       {[&s](std::string_view t) { return SetLogLevel(t, &s.log_level); }, false,
        "[scope:]level, e.g. default:info"}},
      {"log_as_json",
       {[&s](std::string_view t) { return SetBool(t, &s.log_json); }, true, "log lines as JSON"}},
  };
  for (const char* name :
       {"configDir", "registries", "resync", "profile", "ctrlz_address", "ctrlz_port",
        "clusterRegistriesNamespace", "kubernetesApiBurst", "kubernetesApiQPS", "keepaliveTimeout",
        "log_caller", "log_rotate", "log_rotate_max_age", "log_rotate_max_backups",
        "log_rotate_max_size", "log_stacktrace_level", "log_target", "tls-cipher-suites", "vklog"})
    flags[name] = Flag{};
  return flags;
}

Status ReadFlags(const std::vector<std::string>& arguments, Settings& settings) {
  const auto flags = Flags(settings);
  for (size_t i = 0; i < arguments.size(); ++i) {
    std::string_view argument = arguments[i];
    if (argument == "-n") argument = "--namespace";
    if (!base::ConsumePrefix(argument, "--"))
      return Error(Code::kInvalidArgument, "unexpected argument \"{}\"; see discovery --help",
                   arguments[i]);
    const bool attached = argument.find('=') != argument.npos;
    const auto [name, inline_value] = base::Cut(argument, "=");
    auto flag = flags.find(std::string(name));
    if (flag == flags.end())
      return Error(Code::kInvalidArgument, "unknown flag --{}; see discovery --help", name);
    std::string value(inline_value);
    if (!attached && flag->second.boolean) {
      value = "true";
    } else if (!attached) {
      if (i + 1 >= arguments.size())
        return Error(Code::kInvalidArgument, "flag --{} needs a value", name);
      value = arguments[++i];
    }
    if (flag->second.set) RETURN_IF_ERROR(flag->second.set(value), fmt::format("flag --{}", name));
  }
  return {};
}

Status ReadEnvironment(const Environment& environment, Settings& s) {
  const std::pair<const char*, std::string*> texts[] = {
      {"POD_NAMESPACE", &s.ns},
      {"POD_NAME", &s.pod_name},
      {"REVISION", &s.revision},
      {"CLUSTER_ID", &s.cluster_id},
      {"ROOT_CA_DIR", &s.ca_folder},
      {"EXTERNAL_CA", &s.external_ca},
      {"K8S_SIGNER", &s.k8s_signer},
      {"CERT_SIGNER_DOMAIN", &s.cert_signer_domain},
      {"ISTHMUS_STATE_DIR", &s.state_folder},
      {"ISTIOD_CUSTOM_HOST", &s.custom_hosts},
      {"PILOT_CA_CERT_CONFIGMAP", &s.root_config_map},
      {"INJECTION_WEBHOOK_CONFIG_NAME", &s.injection_webhook},
      {"VALIDATION_WEBHOOK_CONFIG_NAME", &s.validation_webhook},
      {"ENABLE_NATIVE_SIDECARS", &s.native_sidecars},
      {"PILOT_INSECURE_MULTICLUSTER_KUBECONFIG_OPTIONS", &s.insecure_kubeconfig_options},
  };
  const std::pair<const char*, bool*> switches[] = {
      {"XDS_AUTH", &s.xds_auth},
      {"XDS_AUTH_PLAINTEXT", &s.xds_auth_plaintext},
      {"PILOT_ENABLE_XDS_IDENTITY_CHECK", &s.check_identity},
      {"ENABLE_CA_SERVER", &s.ca_enabled},
      {"INJECT_ENABLED", &s.inject_enabled},
      {"VALIDATION_ENABLED", &s.validation_enabled},
      {"ENABLE_DEBUG_ON_HTTP", &s.debug_on_http},
      {"ENABLE_DEBUG_ENDPOINT_AUTH", &s.debug_auth},
      {"ISTIO_MULTIROOT_MESH", &s.multi_root},
      {"EXTERNAL_ISTIOD", &s.leads_remotes},
      {"ISTHMUS_FAILOVER", &s.failover},
  };
  const std::pair<const char*, std::chrono::seconds*> ages[] = {
      {"DEFAULT_WORKLOAD_CERT_TTL", &s.default_cert_ttl},
      {"MAX_WORKLOAD_CERT_TTL", &s.max_cert_ttl},
      {"CITADEL_SELF_SIGNED_CA_CERT_TTL", &s.root_ttl},
  };
  const auto value = [&](const char* name) -> const std::string* {
    auto it = environment.find(name);
    return it == environment.end() ? nullptr : &it->second;
  };
  for (const auto& [name, out] : texts)
    if (const std::string* text = value(name)) *out = *text;
  for (const auto& [name, out] : switches)
    if (const std::string* text = value(name); text != nullptr && !text->empty())
      RETURN_IF_ERROR(SetBool(*text, out), fmt::format("environment {}", name));
  for (const auto& [name, out] : ages)
    if (const std::string* text = value(name); text != nullptr && !text->empty())
      RETURN_IF_ERROR(SetSeconds(*text, out), fmt::format("environment {}", name));
  if (!s.external_ca.empty() && s.external_ca != "ISTIOD_RA_KUBERNETES_API")
    return Error(Code::kInvalidArgument,
                 "environment EXTERNAL_CA: {} is not known; ISTIOD_RA_KUBERNETES_API asks the "
                 "signers of the cluster",
                 s.external_ca);
  if (const std::string* text = value("PILOT_REMOTE_CLUSTER_TIMEOUT");
      text != nullptr && !text->empty())
    RETURN_IF_ERROR(SetDuration(*text, &s.remote_timeout),
                    "environment PILOT_REMOTE_CLUSTER_TIMEOUT");
  if (const std::string* text = value("TOKEN_AUDIENCES"); text != nullptr && !text->empty())
    s.token_audiences = base::SplitList(*text);
  // The Deployment always names this file; it is there for control planes outside their cluster
  // only.
  if (const std::string* text = value("KUBECONFIG"); text != nullptr && base::Exists(*text))
    s.kubeconfig = *text;
  return {};
}

}  // namespace

base::Result<Settings> ReadSettings(const std::vector<std::string>& arguments,
                                    const Environment& environment) {
  Settings settings;
  RETURN_IF_ERROR(ReadEnvironment(environment, settings), "reading settings");
  RETURN_IF_ERROR(ReadFlags(arguments, settings), "reading settings");
  if (settings.revision == "default") settings.revision.clear();
  if (settings.pod_name.empty()) {
    char name[256] = "isthmusd";
    gethostname(name, sizeof(name) - 1);
    settings.pod_name = name;
  }
  if (settings.cluster_id.empty())
    return Error(Code::kInvalidArgument, "the cluster has no name: set --clusterID");
  return settings;
}

Environment OwnEnvironment() {
  Environment all;
  for (char** each = environ; *each != nullptr; ++each) {
    const auto [name, value] = base::Cut(*each, "=");
    all[std::string(name)] = value;
  }
  return all;
}

std::string Usage() {
  Settings settings;
  std::string text =
      "Usage: isthmusd [discovery] [flags]\n"
      "Runs the control plane of the mesh. Flags and environment are those of Istio's "
      "pilot-discovery.\n\nFlags:\n";
  for (const auto& [name, flag] : Flags(settings))
    if (!flag.help.empty()) text += fmt::format("  --{:<34} {}\n", name, flag.help);
  return text;
}

}  // namespace isthmus::controlplane
