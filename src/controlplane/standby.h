#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/backoff.h"
#include "base/loop.h"
#include "kubeclient/client.h"
#include "registry/mesh_registry.h"

namespace isthmus::controlplane {

/// Addresses at which another cluster reaches this control plane. A value.
struct StandbyOffer {
  std::vector<std::string> addresses;
  uint16_t discovery_port = 0;
  uint16_t webhook_port = 0;
  bool operator==(const StandbyOffer&) const = default;
};

/// Our own pods for clusters of our network, else the gateways of our network in our cluster.
/// Without addresses when there are none. Pure.
StandbyOffer OfferFor(const registry::ClusterState& own, const registry::ClusterState& other,
                      const std::vector<model::NetworkGateway>& gateways,
                      const std::string& own_hostname, uint16_t discovery_port,
                      uint16_t webhook_port);

/// The network that the pods of a cluster are in: of its system namespace, else of most pods that
/// say.
model::NetworkId NetworkOfPods(const registry::ClusterState& state);

/// The EndpointSlice that adds an offer to a Service of a control plane, such that it counts only
/// while no pod of the Service is ready: its endpoints are not ready and ending, but serve.
/// `service` is the Service as its API server gave it. Pure.
kubeclient::Json StandbySlice(const StandbyOffer& offer, const std::string& from,
                              const kubeclient::Json& service);

struct StandbyOptions {
  bool enabled = true;  ///< Else what was offered before is taken back.
  std::string cluster;
  std::string ns = "istio-system";
  uint16_t discovery_port = 15012;
  uint16_t webhook_port = 15017;
  std::string root_config_map = "istio-ca-root-cert";
  std::function<std::string()> roots;  ///< Ours, as PEM.
};

/// Offers this control plane to every other cluster that has one of its own, as the one to go to
/// while that one is away: by an EndpointSlice in that cluster beside its Service istiod, which we
/// keep up to date. Nothing has to happen at the moment of the failure. A cluster with other roots
/// than ours gets no offer, since its proxies could not believe us. All replicas write the same.
/// Lives on its loop; the registry outlives it.
class Standby {
 public:
  Standby(base::Loop& loop, registry::MeshRegistry& registry, StandbyOptions options);
  ~Standby();
  Standby(const Standby&) = delete;
  Standby& operator=(const Standby&) = delete;

  /// Endpoints, gateways or clusters may have changed. Cheap; the work follows in a moment.
  void Changed();
  /// This process ends. What it offers is taken back as soon as no pod of this control plane is
  /// ready any more, so that nobody is sent to one that has gone.
  void Leave();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace isthmus::controlplane
