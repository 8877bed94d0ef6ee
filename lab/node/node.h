#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/loop.h"
#include "base/result.h"
#include "lab/node/service_rules.h"

namespace isthmus::lab::node {

/// What one node process must know; the supervisor writes it as a JSON file. A value.
struct NodeOptions {
  std::string name;
  std::string address;
  std::string pod_range;
  std::string kubeconfig;   ///< Path; the node acts with administrator's rights in its cluster.
  std::string dir;          ///< Pods, their containers and networks are kept here.
  std::string dns_address;  ///< Cluster IP of the DNS service; the node answers for it.
  std::string cluster_domain = "cluster.local";
  std::string device = "eth0";                              ///< Where the network of all nodes is.
  std::string kubelet_certificate, kubelet_key, client_ca;  ///< Paths.
  bool owns_external_addresses = false;  ///< Answers for external addresses of services.
  bool kernel_rules = true;              ///< False in tests without a namespace of their own.
  NodeRules rules;
  std::map<std::string, std::string> labels;
  std::map<std::string, std::string> programs;  ///< Name in the image table to path.
  std::vector<std::string> image_tables;        ///< Paths of users' files.
  std::vector<std::string> hidden;

  std::string ToJson() const;
  static base::Result<NodeOptions> FromJson(std::string_view text);
};

/// A node of a cluster: registers itself, runs the pods bound to it, leads service addresses to
/// pods, answers DNS, and serves the kubelet's API. It may be killed at any time: containers go on,
/// and the next process takes them over. Lives on its loop.
class Node {
 public:
  Node(base::Loop& loop, NodeOptions options);
  ~Node();
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;
  base::Status Start();
  /// Takes other rules for its network from now on.
  void SetRules(NodeRules rules);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// The role `isthmus-lab node --config FILE`.
int NodeMain(int argc, char** argv);

}  // namespace isthmus::lab::node
