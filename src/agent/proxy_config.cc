#include "agent/proxy_config.h"

#include "base/duration.h"
#include "base/strings.h"

namespace isthmus::agent {
namespace {

using base::Code;

bool MergesByKey(std::string_view field) {
  return field == "proxyMetadata" || field == "runtimeValues";
}

base::Status Overlay(const std::string& text, std::string_view inside, Json& target) {
  if (base::Trim(text).empty()) return {};
  ASSIGN_OR_RETURN(Json parsed, kubeapi::ParseYaml(text), "ProxyConfig");
  const Json* layer = &parsed;
  if (!inside.empty()) {
    const auto at = parsed.is_object() ? parsed.find(inside) : parsed.end();
    if (at == parsed.end() || at->is_null()) return {};
    layer = &*at;
  }
  if (layer->is_null()) return {};
  if (!layer->is_object())
    return base::Error(Code::kInvalidArgument, "ProxyConfig is not an object");
  for (const auto& [field, value] : layer->items()) {
    if (MergesByKey(field) && value.is_object() && target.contains(field) &&
        target[field].is_object())
      target[field].update(value);
    else
      target[field] = value;
  }
  return {};
}

base::Status ReadText(const Json& raw, const char* field, std::string& value) {
  const auto at = raw.find(field);
  if (at == raw.end() || at->is_null()) return {};
  if (!at->is_string())
    return base::Error(Code::kInvalidArgument, "ProxyConfig field {} is not a string", field);
  if (!at->get_ref<const std::string&>().empty()) value = at->get<std::string>();
  return {};
}

base::Status ReadNumber(const Json& raw, const char* field, int most, int& value) {
  const auto at = raw.find(field);
  if (at == raw.end() || at->is_null()) return {};
  if (!at->is_number_integer() || at->get<int64_t>() < 0 || at->get<int64_t>() > most)
    return base::Error(Code::kInvalidArgument, "ProxyConfig field {} is not a number from 0 to {}",
                       field, most);
  value = at->get<int>();
  return {};
}

base::Status ReadDuration(const Json& raw, const char* field, base::Duration& value) {
  std::string text;
  if (base::Status status = ReadText(raw, field, text); !status.ok()) return status;
  if (text.empty()) return {};
  ASSIGN_OR_RETURN(value, base::ParseDuration(text), fmt::format("ProxyConfig field {}", field));
  if (value < base::Duration::zero())
    return base::Error(Code::kInvalidArgument, "ProxyConfig field {} is negative", field);
  return {};
}

/// Values of another type are written as JSON, as YAML users forget quotes: "1" for 1, "true" for
/// true.
std::map<std::string, std::string> ReadMap(const Json& raw, const char* field) {
  std::map<std::string, std::string> map;
  const auto at = raw.find(field);
  if (at == raw.end() || !at->is_object()) return map;
  for (const auto& [key, value] : at->items())
    map[key] = value.is_string() ? value.get<std::string>() : value.dump();
  return map;
}

}  // namespace

base::Result<ProxyConfig> AssembleProxyConfig(const ProxyConfigSources& sources) {
  ProxyConfig config;
  Json& raw = config.raw;
  RETURN_IF_ERROR(Overlay(sources.mesh_file, "defaultConfig", raw), "mesh config file");
  RETURN_IF_ERROR(Overlay(sources.environment, "", raw), "environment PROXY_CONFIG");
  RETURN_IF_ERROR(Overlay(sources.annotation, "", raw), "annotation proxy.istio.io/config");
  if (!sources.discovery_address.empty()) raw["discoveryAddress"] = sources.discovery_address;
  if (!sources.status_port.empty()) {
    ASSIGN_OR_RETURN(const int64_t port, base::ParseInt(sources.status_port),
                     "annotation status.sidecar.istio.io/port");
    raw["statusPort"] = port;
  }
  std::string auth_policy;
  for (const auto& [field, value] : std::initializer_list<std::pair<const char*, std::string*>>{
           {"configPath", &config.config_path},
           {"binaryPath", &config.binary_path},
           {"serviceCluster", &config.service_cluster},
           {"discoveryAddress", &config.discovery_address},
           {"customConfigFile", &config.custom_config_file},
           {"controlPlaneAuthPolicy", &auth_policy}})
    RETURN_IF_ERROR(ReadText(raw, field, *value), "reading");
  RETURN_IF_ERROR(ReadDuration(raw, "drainDuration", config.drain_duration), "reading");
  RETURN_IF_ERROR(ReadDuration(raw, "terminationDrainDuration", config.termination_drain_duration),
                  "reading");
  RETURN_IF_ERROR(ReadNumber(raw, "proxyAdminPort", 65535, config.admin_port), "reading");
  RETURN_IF_ERROR(ReadNumber(raw, "statusPort", 65535, config.status_port), "reading");
  RETURN_IF_ERROR(ReadNumber(raw, "statNameLength", 4096, config.stat_name_length), "reading");
  RETURN_IF_ERROR(ReadNumber(raw, "concurrency", 1024, config.concurrency), "reading");
  config.plaintext_control_plane = auth_policy == "NONE";
  config.stats_compression = kubeapi::BoolAt(raw, {"statsCompression"}, true);
  config.runtime_values = ReadMap(raw, "runtimeValues");
  config.metadata = ReadMap(raw, "proxyMetadata");
  config.stats_prefixes = kubeapi::StringsAt(raw, {"proxyStatsMatcher", "inclusionPrefixes"});
  config.stats_suffixes = kubeapi::StringsAt(raw, {"proxyStatsMatcher", "inclusionSuffixes"});
  config.stats_regexps = kubeapi::StringsAt(raw, {"proxyStatsMatcher", "inclusionRegexps"});
  // The effective values, whoever set them: the control plane reads this field back.
  raw["discoveryAddress"] = config.discovery_address;
  raw["serviceCluster"] = config.service_cluster;
  raw["proxyAdminPort"] = config.admin_port;
  raw["statusPort"] = config.status_port;
  return config;
}

}  // namespace isthmus::agent
