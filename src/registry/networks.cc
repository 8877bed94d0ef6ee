#include "registry/networks.h"

#include <arpa/inet.h>

#include <algorithm>

#include "base/log.h"
#include "base/strings.h"
#include "istio/mesh/v1alpha1/network.pb.h"

namespace isthmus::registry {
namespace {

const model::NetworkId kUnknown;

/// 4 or 16 for an address of that many bytes, 0 for none.
int ParseIp(const std::string& text, std::array<uint8_t, 16>& bytes) {
  if (::inet_pton(AF_INET, text.c_str(), bytes.data()) == 1) return 4;
  if (::inet_pton(AF_INET6, text.c_str(), bytes.data()) == 1) return 16;
  return 0;
}

bool SamePrefix(const std::array<uint8_t, 16>& a, const std::array<uint8_t, 16>& b, int bits) {
  const int whole = bits / 8;
  if (!std::equal(a.begin(), a.begin() + whole, b.begin())) return false;
  const int rest = bits % 8;
  return rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0;
}

}  // namespace

NetworkTable::NetworkTable(const istio::mesh::v1alpha1::MeshNetworks& networks) {
  // The names in order, so that the first of two claims is the same in every run.
  std::map<std::string, const istio::mesh::v1alpha1::Network*> ordered;
  for (const auto& [name, network] : networks.networks()) ordered[name] = &network;
  for (const auto& [name, network] : ordered) {
    const model::NetworkId id(name);
    for (const auto& endpoint : network->endpoints()) {
      if (!endpoint.from_registry().empty()) {
        auto [held, fresh] = registries_.emplace(endpoint.from_registry(), id);
        if (!fresh && held->second != id)
          LOG_WARN("registry", "meshNetworks: cluster {} is on {} and on {}; {} counts",
                   endpoint.from_registry(), held->second.text(), name, held->second.text());
      }
      if (!endpoint.from_cidr().empty()) AddCidr(endpoint.from_cidr(), id);
    }
    for (const auto& gateway : network->gateways()) {
      const auto port = static_cast<uint16_t>(gateway.port());
      if (!gateway.address().empty())
        gateways_.push_back({id, model::ClusterId(), gateway.address(), port});
      else if (!gateway.registry_service_name().empty())
        service_gateways_.push_back({id, gateway.registry_service_name(), port});
    }
  }
  std::stable_sort(cidrs_.begin(), cidrs_.end(),
                   [](const Cidr& a, const Cidr& b) { return a.bits > b.bits; });
}

void NetworkTable::AddCidr(std::string_view text, const model::NetworkId& network) {
  const auto [ip, length] = base::Cut(text, "/");
  Cidr cidr;
  const int size = ParseIp(std::string(ip), cidr.bytes);
  const auto bits = length.empty() ? base::Result<int64_t>(size * 8) : base::ParseInt(length);
  if (size == 0 || !bits.ok() || *bits < 0 || *bits > size * 8) {
    LOG_WARN("registry", "meshNetworks: network {}: fromCidr '{}' is not a CIDR such as 10.0.0.0/8",
             network.text(), text);
    return;
  }
  cidr.bits = static_cast<int>(*bits);
  cidr.v6 = size == 16;
  cidr.network = network;
  cidrs_.push_back(cidr);
}

const model::NetworkId& NetworkTable::OfCluster(const model::ClusterId& cluster) const {
  auto found = registries_.find(cluster.text());
  return found == registries_.end() ? kUnknown : found->second;
}

const model::NetworkId& NetworkTable::OfAddress(std::string_view address) const {
  if (cidrs_.empty()) return kUnknown;
  std::array<uint8_t, 16> bytes{};
  const int size = ParseIp(std::string(address), bytes);
  if (size == 0) return kUnknown;
  for (const Cidr& cidr : cidrs_)
    if (cidr.v6 == (size == 16) && SamePrefix(cidr.bytes, bytes, cidr.bits)) return cidr.network;
  return kUnknown;
}

}  // namespace isthmus::registry
