#include "translate/world.h"

#include "istio/networking/v1/destination_rule.pb.h"
#include "istio/security/v1/authorization_policy.pb.h"
#include "istio/security/v1/request_authentication.pb.h"
#include "istio/telemetry/v1/telemetry.pb.h"
#include "translate/names.h"
#include "translate/tracing.h"

namespace isthmus::translate {
namespace {

bool MeshUsesLocality(const MeshSettings& mesh) {
  return mesh.locality != nullptr && mesh.locality->distribute_size() > 0;
}

void AddLabel(const char* key, const std::string& value, bool overwrite, model::Labels* labels) {
  if (value.empty()) return;
  if (overwrite) {
    (*labels)[key] = value;
  } else {
    labels->emplace(key, value);
  }
}

}  // namespace

std::shared_ptr<const model::ServiceEndpoints> World::EndpointsOf(
    const model::Service& service) const {
  if (snapshot->endpoints == nullptr) return nullptr;
  auto found = snapshot->endpoints->find(service.hostname + "/" + service.ns);
  return found == snapshot->endpoints->end() ? nullptr : found->second;
}

std::shared_ptr<const World> BuildWorld(std::shared_ptr<const model::Snapshot> snapshot,
                                        const World* previous) {
  auto world = std::make_shared<World>();
  const model::Snapshot* old = previous == nullptr ? nullptr : previous->snapshot.get();
  const bool same_mesh = old != nullptr && old->mesh == snapshot->mesh &&
                         old->domain_suffix == snapshot->domain_suffix &&
                         old->root_namespace == snapshot->root_namespace;
  world->mesh = same_mesh ? previous->mesh : ReadMeshSettings(*snapshot);
  world->services = old != nullptr && old->services == snapshot->services
                        ? previous->services
                        : std::make_shared<const ServiceIndex>(snapshot->services);
  world->rules =
      same_mesh && old->configs.destination_rules.get() == snapshot->configs.destination_rules.get()
          ? previous->rules
          : std::make_shared<const DestinationRuleIndex>(
                *snapshot, *world->mesh, same_mesh ? previous->rules.get() : nullptr);
  world->routes =
      same_mesh && old->configs.virtual_services.get() == snapshot->configs.virtual_services.get()
          ? previous->routes
          : std::make_shared<const VirtualServiceIndex>(
                *snapshot, *world->mesh, same_mesh ? previous->routes.get() : nullptr);
  world->authentication = same_mesh && old->configs.peer_authentications.get() ==
                                           snapshot->configs.peer_authentications.get()
                              ? previous->authentication
                              : std::make_shared<const PeerAuthenticationIndex>(
                                    snapshot->configs, snapshot->root_namespace);
  world->authorization =
      same_mesh && old->configs.authorization_policies.get() ==
                       snapshot->configs.authorization_policies.get()
          ? previous->authorization
          : std::make_shared<const AuthorizationIndex>(snapshot->configs.authorization_policies,
                                                       snapshot->root_namespace);
  world->tokens = same_mesh && old->configs.request_authentications.get() ==
                                   snapshot->configs.request_authentications.get()
                      ? previous->tokens
                      : std::make_shared<const RequestAuthenticationIndex>(
                            snapshot->configs.request_authentications, snapshot->root_namespace);
  world->telemetry =
      same_mesh && old->configs.telemetries.get() == snapshot->configs.telemetries.get()
          ? previous->telemetry
          : std::make_shared<const TelemetryIndex>(snapshot->configs, world->mesh);
  world->patches =
      same_mesh && old->configs.envoy_filters.get() == snapshot->configs.envoy_filters.get()
          ? previous->patches
          : std::make_shared<const EnvoyFilterIndex>(
                snapshot->configs, snapshot->root_namespace,
                previous == nullptr ? nullptr : previous->patches.get());
  world->sidecars =
      same_mesh && old->configs.sidecars.get() == snapshot->configs.sidecars.get()
          ? previous->sidecars
          : std::make_shared<const SidecarIndex>(snapshot->configs, snapshot->root_namespace);
  auto gateways = [](const std::shared_ptr<const model::GatewayIndex>& index,
                     const std::shared_ptr<const model::GatewayIndex>* before) {
    if (index == nullptr) {
      const bool none = before != nullptr && (*before)->empty();
      return none ? *before : std::make_shared<const model::GatewayIndex>();
    }
    return before != nullptr && **before == *index ? *before : index;
  };
  world->gateways =
      gateways(snapshot->gateways, previous == nullptr ? nullptr : &previous->gateways);
  world->unresolved_gateways =
      gateways(snapshot->unresolved_gateways,
               previous == nullptr ? nullptr : &previous->unresolved_gateways);
  world->snapshot = std::move(snapshot);
  return world;
}

bool SameShape(const World& a, const World& b) {
  return a.mesh == b.mesh && a.services == b.services && a.rules == b.rules &&
         a.routes == b.routes && a.authentication == b.authentication &&
         a.authorization == b.authorization && a.sidecars == b.sidecars && a.tokens == b.tokens &&
         a.telemetry == b.telemetry && a.patches == b.patches;
}

std::shared_ptr<const model::Workload> WorkloadOf(const World& world, const model::Proxy& proxy) {
  const model::WorkloadIndex& workloads = world.snapshot->workloads;
  if (auto workload = workloads.Find(proxy.cluster, proxy.ns, proxy.pod)) return workload;
  for (const std::string& address : proxy.addresses) {
    auto workload = workloads.FindByAddress(proxy.cluster, address);
    if (workload != nullptr && workload->ns == proxy.ns) return workload;
  }
  return nullptr;
}

model::Labels LabelsOf(const World& world, const model::Proxy& proxy,
                       const model::Workload* workload) {
  model::Labels labels = workload == nullptr ? proxy.labels : *workload->labels;
  model::Locality locality = proxy.locality;
  if (workload != nullptr && !workload->locality.empty()) locality = workload->locality;
  AddLabel("topology.kubernetes.io/region", locality.region, false, &labels);
  AddLabel("topology.kubernetes.io/zone", locality.zone, false, &labels);
  AddLabel("topology.istio.io/subzone", locality.subzone, false, &labels);
  AddLabel("topology.istio.io/cluster", proxy.cluster.text(), true, &labels);
  AddLabel("topology.istio.io/network", proxy.network.text(), false, &labels);
  AddLabel("kubernetes.io/hostname", workload == nullptr ? proxy.node_name : workload->node, false,
           &labels);
  return labels;
}

ProxyClass ClassOf(const World& world, const model::Proxy& proxy, const model::Workload* workload,
                   const model::Labels& labels) {
  ProxyClass result;
  result.type = proxy.type;
  result.ns = proxy.ns;
  result.cluster = proxy.cluster;
  result.network = proxy.network;
  result.network_view = proxy.network_view;
  result.ipv4 = result.ipv6 = false;
  for (const std::string& address : proxy.addresses)
    (IsIpv6(address) ? result.ipv6 : result.ipv4) = true;
  if (!result.ipv6) result.ipv4 = true;
  result.dns_capture = proxy.dns_capture;
  result.unprivileged = proxy.unprivileged && result.router();
  result.http10 = proxy.http10;
  result.interception = proxy.interception;
  const bool by_locality = world.rules->uses_locality() || world.services->traffic_distribution() ||
                           MeshUsesLocality(*world.mesh);
  if (by_locality) {
    result.locality =
        workload != nullptr && !workload->locality.empty() ? workload->locality : proxy.locality;
  }
  if (world.services->node_local() || world.services->traffic_distribution()) {
    result.node = workload != nullptr && !workload->node.empty() ? workload->node : proxy.node_name;
  }
  result.telemetry = world.telemetry->NameFor(proxy.ns, labels);
  if (const auto tracer = world.telemetry->TracerFor(result.telemetry, false);
      tracer.has_value() && tracer->kind == Tracer::Kind::kOpenTelemetry) {
    result.traced_as = TracedAs(labels, workload == nullptr ? proxy.pod : workload->name, proxy.ns);
  }
  result.patches = world.patches->NameFor(proxy, labels);
  if (result.router()) {
    result.labels = labels;
    return result;
  }
  result.sidecar = world.sidecars->NameFor(proxy.ns, labels);
  auto keep = [&](const std::string& key) {
    if (auto found = labels.find(key); found != labels.end()) result.labels.insert(*found);
  };
  for (const std::string& key : world.rules->selector_keys()) keep(key);
  for (const std::string& key : world.rules->failover_labels()) keep(key);
  for (const std::string& key : world.routes->source_label_keys()) keep(key);
  if (world.mesh->locality != nullptr) {
    for (const std::string& label : world.mesh->locality->failover_priority())
      keep(label.substr(0, label.find('=')));
  }
  return result;
}

}  // namespace isthmus::translate
