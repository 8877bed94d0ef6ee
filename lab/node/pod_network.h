#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "lab/network/netlink.h"

namespace isthmus::lab::node {

struct PodLink {
  std::string ip;
  std::string network_namespace;  ///< Path of the held namespace.
};

/// Gives pods their networks: a namespace with one address out of the node's range, joined to the
/// node's namespace (the calling process's) by a point-to-point link. There is no bridge:
/// everything a pod sends is routed by the node, so that service addresses work between pods of one
/// node too.
///
/// What a pod got stands in files, so that a node that starts again neither loses nor doubles an
/// address.
class PodNetwork {
 public:
  /// `dir` holds the namespaces and addresses; `node_address` is the source of what the node sends
  /// to pods.
  static base::Result<PodNetwork> Open(std::string dir, network::Cidr range,
                                       std::string node_address);

  /// The pod's network, made at the first call. `sysctls` are names with dots, as in a pod's
  /// securityContext.
  base::Result<PodLink> Attach(const std::string& uid,
                               const std::vector<std::pair<std::string, std::string>>& sysctls);
  void Detach(const std::string& uid);
  /// The pods that have a network.
  std::vector<std::string> Uids() const;
  /// Gone with a machine's restart, when its namespace is: drops the addresses of pods that are not
  /// there.
  void Forget(const std::string& uid);

 private:
  PodNetwork(std::string dir, network::Cidr range, std::string node_address)
      : dir_(std::move(dir)), range_(range), node_address_(std::move(node_address)) {}
  base::Status Join(const std::string& uid, uint32_t ip, const std::string& path,
                    const std::vector<std::pair<std::string, std::string>>& sysctls);
  std::string NsPath(const std::string& uid) const { return dir_ + "/" + uid + ".net"; }

  std::string dir_;
  network::Cidr range_;
  std::string node_address_;
  std::map<std::string, uint32_t> taken_;
  uint32_t next_ = 0;  // Addresses are not used again at once.
};

}  // namespace isthmus::lab::node
