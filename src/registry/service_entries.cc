#include "registry/service_entries.h"

#include <algorithm>
#include <set>
#include <tuple>
#include <utility>

#include "base/strings.h"
#include "config/hosts.h"
#include "istio/networking/v1/service_entry.pb.h"

namespace isthmus::registry {
namespace {

using istio::networking::v1::ServiceEntry;
using istio::networking::v1::WorkloadEntry;

model::Resolution ToResolution(ServiceEntry::Resolution resolution) {
  switch (resolution) {
    case ServiceEntry::STATIC:
      return model::Resolution::kEndpoints;
    case ServiceEntry::DNS:
      return model::Resolution::kDns;
    case ServiceEntry::DNS_ROUND_ROBIN:
      return model::Resolution::kDnsRoundRobin;
    case ServiceEntry::DYNAMIC_DNS:
      return model::Resolution::kDynamicDns;
    default:
      return model::Resolution::kPassthrough;
  }
}

std::vector<model::Port> Ports(const ServiceEntry& entry) {
  std::vector<model::Port> ports;
  for (const auto& item : entry.ports()) {
    model::Port port;
    port.name = item.name();
    port.number = static_cast<int>(item.number());
    port.target = static_cast<int>(item.target_port() != 0 ? item.target_port() : item.number());
    const std::string protocol = base::ToLower(item.protocol());
    port.protocol = model::ParseProtocol(protocol == "udp", protocol, "", port.number);
    ports.push_back(std::move(port));
  }
  return ports;
}

/// "10.0.0.1/32" is an address, not a range.
std::string WithoutFullMask(const std::string& address) {
  std::string_view text = address;
  if (text.find(':') == std::string_view::npos)
    base::ConsumeSuffix(text, "/32");
  else
    base::ConsumeSuffix(text, "/128");
  return std::string(text);
}

void AddInline(const ServiceEntryObject& object, const std::string& host, const ClusterState& home,
               const std::vector<model::Port>& ports, std::vector<model::Endpoint>& out) {
  const std::string source = fmt::format("ServiceEntry {}/{}", object.meta.ns, object.meta.name);
  const bool dns = object.spec.resolution() == ServiceEntry::DNS ||
                   object.spec.resolution() == ServiceEntry::DNS_ROUND_ROBIN;
  if (object.spec.endpoints().empty() && dns && !config::IsWildcardHost(host)) {
    // The host is its own only endpoint.
    WorkloadEntry self;
    self.set_address(host);
    model::Endpoint endpoint = home.EntryEndpoint(self, object.meta.ns, "", source);
    for (const model::Port& port : ports) {
      endpoint.port = static_cast<uint16_t>(port.target);
      endpoint.port_name = port.name;
      out.push_back(endpoint);
    }
  }
  for (const WorkloadEntry& item : object.spec.endpoints()) {
    model::Endpoint endpoint = home.EntryEndpoint(item, object.meta.ns, object.meta.name, source);
    const bool is_socket = item.address().starts_with("unix://");
    for (const model::Port& port : ports) {
      auto own = item.ports().find(port.name);
      const uint32_t number =
          own != item.ports().end() ? own->second : static_cast<uint32_t>(port.target);
      endpoint.port = is_socket ? 0 : static_cast<uint16_t>(number);
      endpoint.port_name = port.name;
      out.push_back(endpoint);
    }
  }
}

uint32_t StableHash(const std::string& text) {
  uint32_t hash = 2166136261u;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
  return hash;
}

}  // namespace

std::vector<std::shared_ptr<const model::Service>> EntryServices(
    const ServiceEntryObject& entry, const std::string& host, const std::string& auto_address,
    const model::Visibility& export_to) {
  model::Service service;
  service.hostname = host;
  service.ns = entry.meta.ns;
  service.created = entry.meta.created;
  service.ports = Ports(entry.spec);
  service.resolution = ToResolution(entry.spec.resolution());
  service.auto_address = auto_address;
  service.labels = entry.meta.labels;
  if (entry.spec.has_workload_selector())
    service.selector = model::Labels(entry.spec.workload_selector().labels().begin(),
                                     entry.spec.workload_selector().labels().end());
  service.export_to = export_to;
  service.subject_alt_names.assign(entry.spec.subject_alt_names().begin(),
                                   entry.spec.subject_alt_names().end());
  service.external = entry.spec.location() == ServiceEntry::MESH_EXTERNAL;
  service.kubernetes = false;
  auto wish = entry.meta.annotations.find("networking.istio.io/traffic-distribution");
  if (wish != entry.meta.annotations.end())
    service.traffic_distribution = TrafficDistribution(wish->second);
  std::vector<std::shared_ptr<const model::Service>> services;
  for (const std::string& address : entry.spec.addresses()) {
    service.default_address = WithoutFullMask(address);
    services.push_back(std::make_shared<const model::Service>(service));
  }
  if (services.empty())
    services.push_back(std::make_shared<const model::Service>(std::move(service)));
  return services;
}

std::vector<model::Endpoint> EntryEndpoints(const ServiceEntryObject& entry,
                                            const std::string& host, const ClusterState& home,
                                            const std::vector<const ClusterState*>& clusters) {
  std::vector<model::Endpoint> endpoints;
  if (entry.spec.resolution() == ServiceEntry::DYNAMIC_DNS) return endpoints;
  const std::vector<model::Port> ports = Ports(entry.spec);
  if (entry.spec.has_workload_selector()) {
    const auto& map = entry.spec.workload_selector().labels();
    const model::Labels selector(map.begin(), map.end());
    const std::string source = fmt::format("ServiceEntry {}/{}", entry.meta.ns, entry.meta.name);
    if (!selector.empty())
      for (const ClusterState* cluster : clusters)
        for (model::Endpoint& endpoint :
             cluster->SelectEndpoints(entry.meta.ns, selector, ports, source))
          endpoints.push_back(std::move(endpoint));
  } else {
    AddInline(entry, host, home, ports, endpoints);
  }
  return endpoints;
}

bool WantsAutoAddress(const ServiceEntryObject& entry, const std::string& host) {
  if (!entry.spec.addresses().empty() || entry.spec.resolution() == ServiceEntry::NONE)
    return false;
  if (config::IsWildcardHost(host) && entry.spec.resolution() != ServiceEntry::DYNAMIC_DNS)
    return false;
  auto label = entry.meta.labels.find("networking.istio.io/enable-autoallocate-ip");
  return label == entry.meta.labels.end() || label->second != "false";
}

std::map<std::string, std::string> AllocateAddresses(const std::vector<std::string>& keys) {
  // Host parts 1 to 254 of each of the 256 third bytes.
  constexpr uint32_t kSlots = 256 * 254;
  std::map<std::string, std::string> addresses;
  std::set<uint32_t> taken;
  for (const std::string& key : keys) {
    if (taken.size() == kSlots) break;
    uint32_t slot = StableHash(key) % kSlots;
    while (!taken.insert(slot).second) slot = (slot + 1) % kSlots;
    addresses[key] = fmt::format("240.240.{}.{}", slot / 254, slot % 254 + 1);
  }
  return addresses;
}

}  // namespace isthmus::registry
