// How long translation takes for a mesh of 1,000 services with two ports and five pods each in ten
// namespaces: a class from cold, one endpoint, one VirtualService, one DestinationRule. Prints the
// median and the worst of several rounds.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "istio/mesh/v1alpha1/config.pb.h"
#include "istio/networking/v1/destination_rule.pb.h"
#include "istio/networking/v1/gateway.pb.h"
#include "istio/networking/v1/service_entry.pb.h"
#include "istio/networking/v1/sidecar.pb.h"
#include "istio/networking/v1/virtual_service.pb.h"
#include "istio/security/v1/authorization_policy.pb.h"
#include "istio/security/v1/peer_authentication.pb.h"
#include "translate/translator.h"

namespace isthmus::translate {
namespace {

using Clock = std::chrono::steady_clock;
constexpr int kServices = 1000;
constexpr int kPods = 5;
constexpr int kNamespaces = 10;

std::string NamespaceOf(int i) { return "ns" + std::to_string(i % kNamespaces); }
std::string HostOf(int i) {
  return "svc" + std::to_string(i) + "." + NamespaceOf(i) + ".svc.cluster.local";
}

std::shared_ptr<const model::ServiceEndpoints> Endpoints(int i, uint32_t weight) {
  auto shard = std::make_shared<model::ServiceEndpoints::Shard>();
  shard->provider = "Kubernetes";
  shard->cluster = model::ClusterId("cluster1");
  auto labels =
      std::make_shared<model::Labels>(model::Labels{{"app", "svc" + std::to_string(i)},
                                                    {"version", "v1"},
                                                    {"topology.istio.io/network", "network1"}});
  for (int pod = 0; pod < kPods; ++pod) {
    for (const auto& [name, port] : {std::pair("http", 8080), std::pair("tcp", 9090)}) {
      model::Endpoint endpoint;
      endpoint.address = fmt::format("10.{}.{}.{}", 1 + i / 250, i % 250, 1 + pod);
      endpoint.port = static_cast<uint16_t>(port);
      endpoint.port_name = name;
      endpoint.network = model::NetworkId("network1");
      endpoint.cluster = shard->cluster;
      endpoint.labels = labels;
      endpoint.ns = NamespaceOf(i);
      endpoint.service_account = "spiffe://cluster.local/ns/" + endpoint.ns + "/sa/svc";
      endpoint.mtls = true;
      endpoint.weight = weight;
      endpoint.workload = "svc" + std::to_string(i);
      shard->endpoints.push_back(std::move(endpoint));
    }
  }
  auto result = std::make_shared<model::ServiceEndpoints>();
  result->service_accounts = {"spiffe://cluster.local/ns/" + NamespaceOf(i) + "/sa/svc"};
  result->shards.push_back(std::move(shard));
  return result;
}

std::shared_ptr<model::Snapshot> World() {
  auto snapshot = std::make_shared<model::Snapshot>();
  auto mesh = std::make_shared<istio::mesh::v1alpha1::MeshConfig>();
  mesh->mutable_outbound_traffic_policy()->set_mode(
      istio::mesh::v1alpha1::MeshConfig::OutboundTrafficPolicy::ALLOW_ANY);
  snapshot->mesh = mesh;
  auto services = std::make_shared<model::Snapshot::ServiceMap>();
  auto endpoints = std::make_shared<model::Snapshot::EndpointMap>();
  for (int i = 0; i < kServices; ++i) {
    auto service = std::make_shared<model::Service>();
    service->hostname = HostOf(i);
    service->name = "svc" + std::to_string(i);
    service->ns = NamespaceOf(i);
    service->created = base::Time(std::chrono::seconds(i));
    service->ports = {{"http", 80, 8080, 0, model::Protocol::kHttp},
                      {"tcp", 9090, 9090, 0, model::Protocol::kTcp}};
    service->cluster_vips[model::ClusterId("cluster1")] = {
        fmt::format("10.96.{}.{}", i / 250, 1 + i % 250)};
    service->selector = {{"app", service->name}};
    (*services)[service->hostname].push_back(service);
    (*endpoints)[service->hostname + "/" + service->ns] = Endpoints(i, 1);
  }
  snapshot->services = std::move(services);
  snapshot->endpoints = std::move(endpoints);
  return snapshot;
}

model::Proxy Sidecar(int i) {
  model::Proxy proxy;
  proxy.ns = NamespaceOf(i);
  proxy.pod = "pod" + std::to_string(i);
  proxy.id = proxy.pod + "." + proxy.ns;
  proxy.cluster = model::ClusterId("cluster1");
  proxy.network = model::NetworkId("network1");
  proxy.addresses = {"10.1.0.1"};
  proxy.labels = {{"app", "svc" + std::to_string(i)}};
  return proxy;
}

void Report(const char* what, std::vector<double> milliseconds) {
  std::sort(milliseconds.begin(), milliseconds.end());
  fmt::print("{:<44} {:>9.3f} ms   worst {:>9.3f} ms\n", what,
             milliseconds[milliseconds.size() / 2], milliseconds.back());
}

template <typename Work>
double Time(const Work& work) {
  const auto begin = Clock::now();
  work();
  return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

void Cold() {
  std::vector<double> first, second;
  size_t bytes = 0;
  for (int round = 0; round < 5; ++round) {
    Translator translator;
    translator.Update(World(), model::ChangeSet{.everything = true});
    first.push_back(Time([&] { translator.ViewFor(Sidecar(0)); }));
    second.push_back(Time([&] { translator.ViewFor(Sidecar(1)); }));
    bytes = 0;
    for (const auto& [type, sets] : translator.ViewFor(Sidecar(0))->types) {
      for (const auto& set : sets) {
        for (const auto& resource : set->all()) bytes += resource->any.size();
      }
    }
  }
  Report("first class from cold", first);
  Report("second class (other namespace) from cold", second);
  fmt::print("configuration of one sidecar: {:.2f} MB\n", static_cast<double>(bytes) / 1e6);
}

/// Applies `change` again and again and times how long all classes take to follow.
template <typename Change>
void Follow(const char* what, const Change& change) {
  Translator translator;
  auto snapshot = World();
  translator.Update(snapshot, model::ChangeSet{.everything = true});
  for (int i = 0; i < kNamespaces; ++i) translator.ViewFor(Sidecar(i));
  std::vector<double> times;
  for (int round = 0; round < 30; ++round) {
    auto next = std::make_shared<model::Snapshot>(*snapshot);
    model::ChangeSet changes;
    change(round, next.get(), &changes);
    times.push_back(Time([&] {
                      translator.Update(next, changes);
                      for (int i = 0; i < kNamespaces; ++i) translator.ViewFor(Sidecar(i));
                    }) /
                    kNamespaces);
    snapshot = next;
  }
  Report(what, times);
}

void ChangeEndpoint(int round, model::Snapshot* next, model::ChangeSet* changes) {
  const int i = round * 31 % kServices;
  auto endpoints = std::make_shared<model::Snapshot::EndpointMap>(*next->endpoints);
  const std::string key = HostOf(i) + "/" + NamespaceOf(i);
  (*endpoints)[key] = Endpoints(i, 2 + round);
  next->endpoints = std::move(endpoints);
  changes->endpoints = {key};
}

void ChangeVirtualService(int round, model::Snapshot* next, model::ChangeSet* changes) {
  namespace v1 = istio::networking::v1;
  auto object = std::make_shared<config::Object<v1::VirtualService>>();
  object->meta.kind = "VirtualService";
  object->meta.ns = "ns0";
  object->meta.name = "route";
  object->spec.add_hosts(HostOf(0));
  auto* route = object->spec.add_http();
  route->mutable_timeout()->set_seconds(round + 1);
  route->add_route()->mutable_destination()->set_host(HostOf(0));
  next->configs.virtual_services = std::make_shared<config::ObjectList<v1::VirtualService>>(
      config::ObjectList<v1::VirtualService>{object});
  changes->config_kinds = {"VirtualService"};
  changes->configs = {"VirtualService/ns0/route"};
}

void ChangeDestinationRule(int round, model::Snapshot* next, model::ChangeSet* changes) {
  namespace v1 = istio::networking::v1;
  auto object = std::make_shared<config::Object<v1::DestinationRule>>();
  object->meta.kind = "DestinationRule";
  object->meta.ns = "ns0";
  object->meta.name = "rule";
  object->spec.set_host(HostOf(0));
  object->spec.mutable_traffic_policy()
      ->mutable_connection_pool()
      ->mutable_tcp()
      ->set_max_connections(round + 1);
  next->configs.destination_rules = std::make_shared<config::ObjectList<v1::DestinationRule>>(
      config::ObjectList<v1::DestinationRule>{object});
  changes->config_kinds = {"DestinationRule"};
  changes->configs = {"DestinationRule/ns0/rule"};
}

void ChangeService(int round, model::Snapshot* next, model::ChangeSet* changes) {
  auto services = std::make_shared<model::Snapshot::ServiceMap>(*next->services);
  auto& list = (*services)[HostOf(0)];
  auto changed = std::make_shared<model::Service>(*list.front());
  changed->labels["round"] = std::to_string(round);
  list = {changed};
  next->services = std::move(services);
  changes->services = {HostOf(0)};
}

}  // namespace
}  // namespace isthmus::translate

int main() {
  using namespace isthmus::translate;  // NOLINT: a page of a program.
  fmt::print("{} services, {} pods each, {} namespaces; times are for one class\n", kServices,
             kPods, kNamespaces);
  Cold();
  Follow("endpoint change", ChangeEndpoint);
  Follow("VirtualService change", ChangeVirtualService);
  Follow("DestinationRule change", ChangeDestinationRule);
  Follow("service change", ChangeService);
  return 0;
}
