#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace isthmus::lab::world {

struct NodeSpec {
  std::string name;
  std::string address;
  std::string pod_range;
  std::string region, zone;
  bool operator==(const NodeSpec&) const = default;
};

struct ClusterSpec {
  std::string name;
  std::string network;
  std::string api_server;  ///< Address; one of its nodes'.
  uint16_t api_port = 6443;
  std::vector<NodeSpec> nodes;
  std::string service_range;
  std::vector<std::string> load_balancer_pool;                 ///< "a-b" or "a"
  std::map<std::string, std::string> load_balancer_addresses;  ///< "namespace/name" to address.
  int ingress_port = -1;  ///< Port on the machine's loopback; 0 takes a free one, -1 none.
  /// The address that stands for the DNS service: the tenth of the service range.
  std::string DnsAddress() const;
  bool operator==(const ClusterSpec&) const = default;
};

/// A static route, as an operator sets it: nodes of cluster `at` send what is for `to` to `via`.
struct StaticRoute {
  std::string at;
  std::string to;   ///< "10.96.0.0/16"
  std::string via;  ///< Address of a node.
  bool operator==(const StaticRoute&) const = default;
};

/// What the lab makes: the lab's part of a Topology file. A value.
///
/// Invariant after Parse(): names, node names and addresses are unique, ranges parse and do not
/// overlap where they would meet, every API server stands on a node of its cluster. What the file
/// leaves out is filled in.
struct LabSpec {
  std::string name;
  bool token_secrets = false;
  bool open_node_ports = false;
  std::vector<std::string> image_tables;
  std::deque<ClusterSpec> clusters;  ///< Stay where they are when others are added.
  std::vector<StaticRoute> routes;
  std::vector<std::set<std::string>> routed;  ///< Names of clusters whose pods reach each other.

  /// Reads a Topology (docs/topology.md). Errors name the field.
  static base::Result<LabSpec> Parse(std::string_view yaml);

  const ClusterSpec* Find(std::string_view cluster) const;
  /// Whether pods of the two reach each other. True for a cluster and itself.
  bool Routed(const std::string& a, const std::string& b) const;
  /// What a lab made from this lacks or has otherwise than `wanted` asks for; empty when it will
  /// do. Clusters that `wanted` does not name do not matter: a mesh may leave some out.
  std::string Lacks(const LabSpec& wanted) const;
};

/// The Topology of a running lab with the clusters that `wanted` names besides, so that the lab
/// will do for both. An error says what differs otherwise, which a running lab cannot take over.
base::Result<std::string> GrownTopology(std::string_view running, std::string_view wanted);

}  // namespace isthmus::lab::world
