#pragma once

#include <memory>
#include <string>
#include <vector>

#include "model/view.h"
#include "translate/class_view.h"
#include "translate/clusters.h"
#include "translate/world.h"

namespace isthmus::translate {

/// What a sidecar has for its own workload: inbound clusters and the listener for incoming
/// connections. Frozen; workloads that look the same from inside share it.
struct InboundPart {
  std::shared_ptr<const model::ResourceSet> clusters;
  std::shared_ptr<const model::ResourceSet> listeners;
  bool reads_endpoints = false;  ///< Some target port has a name, which only endpoints resolve.
};

/// The target ports that services of the proxy's namespace have on it, ascending; for one port the
/// oldest service first. `reads_endpoints` is set when they depend on endpoints.
std::vector<InboundPort> InboundPortsOf(const World& world, const model::Proxy& proxy,
                                        const model::Labels& labels, bool* reads_endpoints);

/// `labels` are those that selectors see.
std::shared_ptr<const InboundPart> InboundOf(const World& world, const model::Proxy& proxy,
                                             const model::Labels& labels, Workshop* workshop);

}  // namespace isthmus::translate
