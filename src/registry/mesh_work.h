#pragma once

#include <map>
#include <set>
#include <string>

#include "registry/mesh_state.h"

namespace isthmus::registry {

/// What one MeshState::Update() has to look at again; for its two source files only.
struct MeshState::Work {
  bool everything = false;
  bool gateways = false;
  std::set<std::string> services;
  /// Endpoint keys, and the clusters whose shards of them changed.
  std::map<std::string, std::set<const ClusterState*>> endpoints;
  std::set<std::string> external;    ///< Endpoint keys whose ServiceEntry shards changed.
  std::set<std::string> namespaces;  ///< Whose pods or WorkloadEntries changed.
  std::map<const ClusterState*, std::set<std::string>> workloads;
  std::map<const ClusterState*, std::set<std::string>> credentials;
  std::set<const ClusterState*> whole;  ///< Clusters to be read again from end to end.
};

}  // namespace isthmus::registry
