#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "model/ids.h"
#include "model/network.h"

namespace istio::mesh::v1alpha1 {
class MeshNetworks;
}

namespace isthmus::registry {

/// What meshNetworks says, ready to be asked. A value.
class NetworkTable {
 public:
  NetworkTable() = default;
  explicit NetworkTable(const istio::mesh::v1alpha1::MeshNetworks& networks);

  /// The network that names the cluster as fromRegistry; empty when none does.
  const model::NetworkId& OfCluster(const model::ClusterId& cluster) const;
  /// The network with the longest fromCidr that contains the address; empty when none does.
  const model::NetworkId& OfAddress(std::string_view address) const;

  /// Gateways with a fixed address; they belong to no cluster.
  const std::vector<model::NetworkGateway>& fixed_gateways() const { return gateways_; }

  /// A gateway that is a Service of the clusters whose endpoints are on the network.
  struct ServiceGateway {
    model::NetworkId network;
    std::string hostname;
    uint16_t port = 0;
    bool operator==(const ServiceGateway&) const = default;
  };
  const std::vector<ServiceGateway>& service_gateways() const { return service_gateways_; }
  bool operator==(const NetworkTable&) const = default;

 private:
  struct Cidr {
    std::array<uint8_t, 16> bytes{};
    int bits = 0;
    bool v6 = false;
    model::NetworkId network;
    bool operator==(const Cidr&) const = default;
  };
  void AddCidr(std::string_view text, const model::NetworkId& network);

  std::map<std::string, model::NetworkId> registries_;
  std::vector<Cidr> cidrs_;  // Longest first.
  std::vector<model::NetworkGateway> gateways_;
  std::vector<ServiceGateway> service_gateways_;
};

}  // namespace isthmus::registry
