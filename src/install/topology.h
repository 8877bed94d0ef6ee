#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "kubeapi/json.h"

namespace isthmus::install {

/// Where the mesh lives in every cluster.
inline constexpr char kSystem[] = "istio-system";

using kubeapi::Json;

/// The gateway through which other networks enter a cluster.
struct TopologyGateway {
  bool present = false;
  std::string service;  ///< Another gateway of the installation that serves as one; empty: its own.
  int port = 0;         ///< Service port of what passes between networks.
  std::vector<std::string> external_ips;
  std::string cluster_ip;
  std::map<std::string, int> node_ports;  ///< By name of the service's port.
  /// "address:port" at which other networks reach it where the Service does not say so.
  std::vector<std::string> reached_at;
  bool exposes_services = false;
  bool exposes_istiod = false;

  bool own() const { return present && service.empty(); }
  std::string ServiceName() const { return own() ? "istio-eastwestgateway" : service; }
};

/// Files that go into one namespace.
struct TopologyFiles {
  std::string ns;
  bool injection = false;
  std::vector<std::string>
      files;  ///< Absolute, or relative to where they are looked for (see ResolveFile).
  std::string selector;
};

/// What the lab makes for a cluster, as far as `plan` and `verify` need it; the rest is the lab's
/// own business.
struct TopologyLab {
  bool present = false;
  std::string api_server;                                  ///< "address:port"
  std::vector<std::pair<std::string, std::string>> nodes;  ///< Name and pod range.
  std::string service_cidr;
  bool load_balancer = false;  ///< Whether its load balancers get addresses.
  int ingress_port = 0;
};

/// A cluster that holds a control plane and nothing of the mesh: its istiod has another cluster as
/// its own, the one that keeps the configuration.
struct TopologyHost {
  std::string name;
  std::string context;
  std::string serves;  ///< The cluster that keeps the configuration.
  Json install = Json::object();
  std::vector<std::string> external_ips;  ///< Where istiod is reached; empty: as given.
  TopologyLab lab;
};

struct TopologyCluster {
  std::string name;
  std::string network;
  /// Name of the cluster whose istiod serves its proxies. Of those that are served from a
  /// TopologyHost, the first stands for that control plane.
  std::string control_plane;
  std::string host;  ///< The TopologyHost where the istiod of a primary runs; empty: in it.
  std::string remote_pilot_address;
  std::string context;
  Json install = Json::object();
  TopologyGateway gateway;
  std::vector<TopologyFiles> workloads;
  std::vector<TopologyFiles> config;
  TopologyLab lab;
  bool primary() const { return control_plane == name; }
  /// Whether its istiod runs in it.
  bool has_istiod() const { return primary() && host.empty(); }
};

/// A request that `verify` makes besides those that follow from the topology.
struct TopologyRequest {
  std::string from_cluster;
  std::string from_ns;
  std::string from_app;      ///< Value of the label app of the pod that asks; or
  std::string from_gateway;  ///< the gateway through which it enters from outside.
  std::string url;
  int count = 20;
  std::vector<std::string> answers;
  int share_min = 0;
  int share_max = 100;
  std::vector<std::string> clusters;
};

/// The Topology file (docs/topology.md), read and checked. A value.
struct Topology {
  std::string name;
  std::string file;  ///< Where it was read from.
  std::string mesh_id;
  std::string trust_domain;
  std::string trust_directory;
  std::vector<TopologyCluster> clusters;  ///< Of the mesh.
  std::vector<TopologyHost> hosts;
  std::vector<TopologyRequest> requests;

  bool on_lab() const;
  const TopologyCluster* Find(std::string_view cluster) const;
  /// Where the control plane of a cluster runs when that is outside of the mesh; else null.
  const TopologyHost* HostOf(const TopologyCluster& cluster) const;
  std::vector<const TopologyCluster*> primaries() const;
};

/// Reads and checks a Topology. All that is wrong is reported at once, a line each, with its place
/// and what to do.
base::Result<Topology> ParseTopology(std::string_view text, std::string_view file);
base::Result<Topology> LoadTopology(const std::string& file);

/// Where a file of a topology is: as given, beside the topology file, in the folder above it, or
/// where the program's own samples are.
base::Result<std::string> ResolveFile(const Topology& topology, const std::string& file);

}  // namespace isthmus::install
