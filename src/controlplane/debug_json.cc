#include "controlplane/debug_json.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>

#include "ads/type_url.h"
#include "istio/mesh/v1alpha1/config.pb.h"
#include "istio/networking/v1/destination_rule.pb.h"
#include "istio/networking/v1/envoy_filter.pb.h"
#include "istio/networking/v1/gateway.pb.h"
#include "istio/networking/v1/service_entry.pb.h"
#include "istio/networking/v1/sidecar.pb.h"
#include "istio/networking/v1/virtual_service.pb.h"
#include "istio/security/v1/authorization_policy.pb.h"
#include "istio/security/v1/peer_authentication.pb.h"
#include "istio/security/v1/request_authentication.pb.h"
#include "istio/telemetry/v1/telemetry.pb.h"

namespace isthmus::controlplane {
namespace {

using kubeapi::Json;

Json Message(const google::protobuf::Message& message) {
  std::string text;
  if (!google::protobuf::util::MessageToJsonString(message, &text).ok()) return nullptr;
  auto json = kubeapi::ParseJson(text);
  return json.ok() ? std::move(*json) : Json();
}

Json OrNull(Json value) { return value.empty() ? Json() : value; }

// Istio's numbers of the resolutions.
int ResolutionNumber(model::Resolution resolution) {
  using model::Resolution;
  switch (resolution) {
    case Resolution::kEndpoints:
      return 0;
    case Resolution::kDns:
      return 1;
    case Resolution::kPassthrough:
      return 2;
    case Resolution::kDnsRoundRobin:
      return 3;
    case Resolution::kAlias:
      return 4;
    case Resolution::kDynamicDns:
      return 5;
  }
  return 0;
}

Json AddressMap(const std::map<model::ClusterId, std::vector<std::string>>& addresses) {
  Json map;
  for (const auto& [cluster, list] : addresses) map[cluster.text()] = list;
  return {{"Addresses", std::move(map)}};
}

Json ServiceJson(const model::Service& service) {
  Json ports = Json::array();
  for (const model::Port& port : service.ports)
    ports.push_back({{"name", port.name},
                     {"port", port.number},
                     {"protocol", model::ProtocolName(port.protocol)}});
  Json export_to;
  if (!service.export_to.all)
    for (const std::string& ns : service.export_to.namespaces) export_to[ns] = Json::object();
  Json attributes = {{"ServiceRegistry", service.kubernetes ? "Kubernetes" : "External"},
                     {"Name", service.name},
                     {"Namespace", service.ns},
                     {"Labels", OrNull(service.labels)},
                     {"ExportTo", std::move(export_to)},
                     {"LabelSelectors", OrNull(service.selector)},
                     {"Aliases", nullptr},
                     {"ClusterExternalAddresses", AddressMap(service.external_addresses)},
                     {"ClusterExternalPorts", nullptr},
                     {"Type", service.kubernetes_type},
                     {"ExternalName", service.alias_of},
                     {"NodeLocal", service.node_local},
                     {"PublishNotReadyAddresses", service.publish_not_ready}};
  return {{"Attributes", std::move(attributes)},
          {"ports", std::move(ports)},
          {"creationTime", base::FormatTime(service.created)},
          {"hostname", service.hostname},
          {"clusterVIPs", AddressMap(service.cluster_vips)},
          {"defaultAddress", service.default_address},
          {"autoAllocatedIPv4Address", service.auto_address},
          {"Resolution", ResolutionNumber(service.resolution)},
          {"MeshExternal", service.external}};
}

int HealthNumber(model::Health health) {
  switch (health) {
    case model::Health::kHealthy:
      return 1;
    case model::Health::kUnhealthy:
      return 2;
    case model::Health::kDraining:
      return 3;
    case model::Health::kTerminating:
      return 4;
  }
  return 0;
}

Json EndpointJson(const model::Endpoint& endpoint) {
  const model::Locality& place = endpoint.locality;
  std::string label;
  if (!place.empty()) label = place.region + "/" + place.zone + "/" + place.subzone;
  Json json = {{"Labels", endpoint.AllLabels()},
               {"Addresses", endpoint.address.empty() ? Json() : Json::array({endpoint.address})},
               {"ServicePortName", endpoint.port_name},
               {"ServiceAccount", endpoint.service_account},
               {"Network", endpoint.network.text()},
               {"Locality", {{"Label", label}, {"ClusterID", endpoint.cluster.text()}}},
               {"EndpointPort", endpoint.port},
               {"LbWeight", endpoint.weight == 1 ? 0 : endpoint.weight},
               {"TLSMode", endpoint.mtls ? "istio" : "disabled"},
               {"Namespace", endpoint.ns},
               {"WorkloadName", endpoint.workload},
               {"HostName", endpoint.hostname},
               {"HealthStatus", HealthNumber(endpoint.health)},
               {"NodeName", endpoint.node}};
  // Ours: where it came from and how its network was decided.
  if (endpoint.provenance != nullptr)
    json["Provenance"] = {{"Source", endpoint.provenance->source},
                          {"NetworkSource", endpoint.provenance->network_source}};
  return json;
}

template <typename T>
void AddConfigs(const model::Configs::List<T>& list, Json& out) {
  if (list == nullptr) return;
  for (const auto& object : *list) {
    const config::Meta& meta = object->meta;
    Json metadata = {{"name", meta.name},
                     {"namespace", meta.ns},
                     {"resourceVersion", meta.resource_version},
                     {"generation", meta.generation},
                     {"creationTimestamp", base::FormatTime(meta.created)}};
    if (!meta.labels.empty()) metadata["labels"] = meta.labels;
    if (!meta.annotations.empty()) metadata["annotations"] = meta.annotations;
    out.push_back({{"kind", meta.kind},
                   {"apiVersion", meta.group + "/" + meta.version},
                   {"metadata", std::move(metadata)},
                   {"spec", Message(object->spec)}});
  }
}

}  // namespace

Json SyncJson(const ads::Server& server, const std::string& cluster) {
  constexpr std::pair<std::string_view, const char*> kOldNames[] = {
      {ads::kClusterType, "cluster"},
      {ads::kListenerType, "listener"},
      {ads::kRouteType, "route"},
      {ads::kEndpointType, "endpoint"},
      {ads::kExtensionType, "extensionconfig"}};
  Json all = Json::array();
  for (const ads::Connection& connection : server.connections()) {
    if (!connection.stream->node().is_proxy) continue;
    const model::Proxy& proxy = connection.stream->node().proxy;
    Json entry = {{"cluster_id", proxy.cluster.empty() ? cluster : proxy.cluster.text()},
                  {"proxy", proxy.id},
                  {"proxy_type", proxy.type == model::ProxyType::kRouter ? "router" : "sidecar"},
                  {"istio_version", proxy.version}};
    for (const auto& subscription : connection.stream->subscriptions()) {
      if (subscription->nonce_sent().empty()) continue;
      Json resource = {{"sent", subscription->nonce_sent()},
                       {"sentTime", base::FormatTime(subscription->last_sent())}};
      if (!subscription->nonce_acked().empty()) {
        resource["acked"] = subscription->nonce_acked();
        resource["ackedTime"] = base::FormatTime(subscription->last_acked());
      }
      if (!subscription->error().empty()) resource["error"] = subscription->error();
      for (const auto& [type, name] : kOldNames) {
        if (type != subscription->type_url()) continue;
        entry[std::string(name) + "_sent"] = subscription->nonce_sent();
        if (!subscription->nonce_acked().empty())
          entry[std::string(name) + "_acked"] = subscription->nonce_acked();
      }
      entry["resources"][std::string(subscription->type_url())] = std::move(resource);
    }
    all.push_back(std::move(entry));
  }
  return all;
}

Json ConnectionsJson(const ads::Server& server) {
  Json clients = Json::array();
  for (const ads::Connection& connection : server.connections())
    clients.push_back({{"connectionId", connection.id},
                       {"connectedAt", base::FormatTime(connection.connected)},
                       {"address", connection.peer},
                       {"verifiedNamespace", connection.stream->verified_ns()},
                       {"settled", connection.stream->Settled()}});
  const size_t count = clients.size();
  return {{"totalClients", count}, {"version", server.version()}, {"clients", std::move(clients)}};
}

Json ServicesJson(const model::Snapshot& snapshot) {
  Json all = Json::array();
  if (snapshot.services == nullptr) return all;
  for (const auto& [hostname, services] : *snapshot.services)
    for (const auto& service : services) all.push_back(ServiceJson(*service));
  return all;
}

Json EndpointShardsJson(const model::Snapshot& snapshot) {
  Json all = Json::object();
  if (snapshot.endpoints == nullptr) return all;
  for (const auto& [key, endpoints] : *snapshot.endpoints) {
    const size_t slash = key.rfind('/');
    Json shards = Json::object();
    for (const auto& shard : endpoints->shards) {
      Json list = Json::array();
      for (const model::Endpoint& endpoint : shard->endpoints)
        list.push_back(EndpointJson(endpoint));
      shards[shard->provider + "/" + shard->cluster.text()] = std::move(list);
    }
    Json accounts = Json::object();
    for (const std::string& account : endpoints->service_accounts)
      accounts[account] = Json::object();
    all[key.substr(0, slash)][key.substr(slash + 1)] = {{"Shards", std::move(shards)},
                                                        {"ServiceAccounts", std::move(accounts)}};
  }
  return all;
}

Json NetworksJson(const model::Snapshot& snapshot) {
  Json all = Json::array();
  if (snapshot.gateways == nullptr) return all;
  for (const model::NetworkGateway& gateway : snapshot.gateways->all())
    all.push_back(
        {{"Network", gateway.network.text()},
         {"Cluster", gateway.cluster.text()},
         {"Addr", gateway.address},
         {"Port", gateway.port},
         {"HBONEPort", gateway.hbone_port},
         {"ServiceAccount",
          {{"Namespace", gateway.service_account_ns}, {"Name", gateway.service_account}}}});
  return all;
}

Json ConfigsJson(const model::Snapshot& snapshot) {
  Json all = Json::array();
  const model::Configs& configs = snapshot.configs;
  AddConfigs(configs.authorization_policies, all);
  AddConfigs(configs.destination_rules, all);
  AddConfigs(configs.envoy_filters, all);
  AddConfigs(configs.gateways, all);
  AddConfigs(configs.peer_authentications, all);
  AddConfigs(configs.request_authentications, all);
  AddConfigs(configs.service_entries, all);
  AddConfigs(configs.sidecars, all);
  AddConfigs(configs.telemetries, all);
  AddConfigs(configs.virtual_services, all);
  return all;
}

Json MeshJson(const model::Snapshot& snapshot) {
  return snapshot.mesh == nullptr ? Json::object() : Message(*snapshot.mesh);
}

}  // namespace isthmus::controlplane
