#include "translate/sidecar_ports.h"

#include <algorithm>
#include <set>

namespace isthmus::translate {
namespace {

/// Taken on every sidecar by the virtual listeners and by those of the bootstrap.
bool Reserved(const MeshSettings& mesh, int port) {
  return port == mesh.outbound_port || port == mesh.inbound_port || port == 15021 || port == 15090;
}

std::vector<std::string> PodAddresses(const ClassInputs& in, const model::Service& service,
                                      const model::Port& port) {
  std::set<std::string> addresses;
  const auto endpoints = in.world.EndpointsOf(service);
  if (endpoints == nullptr) return {};
  for (const auto& shard : endpoints->shards) {
    for (const model::Endpoint& endpoint : shard->endpoints) {
      if (endpoint.port_name != port.name || endpoint.address.empty() ||
          endpoint.address.starts_with("unix:"))
        continue;
      if (service.cluster_local && endpoint.cluster != in.proxy.cluster) continue;
      if (in.proxy.Reaches(endpoint.address)) addresses.insert(endpoint.address);
    }
  }
  return {addresses.begin(), addresses.end()};
}

}  // namespace

std::vector<std::string> DialledAddresses(const ProxyClass& proxy, const model::Service& service) {
  std::vector<std::string> addresses;
  auto own = service.cluster_vips.find(proxy.cluster);
  if (own != service.cluster_vips.end() && !own->second.empty()) {
    addresses = own->second;
  } else if (std::string address = service.AddressFor(proxy.cluster, proxy.dns_capture);
             !address.empty()) {
    addresses = {address};
  }
  std::erase_if(addresses, [&](const std::string& address) {
    return address.empty() || address == "0.0.0.0" || address == "::" || !proxy.Reaches(address);
  });
  return addresses;
}

SidecarPorts PlanSidecarPorts(const ClassInputs& in) {
  SidecarPorts plan;
  std::set<std::pair<std::string, int>> taken;
  for (const ServicePtr& service : in.scope.services()) {
    if (service->resolution == model::Resolution::kAlias ||
        service->resolution == model::Resolution::kDynamicDns)
      continue;
    const std::vector<std::string> addresses = DialledAddresses(in.proxy, *service);
    for (const model::Port& port : service->ports) {
      if (port.protocol == model::Protocol::kUdp) continue;
      if (model::IsHttp(port.protocol)) {
        if (!Reserved(*in.world.mesh, port.number)) plan.wildcards[port.number].http = true;
        continue;
      }
      std::vector<std::string> own =
          service->headless ? PodAddresses(in, *service, port) : addresses;
      std::erase_if(
          own, [](const std::string& address) { return address.find('/') != std::string::npos; });
      for (const std::string& address : own) {
        if (taken.emplace(address, port.number).second)
          plan.addressed.push_back({{service, &port}, address});
      }
      if (own.empty() && !service->headless && !Reserved(*in.world.mesh, port.number)) {
        plan.wildcards[port.number].streams.push_back({service, &port});
      }
    }
  }
  return plan;
}

}  // namespace isthmus::translate
