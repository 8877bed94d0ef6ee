#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "model/ids.h"

namespace isthmus::model {

/// One address through which a network is entered from others.
struct NetworkGateway {
  NetworkId network;
  ClusterId cluster;    ///< Empty for gateways of meshNetworks, which belong to no cluster.
  std::string address;  ///< IP, or a host name that is not resolved yet.
  uint16_t port = 0;    ///< 0: no mTLS port (HBONE only).
  uint16_t hbone_port = 0;
  std::string service_account_ns;
  std::string service_account;
  auto operator<=>(const NetworkGateway&) const = default;
};

/// Answers: through which gateways is a network entered, and by how much are weights scaled?
/// Sorted and unique, so equal sets give equal answers. Immutable; any thread may read it.
class GatewayIndex {
 public:
  GatewayIndex() = default;
  explicit GatewayIndex(std::vector<NetworkGateway> gateways);

  /// Gateways of (network, cluster) when there are any, else all of the network.
  std::vector<NetworkGateway> Into(const NetworkId& network, const ClusterId& cluster) const;
  bool empty() const { return gateways_.empty(); }
  /// Least common multiple of the gateway counts of every network and every (network, cluster).
  uint32_t scale() const { return scale_; }
  const std::vector<NetworkGateway>& all() const { return gateways_; }
  bool operator==(const GatewayIndex& other) const { return gateways_ == other.gateways_; }

 private:
  std::vector<NetworkGateway> gateways_;
  uint32_t scale_ = 1;
};

}  // namespace isthmus::model
