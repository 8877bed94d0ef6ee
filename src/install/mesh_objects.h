#pragma once

#include <set>
#include <string>
#include <vector>

#include "install/cluster_access.h"
#include "install/expected_view.h"
#include "install/topology.h"

namespace isthmus::install {

/// An object that the topology's files put into a cluster, with the file.
struct IntendedObject {
  Json object;
  std::string file;
};

/// What, besides services and endpoints, decides what the proxies of a cluster hold; as its own API
/// server says. A value.
struct ClusterObjects {
  Json system_namespace;  ///< Null when there is none.
  std::vector<Json> services;
  std::vector<Json> pods;
  std::vector<Json> deployments;
  bool secrets_readable = true;
  std::vector<Json> remote_secrets;
  std::set<std::string> roots;  ///< What its proxies trust, by fingerprint.
  bool has_cacerts = false;
  std::vector<Json> destination_rules;
  std::vector<Json> peer_authentications;
  std::vector<Json> authorization_policies;
  std::vector<Json> mesh_gateways;  ///< Istio's kind Gateway.
  std::vector<Json> sidecars;
  std::vector<Json>
      watched;  ///< What its istiod says of the clusters it watches (/debug/clusterz).
  std::vector<IntendedObject> intended;
};

/// Reads all of it but `watched` and `intended`. Kinds that are not installed are empty, and so are
/// Secrets that may not be read. The error names what could not be listed.
base::Status ReadObjects(ClusterAccess& access, ClusterObjects& objects);

/// Services and Deployments of the workloads of a cluster, by the files of its topology.
base::Result<std::vector<IntendedObject>> IntendedObjects(const Topology& topology,
                                                          const TopologyCluster& cluster);

/// Counts the pods behind Services that the topology's files name and that are missing: what they
/// would be endpoints of is what proxies lack.
void AddMissingServices(const ClusterObjects& objects, ClusterFacts& facts);

}  // namespace isthmus::install
