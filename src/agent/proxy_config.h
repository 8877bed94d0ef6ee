#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/loop.h"
#include "base/result.h"
#include "kubeapi/json.h"

namespace isthmus::agent {

using kubeapi::Json;

/// The effective ProxyConfig of one pod, with defaults filled in. A value.
struct ProxyConfig {
  std::string config_path = "./etc/istio/proxy";
  std::string binary_path = "/usr/local/bin/envoy";
  std::string service_cluster = "istio-proxy";
  base::Duration drain_duration = std::chrono::seconds(45);
  base::Duration termination_drain_duration = std::chrono::seconds(5);
  std::string discovery_address = "istiod.istio-system.svc:15012";
  int admin_port = 15000;
  int status_port = 15020;
  int stat_name_length = 189;
  bool plaintext_control_plane = false;  ///< controlPlaneAuthPolicy NONE.
  int concurrency = 0;                   ///< 0: ISTIO_CPU_LIMIT, else one worker per CPU.
  bool stats_compression = true;
  std::string custom_config_file;
  std::map<std::string, std::string> runtime_values;
  std::map<std::string, std::string> metadata;  ///< proxyMetadata
  std::vector<std::string> stats_prefixes;      ///< proxyStatsMatcher
  std::vector<std::string> stats_suffixes;
  std::vector<std::string> stats_regexps;
  /// All fields as they were set, for node metadata PROXY_CONFIG.
  Json raw = Json::object();
};

/// Where a ProxyConfig is put together from, lowest first. Empty texts are left out.
struct ProxyConfigSources {
  std::string mesh_file;          ///< YAML with `defaultConfig`.
  std::string environment;        ///< PROXY_CONFIG, JSON or YAML.
  std::string annotation;         ///< proxy.istio.io/config
  std::string discovery_address;  ///< Annotation sidecar.istio.io/discoveryAddress.
  std::string status_port;        ///< Annotation status.sidecar.istio.io/port.
};

/// A later source replaces whole fields of an earlier one; proxyMetadata and runtimeValues merge by
/// key.
base::Result<ProxyConfig> AssembleProxyConfig(const ProxyConfigSources& sources);

}  // namespace isthmus::agent
