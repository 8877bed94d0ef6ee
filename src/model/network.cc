#include "model/network.h"

#include <algorithm>
#include <limits>
#include <map>
#include <numeric>
#include <utility>

namespace isthmus::model {

GatewayIndex::GatewayIndex(std::vector<NetworkGateway> gateways) : gateways_(std::move(gateways)) {
  std::sort(gateways_.begin(), gateways_.end());
  gateways_.erase(std::unique(gateways_.begin(), gateways_.end()), gateways_.end());
  std::map<NetworkId, uint64_t> by_network;
  std::map<std::pair<NetworkId, ClusterId>, uint64_t> by_cluster;
  for (const NetworkGateway& gateway : gateways_) {
    ++by_network[gateway.network];
    ++by_cluster[{gateway.network, gateway.cluster}];
  }
  uint64_t scale = 1;
  // A count whose multiple does not fit is left out: the weights are then rounded, not wrapped.
  auto add = [&scale](uint64_t count) {
    const uint64_t next = std::lcm(scale, count);
    if (next <= std::numeric_limits<uint32_t>::max()) scale = next;
  };
  for (const auto& [network, count] : by_network) add(count);
  for (const auto& [place, count] : by_cluster) add(count);
  scale_ = static_cast<uint32_t>(scale);
}

std::vector<NetworkGateway> GatewayIndex::Into(const NetworkId& network,
                                               const ClusterId& cluster) const {
  std::vector<NetworkGateway> all;
  std::vector<NetworkGateway> near;
  // Sorted by network first, so the network's gateways are neighbours.
  auto first = std::lower_bound(
      gateways_.begin(), gateways_.end(), network,
      [](const NetworkGateway& gateway, const NetworkId& id) { return gateway.network < id; });
  for (; first != gateways_.end() && first->network == network; ++first) {
    all.push_back(*first);
    if (first->cluster == cluster) near.push_back(*first);
  }
  return near.empty() ? all : near;
}

}  // namespace isthmus::model
