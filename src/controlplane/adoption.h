#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/loop.h"
#include "ca/authority.h"
#include "inject/config.h"
#include "registry/mesh_registry.h"
#include "translate/translator.h"

namespace isthmus::controlplane {

struct AdoptionOptions {
  registry::MeshRegistry::Options registry;  ///< Ours; the cluster is put in for each world.
  std::string revision;
  std::string root_config_map = "istio-ca-root-cert";
  /// How long a world may take to load before those who wait for it are sent away.
  base::Duration patience = std::chrono::seconds(5);
  /// How long a world is kept after its last use.
  base::Duration keep = std::chrono::minutes(1);
};

/// The clusters of other control planes that we stand in for while those are away. A proxy of a
/// cluster that has a control plane of its own, or one that leads it, is never shown our
/// configuration: it sees that cluster's, read through the remote secret, as its own control plane
/// would have it. Such a world is loaded when somebody asks for it and dropped when nobody does any
/// more. Lives on its loop.
class Adoption {
 public:
  /// What the proxies and pods of one cluster are served from.
  struct World {
    translate::Translator translator;
    std::shared_ptr<const istio::mesh::v1alpha1::MeshConfig> mesh;
    const inject::InjectorConfig* injector = nullptr;  ///< Null while not known.
  };
  struct Events {
    /// Some world has changed.
    std::function<void()> changed;
    /// The streams of this cluster's proxies are to end, for this reason.
    std::function<void(const model::ClusterId&, const base::Status&)> release;
    /// Whether proxies of this cluster are connected.
    std::function<bool(const model::ClusterId&)> in_use;
  };

  /// `own` and `authority` outlive it.
  Adoption(base::Loop& loop, const base::Clock& clock, registry::MeshRegistry& own,
           ca::Authority& authority, AdoptionOptions options, Events events);
  ~Adoption();
  Adoption(const Adoption&) = delete;
  Adoption& operator=(const Adoption&) = delete;

  /// Whether another control plane is to serve the cluster: its own, or the one that leads it.
  bool Concerns(const model::ClusterId& cluster) const;
  /// The world of a cluster that Concerns() us; null while it is being loaded.
  World* Find(const model::ClusterId& cluster);
  /// The same, but loads nothing and is no use of it.
  World* Peek(const model::ClusterId& cluster);
  /// Calls back with the world once it is there and injection is known, or with null when that took
  /// too long. The world is valid inside the call.
  void WhenLoaded(const model::ClusterId& cluster, std::function<void(World*)> then);
  /// Our own view of the clusters may have changed: who has its control plane back gets its proxies
  /// back.
  void Check();
  /// Whether the proxies of `cluster` are shown the world of `world`: its own or its leader's.
  bool Serves(const model::ClusterId& world, const model::ClusterId& cluster) const {
    return LeaderOf(cluster) == world;
  }
  /// Names of the clusters that we stand in for now.
  std::vector<std::string> Clusters() const;

 private:
  struct Adopted;
  const model::ClusterId& LeaderOf(const model::ClusterId& cluster) const;
  Adopted* Start(const model::ClusterId& cluster);
  void StartPatience(Adopted& adopted);
  void PublishRoots(Adopted& adopted);
  void Loaded(Adopted& adopted);
  void GiveUp(Adopted& adopted);
  void SendHome(Adopted& adopted);
  void Sweep();

  base::Loop& loop_;
  const base::Clock& clock_;
  registry::MeshRegistry& own_;
  ca::Authority& authority_;
  const AdoptionOptions options_;
  const Events events_;
  std::map<model::ClusterId, std::unique_ptr<Adopted>> adopted_;
  /// Who leads a cluster; remembered until the next Check() or Sweep().
  mutable std::map<model::ClusterId, model::ClusterId> leaders_;
  base::Timer sweep_;
  /// Guards answers of API servers against coming after the end.
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace isthmus::controlplane
