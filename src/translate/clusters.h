#pragma once

#include <memory>
#include <string>
#include <vector>

#include "model/view.h"
#include "translate/endpoints.h"
#include "translate/locality.h"

namespace envoy::config::cluster::v3 {
class CircuitBreakers_Thresholds;
class Cluster;
}  // namespace envoy::config::cluster::v3

namespace isthmus::translate {

/// One load assignment that a cluster will ask for.
struct EndpointRequest {
  std::string name;  ///< Of the cluster and the assignment.
  int port = 0;
  std::string subset;
  bool sni = false;
};

/// The Envoy clusters of one service, in order, and what they ask of endpoint discovery. Frozen.
struct ServiceClusters {
  std::vector<std::shared_ptr<const model::Resource>> clusters;
  std::vector<EndpointRequest> requests;
};

/// Port by port the default cluster, then the subsets. With `sni` the clusters of an east-west
/// gateway. `inputs.gateways` are those whose host names are not resolved.
std::shared_ptr<const ServiceClusters> BuildOutboundClusters(const EndpointInputs& inputs,
                                                             bool sni);

/// Whether the service's clusters hold addresses themselves or depend on all known instances, so
/// that they must be built again when an endpoint changes.
bool ClustersReadEndpoints(const ProxyClass& proxy, const model::Service& service);
/// Whether the service's load assignments are asked for by name.
bool UsesEndpointDiscovery(const ProxyClass& proxy, const model::Service& service);

/// BlackHoleCluster, PassthroughCluster (sidecars only).
std::vector<std::shared_ptr<const model::Resource>> BuildConstantClusters(const MeshSettings& mesh,
                                                                          bool router);

/// One target port of a workload and the services that it serves, oldest first; the oldest decides.
struct InboundPort {
  int target = 0;
  std::vector<std::pair<std::shared_ptr<const model::Service>, model::Port>> services;
  std::string
      endpoint;  ///< Where a Sidecar says that the application is; empty: as mesh settings say.
};
/// The inbound clusters of a workload and InboundPassthroughCluster.
std::vector<std::shared_ptr<const model::Resource>> BuildInboundClusters(
    const MeshSettings& mesh, bool ipv4, const std::vector<InboundPort>& ports);

/// Circuit breakers that never open; Envoy's own would at 1,024 connections.
envoy::config::cluster::v3::CircuitBreakers_Thresholds* AddUnlimitedThresholds(
    envoy::config::cluster::v3::Cluster* cluster);

/// Load balancing, limits, outlier detection and keepalive of a cluster. Sets nothing about TLS.
void WriteTrafficPolicy(const MeshSettings& mesh, const TrafficPolicy& policy,
                        const LocalitySetting& locality,
                        envoy::config::cluster::v3::Cluster* cluster);
/// How HTTP is spoken to the service's hosts.
void WriteHttpOptions(const MeshSettings& mesh, const TrafficPolicy& policy,
                      model::Protocol protocol, bool router, bool auto_sni, bool auto_san,
                      envoy::config::cluster::v3::Cluster* cluster);
/// Whether HTTP/2 is spoken to hosts of a port.
bool SpeaksHttp2(const MeshSettings& mesh, const TrafficPolicy& policy, model::Protocol protocol);

}  // namespace isthmus::translate
