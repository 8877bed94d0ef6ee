#pragma once

#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "lab/network/netns.h"
#include "lab/node/service_rules.h"
#include "lab/world/lab_spec.h"

namespace isthmus::lab::world {

/// The networks of a lab: one namespace with a bridge, to which every node's namespace is joined by
/// its eth0, so that all nodes are neighbours; and the routes that make pods of routed clusters
/// reach each other, and others not. Nothing of it is in the machine's own namespace.
class Wan {
 public:
  /// `dir` holds the namespaces.
  Wan(const LabSpec& spec, std::string dir) : spec_(spec), dir_(std::move(dir)) {}
  base::Status Create();
  /// Joins the nodes of a cluster that the lab has only now, and tells the others the way.
  base::Status Join(const ClusterSpec& cluster);

  std::string NsPath() const { return dir_ + "/wan"; }
  std::string NodeNsPath(const ClusterSpec& cluster, const NodeSpec& node) const {
    return dir_ + "/" + cluster.name + "." + node.name;
  }
  /// The machine's own address in the lab's network: where its proxies come from.
  const std::string& outside() const { return outside_; }
  /// Service and wall rules of a node, from what the lab is.
  node::NodeRules RulesOf(const ClusterSpec& cluster, const NodeSpec& node) const;
  /// Lets the pods of two clusters reach each other from now on, as a rule in a firewall between
  /// them would; their nodes' rules (RulesOf) are others then.
  base::Status Open(const std::string& a, const std::string& b);
  /// Bars (or opens) everything between two clusters.
  base::Status Cut(const std::string& a, const std::string& b, bool cut);
  const std::set<std::pair<std::string, std::string>>& cuts() const { return cuts_; }

 private:
  base::Status CreateNode(const network::NetNs& wan, const ClusterSpec& cluster,
                          const NodeSpec& node);
  base::Status AddRoutes(const ClusterSpec& cluster, const NodeSpec& node) const;
  base::Status ApplyCuts(const ClusterSpec& cluster) const;
  void ChooseOutside();
  bool Routed(const std::string& a, const std::string& b) const;

  const LabSpec& spec_;
  const std::string dir_;
  std::string outside_;
  int nodes_ = 0;  ///< How many have been made; names their links.
  std::set<std::pair<std::string, std::string>> cuts_;
  std::set<std::pair<std::string, std::string>> opened_;
};

}  // namespace isthmus::lab::world
