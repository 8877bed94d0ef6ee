#pragma once

#include <chrono>
#include <memory>
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
  int trusted_proxies = 0;  ///< gatewayTopology.numTrustedProxies
  std::string access_log_file;
  std::string access_log_format;
  bool access_log_json = false;
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
