#pragma once

#include <compare>
#include <set>
#include <string>

#include "model/ids.h"
#include "model/proxy.h"
#include "model/service.h"

namespace isthmus::translate {

/// What the outbound resources of a proxy depend on, besides the snapshot. Proxies of equal class
/// share them. A field that no configuration of the snapshot looks at is left empty, so that it
/// does not split classes.
struct ProxyClass {
  model::ProxyType type = model::ProxyType::kSidecar;
  std::string ns;
  model::ClusterId cluster;
  model::NetworkId network;
  std::set<model::NetworkId> network_view;
  bool ipv4 = true;
  bool ipv6 = false;
  bool dns_capture = false;
  bool unprivileged = false;
  bool http10 = false;
  model::Proxy::Interception interception = model::Proxy::Interception::kRedirect;
  std::string sidecar;    ///< "namespace/name" of the Sidecar object that holds; empty: none.
  std::string telemetry;  ///< Which Telemetry objects hold; see TelemetryIndex.
  std::string traced_as;  ///< Where spans name the workload.
  std::string patches;    ///< Which patches of EnvoyFilters hold; see EnvoyFilterIndex.
  model::Labels
      labels;  ///< Routers: all. Sidecars: those that selectors of outbound configuration name.
  model::Locality locality;  ///< Where some service is balanced by locality.
  std::string node;          ///< Where some service is served by the own node only.

  bool router() const { return type == model::ProxyType::kRouter; }
  /// Whether the proxy can use an address of that family.
  bool Reaches(const std::string& address) const;
  /// "0.0.0.0", or "::" for proxies with IPv6 addresses only.
  const char* wildcard() const { return ipv4 ? "0.0.0.0" : "::"; }
  auto operator<=>(const ProxyClass&) const = default;
};

/// Whether every label of the selector is among `labels`.
bool Selects(const model::Labels& selector, const model::Labels& labels);
template <typename Map>
bool SelectsMap(const Map& selector, const model::Labels& labels) {
  for (const auto& [key, value] : selector) {
    auto found = labels.find(key);
    if (found == labels.end() || found->second != value) return false;
  }
  return true;
}

}  // namespace isthmus::translate
