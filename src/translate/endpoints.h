#pragma once

#include <string>
#include <string_view>

#include "model/snapshot.h"
#include "translate/destination_rules.h"
#include "translate/mesh_settings.h"
#include "translate/peer_authentication.h"
#include "translate/proxy_class.h"

namespace envoy::config::endpoint::v3 {
class ClusterLoadAssignment;
}

namespace isthmus::translate {

/// What decides the endpoints of one service for one class of proxies. References and pointers
/// outlive it.
struct EndpointInputs {
  const MeshSettings& mesh;
  const ProxyClass& proxy;
  const model::Service& service;
  const MergedRule* rule = nullptr;
  const model::ServiceEndpoints* endpoints = nullptr;  ///< Null: none known.
  const model::GatewayIndex& gateways;
  const PeerAuthenticationIndex& authentication;
};

/// Fills the endpoints of one port and subset as the class sees them: pods of its own network by
/// address, those of other networks through their gateways, in groups of one locality. `sni` is for
/// the clusters of an east-west gateway, which take only endpoints that do mTLS.
void FillLoadAssignment(const EndpointInputs& inputs, const model::Port& port,
                        std::string_view subset, bool sni,
                        envoy::config::endpoint::v3::ClusterLoadAssignment* assignment);

}  // namespace isthmus::translate
