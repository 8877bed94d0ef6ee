#pragma once

#include <memory>
#include <vector>

#include "model/view.h"
#include "translate/authorization.h"
#include "translate/clusters.h"
#include "translate/peer_authentication.h"

namespace isthmus::translate {

/// What decides the listener that takes a workload's incoming connections. References outlive it.
struct InboundInputs {
  const MeshSettings& mesh;
  const std::vector<InboundPort>& ports;
  const WorkloadMtls& mtls;
  const WorkloadAuthorization& authorization;
  bool ipv4 = true;
  bool ipv6 = false;
  bool http10 = false;
  bool tproxy = false;
  /// Serialised HttpFilters that come before those of `authorization`.
  std::vector<std::string> first_filters;
};

/// virtualInbound: chains for every declared target port, and for all others.
std::shared_ptr<const model::Resource> BuildInboundListener(const InboundInputs& inputs);

}  // namespace isthmus::translate
