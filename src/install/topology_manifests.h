#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "install/owned_objects.h"
#include "install/render.h"
#include "install/topology.h"

namespace isthmus::install {

/// The IstioOperator of a cluster: what follows from the topology (mesh, cluster, network,
/// primary's address), with the cluster's own `install` laid over it. `pilot_address` is how a
/// remote reaches its primary.
Json OperatorOf(const Topology& topology, const TopologyCluster& cluster,
                const std::string& pilot_address);

/// The IstioOperator of a control plane outside of the mesh: istiod alone, which has the cluster it
/// serves as its own.
Json HostOperatorOf(const Topology& topology, const TopologyHost& host);
/// The Service by which the clusters of the mesh reach it: no gateway is between, since istiod does
/// its own TLS.
inline constexpr std::string_view kExternalService = "istiod-external";
Json ExternalServiceOf(const TopologyHost& host);

/// The networks whose gateways are reached at stated addresses, as meshNetworks of install files.
Json MeshNetworksOf(const Topology& topology);

/// The IstioOperator of its east-west gateway, as samples/multicluster/gen-eastwest-gateway.sh
/// writes it.
Json EastWestOperatorOf(const Topology& topology, const TopologyCluster& cluster);

/// Resolves and renders an IstioOperator made here.
struct Rendered {
  Installation installation;
  std::vector<Component> components;
};
base::Result<Rendered> RenderOperator(const Json& iop, const std::string& name);

/// The installation of its east-west gateway, nothing when it has none of its own. Its objects are
/// marked as the topology's.
base::Result<Rendered> EastWestGatewayOf(const Topology& topology, const TopologyCluster& cluster);

/// The Gateways (and routes) that open an east-west gateway for services or for istiod, marked as
/// the topology's.
base::Result<std::vector<Json>> ExposureOf(const Topology& topology,
                                           const TopologyCluster& cluster);

/// All objects of the files, those with the selector's labels, put into the namespace.
base::Result<std::vector<Json>> ObjectsOf(const Topology& topology, const TopologyFiles& files);

/// The namespace of `files`, with the injection label when asked for.
Json NamespaceOf(const Topology& topology, const TopologyFiles& files);

}  // namespace isthmus::install
