#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/network.h"
#include "model/service.h"
#include "translate/destination_rules.h"
#include "translate/mesh_settings.h"
#include "translate/proxy_class.h"

namespace isthmus::translate {

/// One address of a load assignment: an endpoint, or a gateway that stands for endpoints of its
/// network.
struct LbEndpoint {
  const model::Endpoint* endpoint = nullptr;
  const model::NetworkGateway* gateway = nullptr;
  uint64_t weight = 0;
  bool mtls = false;
};

/// Endpoints of one locality and priority.
struct LocalityGroup {
  model::Locality locality;
  uint32_t priority = 0;
  uint64_t weight = 0;
  std::vector<LbEndpoint> endpoints;
};

/// How the localities of a service are ranked for a proxy: the rule's setting, else the service's
/// traffic distribution, else the mesh's.
struct LocalitySetting {
  bool enabled = false;
  bool failover =
      false;  ///< Priorities by distance; asks for outlier detection, or a traffic distribution.
  bool weighted = false;  ///< Envoy must use the weights of localities.
  const istio::networking::v1::LocalityLoadBalancerSetting* setting = nullptr;  ///< May be null.
  std::vector<std::string> failover_priority;
};
LocalitySetting ReadLocalitySetting(const MeshSettings& mesh, const model::Service& service,
                                    const TrafficPolicy& policy);

/// Sets priorities and weights; may split groups. Nothing happens for a proxy without locality.
void ApplyLocality(const LocalitySetting& setting, const ProxyClass& proxy,
                   std::vector<LocalityGroup>* groups);

}  // namespace isthmus::translate
