#include "translate/mesh_settings.h"

#include "istio/mesh/v1alpha1/config.pb.h"
#include "translate/access_log.h"

namespace isthmus::translate {
namespace {

using istio::mesh::v1alpha1::MeshConfig;

std::chrono::milliseconds Milliseconds(const google::protobuf::Duration& duration) {
  return std::chrono::milliseconds(duration.seconds() * 1000 + duration.nanos() / 1000000);
}

template <typename List>
void ReadDefault(const List& list, model::Visibility* visibility, bool* own_namespace) {
  if (list.empty()) return;
  *visibility = model::Visibility{false, {}};
  for (const std::string& entry : list) {
    if (entry == "*") visibility->all = true;
    if (entry == ".") *own_namespace = true;
    if (entry != "*" && entry != "." && entry != "~") visibility->namespaces.insert(entry);
  }
}

void ReadPaths(const MeshConfig& config, MeshSettings* mesh) {
  using Normalization = MeshConfig::ProxyPathNormalization;
  const auto kind = config.path_normalization().normalization();
  mesh->normalize_path = kind != Normalization::NONE;
  mesh->merge_slashes =
      kind == Normalization::MERGE_SLASHES || kind == Normalization::DECODE_AND_MERGE_SLASHES;
  mesh->unescape_slashes = kind == Normalization::DECODE_AND_MERGE_SLASHES;
}

}  // namespace

std::shared_ptr<const MeshSettings> ReadMeshSettings(const model::Snapshot& snapshot) {
  auto mesh = std::make_shared<MeshSettings>();
  mesh->root_namespace = snapshot.root_namespace;
  mesh->domain_suffix = snapshot.domain_suffix;
  mesh->source = snapshot.mesh;
  if (snapshot.mesh == nullptr) return mesh;
  const MeshConfig& config = *snapshot.mesh;
  if (!config.trust_domain().empty()) mesh->trust_domain = config.trust_domain();
  for (const std::string& alias : config.trust_domain_aliases()) {
    if (alias != mesh->trust_domain) mesh->trust_domain_aliases.push_back(alias);
  }
  if (config.has_enable_auto_mtls()) mesh->auto_mtls = config.enable_auto_mtls().value();
  mesh->allow_any =
      !config.has_outbound_traffic_policy() ||
      config.outbound_traffic_policy().mode() == MeshConfig::OutboundTrafficPolicy::ALLOW_ANY;
  mesh->inbound_localhost =
      config.inbound_traffic_policy().mode() == MeshConfig::InboundTrafficPolicy::LOCALHOST;
  if (config.proxy_listen_port() > 0) mesh->outbound_port = config.proxy_listen_port();
  if (config.proxy_inbound_listen_port() > 0)
    mesh->inbound_port = config.proxy_inbound_listen_port();
  if (config.has_connect_timeout()) mesh->connect_timeout = Milliseconds(config.connect_timeout());
  if (config.has_protocol_detection_timeout()) {
    mesh->detection_timeout = Milliseconds(config.protocol_detection_timeout());
  }
  if (config.has_dns_refresh_rate())
    mesh->dns_refresh_rate = Milliseconds(config.dns_refresh_rate());
  mesh->h2_upgrade = config.h2_upgrade_policy() == MeshConfig::UPGRADE;
  ReadPaths(config, mesh.get());
  mesh->trusted_proxies =
      static_cast<int>(config.default_config().gateway_topology().num_trusted_proxies());
  mesh->access_logs = DefaultAccessLogs(config);
  if (config.has_locality_lb_setting()) {
    mesh->locality = &config.locality_lb_setting();
    const auto& setting = config.locality_lb_setting();
    if (setting.has_enabled()) mesh->locality_enabled = setting.enabled().value();
  }
  if (config.has_default_http_retry_policy())
    mesh->default_retry = &config.default_http_retry_policy();
  if (config.has_tcp_keepalive()) mesh->keepalive = &config.tcp_keepalive();
  ReadDefault(config.default_virtual_service_export_to(), &mesh->virtual_service_export_to,
              &mesh->virtual_service_private);
  ReadDefault(config.default_destination_rule_export_to(), &mesh->destination_rule_export_to,
              &mesh->destination_rule_private);
  return mesh;
}

}  // namespace isthmus::translate
