#pragma once

#include <memory>
#include <string>

#include "model/proxy.h"
#include "model/snapshot.h"
#include "translate/authorization.h"
#include "translate/destination_rules.h"
#include "translate/envoy_filters.h"
#include "translate/mesh_settings.h"
#include "translate/peer_authentication.h"
#include "translate/proxy_class.h"
#include "translate/request_authentication.h"
#include "translate/service_index.h"
#include "translate/sidecar_scope.h"
#include "translate/telemetry.h"
#include "translate/virtual_services.h"

namespace isthmus::translate {

/// A snapshot with the indexes that translation asks. Immutable; indexes of lists that did not
/// change are taken over from the world before.
struct World {
  std::shared_ptr<const model::Snapshot> snapshot;
  std::shared_ptr<const MeshSettings> mesh;
  std::shared_ptr<const ServiceIndex> services;
  std::shared_ptr<const DestinationRuleIndex> rules;
  std::shared_ptr<const VirtualServiceIndex> routes;
  std::shared_ptr<const PeerAuthenticationIndex> authentication;
  std::shared_ptr<const AuthorizationIndex> authorization;
  std::shared_ptr<const RequestAuthenticationIndex> tokens;
  std::shared_ptr<const SidecarIndex> sidecars;
  std::shared_ptr<const TelemetryIndex> telemetry;
  std::shared_ptr<const EnvoyFilterIndex> patches;
  std::shared_ptr<const model::GatewayIndex> gateways;             ///< Never null.
  std::shared_ptr<const model::GatewayIndex> unresolved_gateways;  ///< Never null.

  /// Null when no endpoint is known.
  std::shared_ptr<const model::ServiceEndpoints> EndpointsOf(const model::Service& service) const;
};

std::shared_ptr<const World> BuildWorld(std::shared_ptr<const model::Snapshot> snapshot,
                                        const World* previous);

/// Whether both have the same indexes, so that they differ in endpoints, workloads and credentials
/// at most.
bool SameShape(const World& a, const World& b);

/// The proxy's pod or WorkloadEntry as the registry knows it; null when it does not.
std::shared_ptr<const model::Workload> WorkloadOf(const World& world, const model::Proxy& proxy);
/// The labels that selectors see: the registry's, else the proxy's own, with those of its place
/// added.
model::Labels LabelsOf(const World& world, const model::Proxy& proxy,
                       const model::Workload* workload);
/// The class whose outbound resources the proxy gets.
ProxyClass ClassOf(const World& world, const model::Proxy& proxy, const model::Workload* workload,
                   const model::Labels& labels);

}  // namespace isthmus::translate
