#pragma once

#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "install/cluster_access.h"
#include "install/topology.h"

namespace isthmus::install {

/// The kinds that an installation may own, in the order in which they are deleted.
/// `definitions` adds CustomResourceDefinitions.
base::Result<std::vector<Resource>> OwnedKinds(ClusterAccess& cluster, bool definitions);

/// Objects of all those kinds with the labels, together with their resource.
struct Owned {
  Resource resource;
  Json object;
  /// "Secret istio-system/cacerts"; items of a list may come without their kind.
  std::string text() const;
};
base::Result<std::vector<Owned>> FindOwned(ClusterAccess& cluster,
                                           const std::string& label_selector, bool definitions);

/// Those of them that are not among `wanted` (as Describe() names them). What a controller made is
/// left out: it carries the labels of its maker's template and goes with its maker.
base::Result<std::vector<Owned>> FindSurplus(ClusterAccess& cluster,
                                             const std::string& label_selector,
                                             const std::set<std::string>& wanted);
base::Status Delete(ClusterAccess& cluster, const Owned& one);

/// Marks what a topology made, so that `down` and a later `up` take away nothing else.
inline constexpr std::string_view kTopologyLabel = "isthmus.dev/topology";
/// The remote secrets that this topology once made in a cluster for others that it names no more.
base::Result<std::vector<Owned>> SurplusRemoteSecrets(ClusterAccess& access,
                                                      const Topology& topology,
                                                      const TopologyCluster& cluster);
/// What this topology made in a cluster for an east-west gateway, and asks for no more: the gateway
/// itself, or what opens it. Empty unless it was made by a version that marks it.
base::Result<std::vector<Owned>> SurplusGateway(ClusterAccess& access, const Topology& topology,
                                                const TopologyCluster& cluster);

}  // namespace isthmus::install
