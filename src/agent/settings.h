#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/proxy_config.h"
#include "base/result.h"

namespace isthmus::agent {

/// Environment variables by name.
class Environment {
 public:
  Environment() = default;
  explicit Environment(std::map<std::string, std::string> values) : values_(std::move(values)) {}
  static Environment OfProcess();

  /// `fallback` when absent or empty.
  std::string Get(const std::string& name, std::string_view fallback = {}) const;
  bool GetBool(const std::string& name, bool fallback) const;
  base::Result<std::chrono::nanoseconds> GetDuration(const std::string& name,
                                                     std::chrono::nanoseconds fallback) const;
  /// What is not set yet; proxyMetadata is merged in this way.
  void SetDefault(const std::string& name, const std::string& value) {
    values_.try_emplace(name, value);
  }
  const std::map<std::string, std::string>& all() const { return values_; }

 private:
  std::map<std::string, std::string> values_;
};

/// The command line of `proxy`.
struct ProxyFlags {
  std::string type = "sidecar";  ///< sidecar, router or waypoint.
  std::string domain;
  std::string mesh_config = "./etc/istio/config/mesh";
  std::string log_level = "warning";
  std::string component_log_level;
  std::string service_cluster;
  std::string outlier_log_path;
  int concurrency = -1;  ///< -1: not given.
};

/// Who and where this proxy is, and what it was told. Read once at start; a value.
struct Settings {
  std::string type;
  std::string domain;
  std::string pod_name;
  std::string pod_namespace;
  std::string service_account;
  std::string trust_domain;
  std::string cluster_id;
  std::vector<std::string> ips;                    ///< INSTANCE_IP first.
  std::map<std::string, std::string> labels;       ///< Of the pod.
  std::map<std::string, std::string> annotations;  ///< Of the pod.
  ProxyConfig proxy;
  Environment env;
  std::string log_level;
  std::string component_log_level;
  std::string outlier_log_path;
  int concurrency = 0;  ///< Envoy's workers; 0: one per CPU.
  bool delta_xds = true;
  bool dns_capture = false;
  int envoy_status_port = 15021;
  int envoy_prometheus_port = 15090;

  bool is_sidecar() const { return type == "sidecar"; }
  /// spiffe://<trust domain>/ns/<namespace>/sa/<service account>
  std::string spiffe_id() const;
  /// "sidecar~10.0.0.1~sleep-1.sample~sample.svc.cluster.local"
  std::string node_id() const;
};

/// Puts the settings together from flags, environment and the files of the pod (labels and
/// annotations of the downward API in ./etc/istio/pod). `interface_ips` are the machine's other
/// addresses.
base::Result<Settings> LoadSettings(const ProxyFlags& flags, Environment env,
                                    const std::vector<std::string>& interface_ips);

/// The addresses of the network interfaces that are up, without loopback and link-local ones.
std::vector<std::string> InterfaceIps();

/// Reads lines of the form key="Go-quoted value" as the downward API writes them; other lines are
/// skipped.
std::map<std::string, std::string> ParsePodInfo(std::string_view text);

}  // namespace isthmus::agent
