#pragma once

#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"
#include "registry/cluster_state.h"

namespace isthmus::registry {

/// The last good state of a cluster as text to keep on disk, so that a control plane which starts
/// while the cluster's API server is away knows its endpoints. One JSON value a line: a header, the
/// objects, a trailer that tells a whole file from a torn one. No Secrets.
std::string SaveState(const ClusterState& cluster, base::Time now);

/// Fills an empty state; gives the time of saving. An error leaves the state to be thrown away.
base::Result<base::Time> LoadState(std::string_view text, ClusterState& cluster);

}  // namespace isthmus::registry
