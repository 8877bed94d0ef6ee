#include "tests/translate/test_world.h"

#include <google/protobuf/any.pb.h>
#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <stdexcept>
#include <tuple>

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

namespace isthmus::translate {
namespace {

using kubeapi::Json;
namespace v1 = istio::networking::v1;
namespace security = istio::security::v1;

[[noreturn]] void Fail(const std::string& reason) {
  throw std::runtime_error("test world: " + reason);
}

std::string Text(const Json& object, const char* key, const std::string& fallback = "") {
  return object.contains(key) ? object.at(key).get<std::string>() : fallback;
}

model::Labels ReadLabels(const Json& object, const char* key) {
  model::Labels labels;
  if (object.contains(key)) labels = object.at(key).get<model::Labels>();
  return labels;
}

template <typename T>
void Parse(const Json& json, T* message) {
  auto status = google::protobuf::util::JsonStringToMessage(json.dump(), message);
  if (!status.ok()) Fail(status.ToString() + " in " + json.dump());
}

template <typename T>
void AddConfig(const Json& object, std::shared_ptr<const config::ObjectList<T>>* list) {
  auto parsed = std::make_shared<config::Object<T>>();
  parsed->meta.kind = Text(object, "kind");
  parsed->meta.name = object.at("metadata").at("name");
  parsed->meta.ns = Text(object.at("metadata"), "namespace", "default");
  if (object.at("metadata").contains("annotations")) {
    parsed->meta.annotations = object.at("metadata").at("annotations").get<model::Labels>();
  }
  if (object.contains("spec")) Parse(object.at("spec"), &parsed->spec);
  auto longer = std::make_shared<config::ObjectList<T>>(**list);
  // Creation order is the order of the file.
  parsed->meta.created = base::Time(std::chrono::seconds(longer->size()));
  longer->push_back(std::move(parsed));
  *list = std::move(longer);
}

void AddObject(const Json& object, model::Configs* configs) {
  const std::string kind = Text(object, "kind");
  if (kind == "VirtualService") return AddConfig(object, &configs->virtual_services);
  if (kind == "DestinationRule") return AddConfig(object, &configs->destination_rules);
  if (kind == "Gateway") return AddConfig(object, &configs->gateways);
  if (kind == "Sidecar") return AddConfig(object, &configs->sidecars);
  if (kind == "PeerAuthentication") return AddConfig(object, &configs->peer_authentications);
  if (kind == "AuthorizationPolicy") return AddConfig(object, &configs->authorization_policies);
  if (kind == "RequestAuthentication") return AddConfig(object, &configs->request_authentications);
  if (kind == "Telemetry") return AddConfig(object, &configs->telemetries);
  if (kind == "EnvoyFilter") return AddConfig(object, &configs->envoy_filters);
  Fail("unknown kind " + kind);
}

template <typename T>
void Empty(std::shared_ptr<const config::ObjectList<T>>* list) {
  *list = std::make_shared<config::ObjectList<T>>();
}

const std::map<std::string, model::Resolution> kResolutions = {
    {"endpoints", model::Resolution::kEndpoints},
    {"dns", model::Resolution::kDns},
    {"dns-round-robin", model::Resolution::kDnsRoundRobin},
    {"passthrough", model::Resolution::kPassthrough},
    {"alias", model::Resolution::kAlias},
};
const std::map<std::string, model::Health> kHealth = {
    {"healthy", model::Health::kHealthy},
    {"unhealthy", model::Health::kUnhealthy},
    {"draining", model::Health::kDraining},
    {"terminating", model::Health::kTerminating},
};

model::Port ReadPort(const Json& object) {
  model::Port port;
  port.name = Text(object, "name");
  port.number = object.at("number");
  port.target = object.value("target", port.number);
  port.protocol = model::ParseProtocol(object.value("udp", false), Text(object, "appProtocol"),
                                       port.name, port.number);
  return port;
}

model::Endpoint ReadEndpoint(const Json& object, const model::Service& service,
                             const model::Port& port) {
  model::Endpoint endpoint;
  endpoint.address = Text(object, "address");
  endpoint.port =
      static_cast<uint16_t>(object.value("port", port.target > 0 ? port.target : port.number));
  endpoint.port_name = port.name;
  endpoint.cluster = model::ClusterId(Text(object, "cluster", "cluster1"));
  endpoint.network = model::NetworkId(Text(object, "network"));
  endpoint.locality = model::Locality::Parse(Text(object, "locality"));
  auto labels = std::make_shared<model::Labels>(ReadLabels(object, "labels"));
  endpoint.mtls = object.value("mtls", true);
  endpoint.labels = std::move(labels);
  endpoint.ns = service.ns;
  const std::string account = Text(object, "account");
  if (!account.empty())
    endpoint.service_account = "spiffe://cluster.local/ns/" + service.ns + "/sa/" + account;
  endpoint.weight = object.value("weight", 1u);
  endpoint.health = kHealth.at(Text(object, "health", "healthy"));
  endpoint.node = Text(object, "node");
  endpoint.workload = Text(object, "workload");
  endpoint.hostname = Text(object, "hostname");
  return endpoint;
}

std::shared_ptr<const model::ServiceEndpoints> ReadEndpoints(const Json& list,
                                                             const model::Service& service) {
  std::map<model::ClusterId, std::shared_ptr<model::ServiceEndpoints::Shard>> shards;
  auto result = std::make_shared<model::ServiceEndpoints>();
  for (const Json& object : list) {
    for (const model::Port& port : service.ports) {
      if (object.contains("portName") && object.at("portName") != port.name) continue;
      model::Endpoint endpoint = ReadEndpoint(object, service, port);
      if (!endpoint.service_account.empty())
        result->service_accounts.insert(endpoint.service_account);
      auto& shard = shards[endpoint.cluster];
      if (shard == nullptr) shard = std::make_shared<model::ServiceEndpoints::Shard>();
      shard->provider = service.kubernetes ? "Kubernetes" : "External";
      shard->cluster = endpoint.cluster;
      shard->endpoints.push_back(std::move(endpoint));
    }
  }
  for (auto& [cluster, shard] : shards) {
    std::sort(shard->endpoints.begin(), shard->endpoints.end(), [](const auto& a, const auto& b) {
      return std::tie(a.address, a.port) < std::tie(b.address, b.port);
    });
    result->shards.push_back(std::move(shard));
  }
  return result;
}

void ReadService(const Json& object, int order, model::Snapshot::ServiceMap* services,
                 model::Snapshot::EndpointMap* endpoints) {
  auto service = std::make_shared<model::Service>();
  service->ns = Text(object, "ns", "default");
  service->name = Text(object, "name");
  service->kubernetes = !object.contains("host");
  service->hostname =
      Text(object, "host", service->name + "." + service->ns + ".svc.cluster.local");
  service->created = base::Time(std::chrono::seconds(object.value("created", order)));
  for (const Json& port : object.value("ports", Json::array()))
    service->ports.push_back(ReadPort(port));
  service->resolution = kResolutions.at(Text(object, "resolution", "endpoints"));
  service->external = object.value("external", false);
  service->headless = object.value("headless", false);
  if (service->headless) {
    service->resolution = model::Resolution::kPassthrough;
    service->default_address = "0.0.0.0";
  }
  if (object.contains("vips")) {
    for (const auto& [cluster, vips] : object.at("vips").items()) {
      service->cluster_vips[model::ClusterId(cluster)] = vips.get<std::vector<std::string>>();
    }
    if (!service->cluster_vips.empty())
      service->default_address = service->cluster_vips.begin()->second.front();
  }
  service->default_address = Text(object, "address", service->default_address);
  service->auto_address = Text(object, "autoAddress");
  service->labels = ReadLabels(object, "labels");
  service->selector = ReadLabels(object, "selector");
  service->alias_of = Text(object, "aliasOf");
  service->cluster_local = object.value("clusterLocal", false);
  service->node_local = object.value("nodeLocal", false);
  service->traffic_distribution = Text(object, "trafficDistribution");
  if (object.contains("exportTo")) {
    service->export_to = {false, object.at("exportTo").get<std::set<std::string>>()};
  }
  if (object.contains("endpoints")) {
    (*endpoints)[service->hostname + "/" + service->ns] =
        ReadEndpoints(object.at("endpoints"), *service);
  }
  (*services)[service->hostname].push_back(std::move(service));
}

std::shared_ptr<const model::GatewayIndex> ReadGateways(const Json& list) {
  std::vector<model::NetworkGateway> gateways;
  for (const Json& object : list) {
    model::NetworkGateway gateway;
    gateway.network = model::NetworkId(Text(object, "network"));
    gateway.cluster = model::ClusterId(Text(object, "cluster"));
    gateway.address = Text(object, "address");
    gateway.port = object.value("port", 15443);
    gateways.push_back(std::move(gateway));
  }
  return std::make_shared<const model::GatewayIndex>(std::move(gateways));
}

model::Proxy ReadProxy(const Json& object) {
  model::Proxy proxy;
  proxy.type = Text(object, "type", "sidecar") == "router" ? model::ProxyType::kRouter
                                                           : model::ProxyType::kSidecar;
  proxy.pod = Text(object, "pod");
  proxy.ns = Text(object, "ns", "default");
  proxy.id = proxy.pod + "." + proxy.ns;
  proxy.domain_suffix = "cluster.local";
  proxy.addresses = object.value("addresses", std::vector<std::string>{"10.9.9.9"});
  proxy.cluster = model::ClusterId(Text(object, "cluster", "cluster1"));
  proxy.network = model::NetworkId(Text(object, "network"));
  proxy.labels = ReadLabels(object, "labels");
  proxy.locality = model::Locality::Parse(Text(object, "locality"));
  proxy.service_account = Text(object, "account", "default");
  proxy.version = Text(object, "version");
  proxy.node_name = Text(object, "node");
  for (const std::string& network : object.value("view", std::vector<std::string>())) {
    proxy.network_view.insert(model::NetworkId(network));
  }
  proxy.dns_capture = object.value("dnsCapture", false);
  proxy.unprivileged = object.value("unprivileged", false);
  return proxy;
}

std::shared_ptr<const istio::mesh::v1alpha1::MeshConfig> ReadMesh(const Json& json) {
  auto mesh = std::make_shared<istio::mesh::v1alpha1::MeshConfig>();
  mesh->mutable_outbound_traffic_policy()->set_mode(
      istio::mesh::v1alpha1::MeshConfig::OutboundTrafficPolicy::ALLOW_ANY);
  Parse(json, mesh.get());
  return mesh;
}

std::shared_ptr<const std::map<std::string, model::Credential>> ReadCredentials(const Json& list) {
  auto credentials = std::make_shared<std::map<std::string, model::Credential>>();
  for (const auto& [key, value] : list.items()) {
    (*credentials)[key] = {Text(value, "cert"), Text(value, "key"), Text(value, "ca")};
  }
  return credentials;
}

template <typename List>
void DiffConfigs(const char* kind, const List& before, const List& after,
                 model::ChangeSet* changes) {
  if (before.get() == after.get()) return;
  std::map<std::string, const void*> old;
  for (const auto& object : *before) old[object->meta.ns + "/" + object->meta.name] = object.get();
  auto report = [&](const std::string& name) {
    changes->config_kinds.insert(kind);
    changes->configs.insert(std::string(kind) + "/" + name);
  };
  for (const auto& object : *after) {
    const std::string name = object->meta.ns + "/" + object->meta.name;
    auto found = old.find(name);
    if (found == old.end() || found->second != object.get()) report(name);
    if (found != old.end()) old.erase(found);
  }
  for (const auto& [name, object] : old) report(name);
}

}  // namespace

TestWorld ParseWorld(const std::string& yaml) {
  auto parsed = kubeapi::ParseYaml(yaml);
  if (!parsed.ok()) Fail(parsed.status().message());
  const Json& json = *parsed;
  TestWorld world;
  world.snapshot = std::make_shared<model::Snapshot>();
  model::Snapshot& snapshot = *world.snapshot;
  snapshot.version = 1;
  snapshot.config_cluster = model::ClusterId("cluster1");
  snapshot.mesh = ReadMesh(json.value("mesh", Json::object()));
  model::Configs& configs = snapshot.configs;
  Empty(&configs.virtual_services);
  Empty(&configs.destination_rules);
  Empty(&configs.gateways);
  Empty(&configs.service_entries);
  Empty(&configs.sidecars);
  Empty(&configs.peer_authentications);
  Empty(&configs.authorization_policies);
  Empty(&configs.request_authentications);
  Empty(&configs.telemetries);
  Empty(&configs.envoy_filters);
  auto services = std::make_shared<model::Snapshot::ServiceMap>();
  auto endpoints = std::make_shared<model::Snapshot::EndpointMap>();
  int order = 0;
  for (const Json& object : json.value("services", Json::array())) {
    ReadService(object, order++, services.get(), endpoints.get());
  }
  snapshot.services = std::move(services);
  snapshot.endpoints = std::move(endpoints);
  snapshot.gateways = ReadGateways(json.value("gateways", Json::array()));
  snapshot.unresolved_gateways = snapshot.gateways;
  snapshot.credentials = ReadCredentials(json.value("credentials", Json::object()));
  for (const Json& object : json.value("configs", Json::array())) AddObject(object, &configs);
  for (const Json& object : json.value("proxies", Json::array())) {
    const std::string name = Text(object, "name");
    world.proxies[name] = ReadProxy(object);
  }
  return world;
}

kubeapi::Json ViewToJson(const model::View& view) {
  Json result = Json::object();
  for (const auto& [type, sets] : view.types) {
    Json list = Json::array();
    for (const auto& set : sets) {
      for (const auto& resource : set->all()) {
        google::protobuf::Any any;
        if (!any.ParseFromArray(resource->any.data(), static_cast<int>(resource->any.size()))) {
          Fail("resource " + resource->name + " does not parse");
        }
        std::string text;
        auto status = google::protobuf::util::MessageToJsonString(any, &text);
        if (!status.ok()) Fail(resource->name + ": " + status.ToString());
        list.push_back(Json::parse(text));
      }
    }
    // Assignments are spread over sets by a hash; their order means nothing.
    if (type.ends_with("ClusterLoadAssignment")) {
      std::sort(list.begin(), list.end(), [](const Json& a, const Json& b) {
        return a.at("clusterName") < b.at("clusterName");
      });
    }
    if (!list.empty()) result[type.substr(type.rfind('.') + 1)] = std::move(list);
  }
  return result;
}

model::ChangeSet Difference(const model::Snapshot& before, const model::Snapshot& after) {
  model::ChangeSet changes;
  changes.everything = before.mesh != after.mesh;
  changes.gateways = before.gateways != after.gateways;
  auto services = [&](const model::Snapshot& a, const model::Snapshot& b) {
    for (const auto& [host, list] : *a.services) {
      auto other = b.services->find(host);
      if (other == b.services->end() || other->second != list) changes.services.insert(host);
    }
  };
  services(before, after);
  services(after, before);
  auto endpoints = [&](const model::Snapshot& a, const model::Snapshot& b) {
    for (const auto& [key, value] : *a.endpoints) {
      auto other = b.endpoints->find(key);
      if (other == b.endpoints->end() || other->second != value) changes.endpoints.insert(key);
    }
  };
  endpoints(before, after);
  endpoints(after, before);
  DiffConfigs("VirtualService", before.configs.virtual_services, after.configs.virtual_services,
              &changes);
  DiffConfigs("DestinationRule", before.configs.destination_rules, after.configs.destination_rules,
              &changes);
  DiffConfigs("Gateway", before.configs.gateways, after.configs.gateways, &changes);
  DiffConfigs("Sidecar", before.configs.sidecars, after.configs.sidecars, &changes);
  DiffConfigs("PeerAuthentication", before.configs.peer_authentications,
              after.configs.peer_authentications, &changes);
  DiffConfigs("AuthorizationPolicy", before.configs.authorization_policies,
              after.configs.authorization_policies, &changes);
  DiffConfigs("RequestAuthentication", before.configs.request_authentications,
              after.configs.request_authentications, &changes);
  DiffConfigs("Telemetry", before.configs.telemetries, after.configs.telemetries, &changes);
  DiffConfigs("EnvoyFilter", before.configs.envoy_filters, after.configs.envoy_filters, &changes);
  if (before.credentials != after.credentials) {
    for (const auto& [key, value] : *before.credentials) changes.credentials.insert(key);
    for (const auto& [key, value] : *after.credentials) changes.credentials.insert(key);
  }
  return changes;
}

}  // namespace isthmus::translate
