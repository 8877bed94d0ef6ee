#include "config/mesh.h"

#include "config/reader.h"
#include "istio/mesh/v1alpha1/config.pb.h"
#include "istio/mesh/v1alpha1/network.pb.h"
#include "kubeapi/json.h"

namespace isthmus::config {
namespace {

using istio::mesh::v1alpha1::MeshConfig;
using istio::mesh::v1alpha1::MeshNetworks;
using istio::mesh::v1alpha1::ProxyConfig;
using kubeapi::Json;

void FillProxyDefaults(const std::string& root_namespace, ProxyConfig& proxy) {
  proxy.set_config_path("./etc/istio/proxy");
  proxy.set_service_cluster("istio-proxy");
  proxy.mutable_drain_duration()->set_seconds(45);
  proxy.mutable_termination_drain_duration()->set_seconds(5);
  proxy.set_proxy_admin_port(15000);
  proxy.set_discovery_address("istiod." + root_namespace + ".svc:15012");
  proxy.set_control_plane_auth_policy(istio::mesh::v1alpha1::MUTUAL_TLS);
  proxy.set_stat_name_length(189);
  proxy.set_status_port(15020);
}

MeshConfig MakeDefaults(const std::string& root_namespace) {
  MeshConfig mesh;
  FillProxyDefaults(root_namespace, *mesh.mutable_default_config());
  mesh.mutable_enable_auto_mtls()->set_value(true);
  mesh.mutable_outbound_traffic_policy()->set_mode(MeshConfig::OutboundTrafficPolicy::ALLOW_ANY);
  mesh.mutable_inbound_traffic_policy()->set_mode(MeshConfig::InboundTrafficPolicy::PASSTHROUGH);
  mesh.set_trust_domain("cluster.local");
  mesh.set_root_namespace(root_namespace);
  mesh.set_proxy_listen_port(15001);
  mesh.set_proxy_inbound_listen_port(15006);
  mesh.mutable_connect_timeout()->set_seconds(10);
  mesh.mutable_protocol_detection_timeout()->set_seconds(0);
  mesh.mutable_dns_refresh_rate()->set_seconds(60);
  mesh.add_default_service_export_to("*");
  mesh.add_default_virtual_service_export_to("*");
  mesh.add_default_destination_rule_export_to("*");
  mesh.mutable_locality_lb_setting()->mutable_enabled()->set_value(true);
  mesh.set_ingress_class("istio");
  mesh.set_ingress_controller_mode(MeshConfig::STRICT);
  mesh.set_ingress_service("istio-ingressgateway");
  mesh.set_enable_tracing(true);
  mesh.mutable_enable_prometheus_merge()->set_value(true);
  mesh.set_access_log_encoding(MeshConfig::TEXT);
  mesh.mutable_path_normalization();
  mesh.mutable_mesh_mtls()->set_min_protocol_version(MeshConfig::TLSConfig::TLSV1_2);
  auto* prometheus = mesh.add_extension_providers();
  prometheus->set_name("prometheus");
  prometheus->mutable_prometheus();
  auto* envoy = mesh.add_extension_providers();
  envoy->set_name("envoy");
  envoy->mutable_envoy_file_access_log()->set_path("/dev/stdout");
  return mesh;
}

/// YAML that is an object, or nothing at all.
base::Result<Json> ParseObject(std::string_view yaml) {
  ASSIGN_OR_RETURN(Json json, kubeapi::ParseYaml(yaml), "reading YAML");
  if (json.is_null()) return Json::object();
  if (!json.is_object()) return base::Error(base::Code::kInvalidArgument, "is not an object");
  return json;
}

void KeepDefaultProviders(const MeshConfig& defaults, MeshConfig& mesh) {
  for (const auto& provider : defaults.extension_providers()) {
    bool named = false;
    for (const auto& own : mesh.extension_providers())
      named = named || own.name() == provider.name();
    if (!named) *mesh.add_extension_providers() = provider;
  }
}

bool LooksLikeNetwork(const Json& value) {
  return value.is_object() && (value.contains("endpoints") || value.contains("gateways"));
}

/// Takes off wrappers until the map of networks is left.
const Json& Networks(const Json& json) {
  const Json* inner = &json;
  for (std::string_view wrapper : {"meshNetworks", "networks"}) {
    const Json* next = kubeapi::Find(*inner, {wrapper});
    // A network may itself be called "networks".
    if (next != nullptr && !LooksLikeNetwork(*next)) inner = next;
  }
  return *inner;
}

}  // namespace

MeshConfigPtr DefaultMeshConfig(const std::string& root_namespace) {
  return std::make_shared<const MeshConfig>(MakeDefaults(root_namespace));
}

base::Result<MeshConfigPtr> ReadMeshConfig(std::string_view yaml, const std::string& root_namespace,
                                           std::vector<std::string>* unknown) {
  ASSIGN_OR_RETURN(const Json json, ParseObject(yaml), "mesh config");
  auto mesh = std::make_shared<MeshConfig>(MakeDefaults(root_namespace));
  const MeshConfig defaults = *mesh;
  ReadReport report;
  ReadMessage(json, "", *mesh, report);
  RETURN_IF_ERROR(report.status(), "mesh config");
  if (mesh->root_namespace().empty()) mesh->set_root_namespace(root_namespace);
  KeepDefaultProviders(defaults, *mesh);
  if (unknown != nullptr) *unknown = std::move(report.unknown);
  return MeshConfigPtr(std::move(mesh));
}

base::Status MergeProxyConfig(std::string_view yaml, ProxyConfig& proxy) {
  auto json = ParseObject(yaml);
  RETURN_IF_ERROR(json.status(), "proxy config");
  ReadReport report;
  ReadMessage(*json, "", proxy, report);
  return report.status().In("proxy config");
}

base::Result<MeshNetworksPtr> ReadMeshNetworks(std::string_view yaml) {
  ASSIGN_OR_RETURN(const Json json, ParseObject(yaml), "mesh networks");
  auto networks = std::make_shared<MeshNetworks>();
  const Json& map = Networks(json);
  if (map.is_null()) return MeshNetworksPtr(std::move(networks));
  ReadReport report;
  ReadMessage(Json{{"networks", map}}, "", *networks, report);
  for (auto& [name, network] : *networks->mutable_networks()) {
    auto* gateways = network.mutable_gateways();
    for (int i = 0; i < gateways->size();) {
      const auto& gateway = gateways->Get(i);
      if (gateway.address() == "0.0.0.0") {
        gateways->DeleteSubrange(i, 1);
        continue;
      }
      if (gateway.port() == 0 || gateway.port() > 65535)
        report.errors.push_back({fmt::format("networks.{}.gateways[{}].port", name, i),
                                 fmt::format("{} is not between 1 and 65535", gateway.port())});
      ++i;
    }
  }
  RETURN_IF_ERROR(report.status(), "mesh networks");
  return MeshNetworksPtr(std::move(networks));
}

}  // namespace isthmus::config
