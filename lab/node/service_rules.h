#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "kubeapi/json.h"

namespace isthmus::lab::node {

/// A port of a service with the pods that serve it now. A value.
struct ServicePort {
  std::string name;
  std::string protocol = "tcp";
  uint16_t port = 0;
  uint16_t node_port = 0;
  std::vector<std::pair<std::string, uint16_t>> endpoints;  ///< Ready ones.
};

struct ServiceEntry {
  std::string key;  ///< "namespace/name"
  std::string cluster_ip;
  std::vector<std::string> external_ips;   ///< externalIPs and addresses of the load balancer.
  std::vector<std::string> balancer_ips;   ///< Those of external_ips that source_ranges hold for.
  std::vector<std::string> source_ranges;  ///< loadBalancerSourceRanges; empty: for everybody.
  bool client_ip_affinity = false;
  std::vector<ServicePort> ports;
};

/// Reads Services and EndpointSlices into entries; headless and external-name services have no
/// rules.
std::vector<ServiceEntry> ReadServices(const std::map<std::string, kubeapi::Json>& services,
                                       const std::map<std::string, kubeapi::Json>& slices);

/// How this node's traffic is to be treated besides services.
struct NodeRules {
  std::string node_address;
  std::string pod_range;  ///< This node's pods.
  std::vector<std::string>
      direct;  ///< Ranges that pods reach with their own address: pods of the network.
  std::vector<std::string>
      friends;  ///< Addresses of nodes and others of the same network, which may reach all.
  std::vector<uint16_t>
      open_ports;                ///< Ports of the node's own that everyone may reach (API server).
  bool open_node_ports = false;  ///< Whether other networks may use node ports.
  std::string service_range;     ///< Open to whoever has a route here; nobody has without asking.
  std::string
      dns_service;  ///< Answered by this node itself: the address, and the port it serves at.
  uint16_t dns_port = 0;
};

/// The whole nftables table of a node, replacing the one before: service addresses to pods (at
/// random), masquerade of what leaves the network, and the wall against other networks.
std::string NodeTable(const std::vector<ServiceEntry>& services, const NodeRules& rules);

}  // namespace isthmus::lab::node
