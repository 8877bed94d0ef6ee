#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/service.h"
#include "model/snapshot.h"

namespace istio::networking::v1 {
class ConnectionPoolSettings_TCPSettings_TcpKeepalive;
class HTTPRetry;
class LocalityLoadBalancerSetting;
}  // namespace istio::networking::v1

namespace isthmus::translate {

/// One access log of a proxy. A value.
struct AccessLog {
  std::string file;
  std::string format;  ///< A line, or a JSON object; empty: the usual fields.
  bool json = false;
  bool omit_empty = false;
  std::string filter;  ///< A CEL expression; empty: everything is logged.
  bool operator==(const AccessLog&) const = default;
};

/// Where a proxy reports spans of requests, and of how many. A value.
struct Tracer {
  enum class Kind { kZipkin, kOpenTelemetry };
  struct Tag {
    enum class Source { kLiteral, kEnvironment, kHeader };
    std::string name;
    Source source = Source::kLiteral;
    std::string value;  ///< Or the name of the variable or header.
    std::string fallback;
    bool operator==(const Tag&) const = default;
  };
  Kind kind = Kind::kZipkin;
  std::string service;  ///< "host" or "namespace/host"
  int port = 0;
  std::string path;
  bool short_ids = false;
  double sampling = 1;  ///< Per cent.
  int max_path_length = 0;
  std::vector<Tag> tags;     ///< By name.
  std::string cluster;       ///< By which the collector is reached.
  std::string service_name;  ///< As which the workload reports.
  bool operator==(const Tracer&) const = default;
};

/// The mesh-wide settings that translation reads, with defaults filled in. A value; pointers point
/// into `source`.
struct MeshSettings {
  std::shared_ptr<const istio::mesh::v1alpha1::MeshConfig> source;
  std::string root_namespace = "istio-system";
  std::string domain_suffix = "cluster.local";
  std::string trust_domain = "cluster.local";
  std::vector<std::string> trust_domain_aliases;
  bool auto_mtls = true;
  bool allow_any = true;           ///< outboundTrafficPolicy; false: REGISTRY_ONLY.
  bool inbound_localhost = false;  ///< inboundTrafficPolicy LOCALHOST.
  int outbound_port = 15001;
  int inbound_port = 15006;
  std::chrono::milliseconds connect_timeout{10000};
  std::chrono::milliseconds detection_timeout{0};
  std::chrono::milliseconds dns_refresh_rate{60000};
  bool h2_upgrade = false;
  bool normalize_path = true;
  bool merge_slashes = false;
  bool unescape_slashes = false;
  int trusted_proxies = 0;             ///< gatewayTopology.numTrustedProxies
  std::vector<AccessLog> access_logs;  ///< On this side of connections; none: nothing is logged.
  std::optional<Tracer> tracer;        ///< On this side of connections.
  bool locality_enabled = true;
  const istio::networking::v1::LocalityLoadBalancerSetting* locality = nullptr;
  const istio::networking::v1::HTTPRetry* default_retry = nullptr;
  const istio::networking::v1::ConnectionPoolSettings_TCPSettings_TcpKeepalive* keepalive = nullptr;
  model::Visibility virtual_service_export_to;
  model::Visibility destination_rule_export_to;
  /// A default of "." stands for the object's own namespace.
  bool virtual_service_private = false;
  bool destination_rule_private = false;
};

std::shared_ptr<const MeshSettings> ReadMeshSettings(const model::Snapshot& snapshot);

}  // namespace isthmus::translate
