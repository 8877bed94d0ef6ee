#include "translate/inbound.h"

#include <algorithm>
#include <map>

#include "istio/security/v1/authorization_policy.pb.h"
#include "translate/inbound_listener.h"
#include "translate/names.h"

namespace isthmus::translate {
namespace {

bool Selected(const model::Service& service, const model::Labels& labels) {
  return !service.selector.empty() && Selects(service.selector, labels);
}

/// The port on which this proxy serves a service port whose target differs between pods; 0 when it
/// does not.
int NamedTarget(const World& world, const model::Proxy& proxy, const model::Service& service,
                const model::Port& port) {
  const auto endpoints = world.EndpointsOf(service);
  if (endpoints == nullptr) return 0;
  for (const auto& shard : endpoints->shards) {
    if (shard->cluster != proxy.cluster) continue;
    for (const model::Endpoint& endpoint : shard->endpoints) {
      if (endpoint.port_name != port.name) continue;
      if (std::find(proxy.addresses.begin(), proxy.addresses.end(), endpoint.address) !=
          proxy.addresses.end()) {
        return endpoint.port;
      }
    }
  }
  return 0;
}

}  // namespace

std::vector<InboundPort> InboundPortsOf(const World& world, const model::Proxy& proxy,
                                        const model::Labels& labels, bool* reads_endpoints) {
  std::map<int, InboundPort> ports;
  for (const ServicePtr& service : world.services->InNamespace(proxy.ns)) {
    if (service->resolution == model::Resolution::kAlias || !Selected(*service, labels)) continue;
    for (const model::Port& port : service->ports) {
      if (port.protocol == model::Protocol::kUdp) continue;
      if (port.target <= 0) *reads_endpoints = true;
      const int target = port.target > 0 ? port.target : NamedTarget(world, proxy, *service, port);
      if (target <= 0 || target == world.mesh->inbound_port) continue;
      InboundPort& inbound = ports[target];
      inbound.target = target;
      inbound.services.emplace_back(service, port);
    }
  }
  std::vector<InboundPort> result;
  for (auto& [target, port] : ports) result.push_back(std::move(port));
  return result;
}

std::shared_ptr<const InboundPart> InboundOf(const World& world, const model::Proxy& proxy,
                                             const model::Labels& labels, Workshop* workshop) {
  bool reads_endpoints = false;
  const std::vector<InboundPort> ports = InboundPortsOf(world, proxy, labels, &reads_endpoints);
  const WorkloadMtls mtls = world.authentication->ForWorkload(proxy.ns, labels);
  const WorkloadAuthorization authorization = world.authorization->For(proxy.ns, labels);
  InboundInputs inputs{*world.mesh, ports, mtls, authorization};
  auto any = [&](bool v6) {
    return std::any_of(proxy.addresses.begin(), proxy.addresses.end(),
                       [v6](const std::string& address) { return IsIpv6(address) == v6; });
  };
  inputs.ipv6 = any(true);
  inputs.ipv4 = any(false) || !inputs.ipv6;
  inputs.http10 = proxy.http10;
  inputs.tproxy = proxy.interception == model::Proxy::Interception::kTproxy;
  MemoKey key("inbound");
  key.Add(world.mesh)
      .Add(inputs.ipv4)
      .Add(inputs.ipv6)
      .Add(inputs.http10)
      .Add(inputs.tproxy)
      .Add(mtls.mode);
  key.Add(reads_endpoints);
  for (const auto* list :
       {&authorization.custom, &authorization.audit, &authorization.deny, &authorization.allow}) {
    key.Add(list->size());
    for (const auto& policy : *list) key.Add(policy);
  }
  key.Add(mtls.ports.size());
  for (const auto& [port, mode] : mtls.ports) key.Add(port).Add(mode);
  for (const InboundPort& port : ports) {
    key.Add(port.target).Add(port.services.size());
    for (const auto& [service, service_port] : port.services)
      key.Add(service).Add(service_port.number);
  }
  return workshop->memo.Get<InboundPart>(key, [&] {
    auto part = std::make_shared<InboundPart>();
    part->reads_endpoints = reads_endpoints;
    auto clusters = BuildInboundClusters(*world.mesh, inputs.ipv4, ports);
    workshop->interned.Intern(&clusters);
    part->clusters = std::make_shared<const model::ResourceSet>(std::move(clusters));
    part->listeners = std::make_shared<const model::ResourceSet>(
        Resources{workshop->interned.Intern(BuildInboundListener(inputs))});
    return std::shared_ptr<const InboundPart>(std::move(part));
  });
}

}  // namespace isthmus::translate
