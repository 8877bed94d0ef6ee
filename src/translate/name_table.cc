#include "translate/name_table.h"

#include <set>

#include "istio/networking/nds/v1/nds.pb.h"
#include "translate/names.h"
#include "translate/pack.h"
#include "translate/sidecar_ports.h"

namespace isthmus::translate {
namespace {

using istio::networking::nds::v1::NameTable;

/// A pod as DNS sees it: those of the own network that may be called. Pods of the own cluster come
/// first, so that they win where a name is used twice.
struct Pod {
  bool remote = false;
  std::string hostname;
  std::string address;
  auto operator<=>(const Pod&) const = default;
};

std::set<Pod> PodsOf(const ClassInputs& in, const model::Service& service) {
  std::set<Pod> pods;
  const auto endpoints = in.world.EndpointsOf(service);
  if (endpoints == nullptr) return pods;
  for (const auto& shard : endpoints->shards) {
    for (const model::Endpoint& endpoint : shard->endpoints) {
      if (!IsIpAddress(endpoint.address) || !in.proxy.Reaches(endpoint.address)) continue;
      const bool near = endpoint.network.empty() || endpoint.network == in.proxy.network;
      if (!near || (service.cluster_local && endpoint.cluster != in.proxy.cluster)) continue;
      if (endpoint.health != model::Health::kHealthy && !service.publish_not_ready) continue;
      pods.insert({endpoint.cluster != in.proxy.cluster, endpoint.hostname, endpoint.address});
    }
  }
  return pods;
}

NameTable::NameInfo& Add(const model::Service& service, const std::string& host,
                         const std::string& shortname, NameTable* table) {
  NameTable::NameInfo& info = (*table->mutable_table())[host];
  info.set_registry(service.kubernetes ? "Kubernetes" : "External");
  if (service.kubernetes) {
    info.set_shortname(shortname);
    info.set_namespace_(service.ns);
  }
  return info;
}

void AddPods(const ClassInputs& in, const model::Service& service, NameTable* table) {
  std::set<std::string> addresses;
  std::set<std::string> named;
  for (const Pod& pod : PodsOf(in, service)) {
    addresses.insert(pod.address);
    if (!service.headless || pod.hostname.empty() || !named.insert(pod.hostname).second) continue;
    Add(service, pod.hostname + "." + service.hostname, pod.hostname + "." + service.name, table)
        .add_ips(pod.address);
  }
  if (addresses.empty()) return;
  NameTable::NameInfo& info = Add(service, service.hostname, service.name, table);
  for (const std::string& address : addresses) info.add_ips(address);
}

}  // namespace

std::shared_ptr<const model::Resource> BuildNameTable(const ClassInputs& in) {
  NameTable table;
  for (const ServicePtr& service : in.scope.services()) {
    if (service->resolution == model::Resolution::kAlias || service->hostname.starts_with('*'))
      continue;
    std::vector<std::string> addresses = DialledAddresses(in.proxy, *service);
    std::erase_if(addresses, [](const std::string& address) {
      return address.find('/') != std::string::npos;
    });
    if (addresses.empty()) {
      AddPods(in, *service, &table);
      continue;
    }
    NameTable::NameInfo& info = Add(*service, service->hostname, service->name, &table);
    for (const std::string& address : addresses) info.add_ips(address);
  }
  return in.workshop.interned.Intern(MakeResource("nametable", kNameTableType, table));
}

}  // namespace isthmus::translate
