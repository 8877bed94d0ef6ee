#pragma once

#include <map>
#include <string>
#include <vector>

#include "install/expected_view.h"
#include "install/mesh_objects.h"

namespace isthmus::install {

/// How what an Envoy holds differs from what it should.
struct Difference {
  enum class Kind { kUnknownService, kLacks, kExtra };
  Kind kind = Kind::kLacks;
  std::string viewer;   ///< The proxy's cluster.
  std::string proxy;    ///< "sleep-5d4.sample"
  std::string service;  ///< "outbound|5000||helloworld.sample.svc.cluster.local"
  std::string address;  ///< Of the endpoint; empty for a service that is not known.
  std::string source;   ///< The cluster whose pods the endpoint stands for; empty when unknown.
};

/// A request of the topology that was not answered as it says.
struct FailedRequest {
  std::string from_cluster;
  std::string
      host;  ///< "helloworld.sample.svc.cluster.local"; empty when the URL names no service.
  std::string answer;  ///< The first failure: "403 RBAC: access denied".
  std::vector<std::string>
      silent;  ///< Clusters that should have answered and did not; empty: not known.
};

/// An object that is not as the mesh needs it: what is wrong with it, what to do, and what it
/// explains.
struct Finding {
  std::string cluster;
  std::string object;  ///< "Secret istio-system/istio-remote-secret-cluster2"
  std::string problem;
  std::string remedy;
  /// Wrong by itself: against the topology, whether or not a proxy shows it yet. The others are
  /// matters of choice that count only when they are the cause of something.
  bool wrong = true;
  int explains = 0;

  // What it can be the cause of; empty fields stand for any.
  std::string control_plane;  ///< Only for proxies served by this one.
  std::string source;         ///< Only endpoints of this cluster,
  std::string network;        ///< of this network, seen from another one.
  std::string host;           ///< Only this service, or with "*." in front a namespace's.
  bool views = true;          ///< Whether it changes endpoint views,
  bool traffic = true;        ///< whether it makes requests fail.
};

/// All that can be found wrong in the clusters' objects, the most telling first. Pure.
std::vector<Finding> FindCauses(const Topology& topology,
                                const std::map<std::string, ClusterObjects>& objects,
                                const std::map<std::string, ClusterFacts>& facts);

/// The finding that explains it, counted there; null when none does.
Finding* CauseOf(const Difference& difference, const Topology& topology,
                 std::vector<Finding>& findings);
Finding* CauseOf(const FailedRequest& request, const Topology& topology,
                 std::vector<Finding>& findings);

}  // namespace isthmus::install
