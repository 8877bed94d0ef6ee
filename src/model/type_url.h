#pragma once

#include <string_view>

namespace isthmus::model {

// Type URLs of the resources that a view holds.
inline constexpr std::string_view kClusterType =
    "type.googleapis.com/envoy.config.cluster.v3.Cluster";
inline constexpr std::string_view kEndpointType =
    "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";
inline constexpr std::string_view kListenerType =
    "type.googleapis.com/envoy.config.listener.v3.Listener";
inline constexpr std::string_view kRouteType =
    "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";
inline constexpr std::string_view kSecretType =
    "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
inline constexpr std::string_view kNameTableType =
    "type.googleapis.com/istio.networking.nds.v1.NameTable";
/// Roots that the mesh believes besides its own; for agents.
inline constexpr std::string_view kMeshTrustType =
    "type.googleapis.com/istio.mesh.v1alpha1.ProxyConfig";

}  // namespace isthmus::model
