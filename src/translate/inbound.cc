#include "translate/inbound.h"

#include <algorithm>
#include <map>

#include "istio/security/v1/authorization_policy.pb.h"
#include "istio/security/v1/request_authentication.pb.h"
#include "translate/envoy_patching.h"
#include "translate/external_authorization.h"
#include "translate/inbound_listener.h"
#include "translate/names.h"
#include "translate/tracing.h"

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

/// The ports that a Sidecar lists; `declared` are those of services, whose names they take over.
std::vector<InboundPort> IngressPorts(const SidecarScope& sidecar,
                                      const std::map<int, InboundPort>& declared) {
  std::map<int, InboundPort> ports;
  for (const SidecarScope::Ingress& ingress : sidecar.ingress) {
    InboundPort port;
    port.target = ingress.port;
    port.endpoint = ingress.endpoint;
    if (auto found = declared.find(ingress.port); found != declared.end()) {
      port.services = found->second.services;
    } else {
      port.services.emplace_back(ingress.service, ingress.service->ports.front());
    }
    for (auto& [service, service_port] : port.services) service_port.protocol = ingress.protocol;
    ports.emplace(ingress.port, std::move(port));
  }
  std::vector<InboundPort> result;
  for (auto& [number, port] : ports) result.push_back(std::move(port));
  return result;
}

/// The mesh's settings as telemetry has them for the server's side of this workload.
std::shared_ptr<const MeshSettings> InboundSettings(const World& world, const model::Proxy& proxy,
                                                    const model::Labels& labels) {
  const std::string name = world.telemetry->NameFor(proxy.ns, labels);
  TelemetryIndex::Place place;
  if (const auto tracer = world.telemetry->TracerFor(name, true)) {
    const auto sidecar = world.sidecars->Find(world.sidecars->NameFor(proxy.ns, labels));
    place.tracer_cluster = TracerCluster(*world.snapshot, sidecar.get(), proxy.ns, *tracer);
    if (tracer->kind == Tracer::Kind::kOpenTelemetry)
      place.service_name = TracedAs(labels, proxy.pod, proxy.ns);
  }
  return world.telemetry->SettingsFor(name, true, place);
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
  if (const auto sidecar = world.sidecars->Find(world.sidecars->NameFor(proxy.ns, labels));
      sidecar != nullptr && !sidecar->ingress.empty()) {
    return IngressPorts(*sidecar, ports);
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
  WorkloadAuthorization authorization = ByAction(world.authorization->For(proxy.ns, labels));
  const auto mesh = InboundSettings(world, proxy, labels);
  const EnvoyPatchesPtr patches = world.patches->Find(world.patches->NameFor(proxy, labels));
  const RequestAuthentications token_policies = world.tokens->For(proxy.ns, labels);
  InboundInputs inputs{*mesh, ports, mtls, authorization};
  auto any = [&](bool v6) {
    return std::any_of(proxy.addresses.begin(), proxy.addresses.end(),
                       [v6](const std::string& address) { return IsIpv6(address) == v6; });
  };
  inputs.ipv6 = any(true);
  inputs.ipv4 = any(false) || !inputs.ipv6;
  inputs.http10 = proxy.http10;
  inputs.tproxy = proxy.interception == model::Proxy::Interception::kTproxy;
  MemoKey key("inbound");
  key.Add(mesh)
      .Add(inputs.ipv4)
      .Add(inputs.ipv6)
      .Add(inputs.http10)
      .Add(inputs.tproxy)
      .Add(mtls.mode);
  key.Add(reads_endpoints).Add(patches);
  key.Add(token_policies.size());
  for (const auto& policy : token_policies) key.Add(policy);
  // Which hosts are services of the mesh.
  if (!token_policies.empty() || !authorization.custom.empty()) key.Add(world.services);
  for (const auto* list :
       {&authorization.custom, &authorization.audit, &authorization.deny, &authorization.allow}) {
    key.Add(list->size());
    for (const auto& policy : *list) key.Add(policy);
  }
  key.Add(mtls.ports.size());
  for (const auto& [port, mode] : mtls.ports) key.Add(port).Add(mode);
  for (const InboundPort& port : ports) {
    key.Add(port.target).Add(port.services.size()).Add(port.endpoint);
    for (const auto& [service, service_port] : port.services)
      key.Add(service).Add(service_port.number).Add(service_port.protocol);
  }
  return workshop->memo.Get<InboundPart>(key, [&] {
    auto part = std::make_shared<InboundPart>();
    part->reads_endpoints = reads_endpoints;
    const TokenChecks tokens =
        BuildTokenChecks(*mesh, *world.snapshot, token_policies, inputs.ipv4, false);
    inputs.first_filters = ExternalAuthorization(*mesh, *world.snapshot, &authorization);
    if (!tokens.filter.empty()) inputs.first_filters.push_back(tokens.filter);
    auto clusters = BuildInboundClusters(*mesh, inputs.ipv4, ports);
    clusters.insert(clusters.end(), tokens.clusters.begin(), tokens.clusters.end());
    workshop->interned.Intern(&clusters);
    KeptParts kept;  // Not kept: the part is found as a whole.
    part->clusters = std::make_shared<const model::ResourceSet>(
        PatchClusters(patches, PatchSide::kInbound, std::move(clusters), workshop, &kept));
    part->listeners = std::make_shared<const model::ResourceSet>(
        PatchListeners(patches, PatchSide::kInbound,
                       {workshop->interned.Intern(BuildInboundListener(inputs))}, workshop, &kept));
    return std::shared_ptr<const InboundPart>(std::move(part));
  });
}

}  // namespace isthmus::translate
