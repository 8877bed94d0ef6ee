#pragma once

#include <array>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "model/snapshot.h"
#include "model/view.h"
#include "translate/class_inputs.h"
#include "translate/clusters.h"
#include "translate/envoy_patching.h"
#include "translate/gateway_plan.h"
#include "translate/world.h"

namespace isthmus::translate {

/// The outbound resources of one class of proxies, kept up to date.
///
/// Invariant: after Update the sets are those that a fresh ClassView of the same world would have,
/// byte by byte; sets and resources that did not change keep their address. Owned by the
/// Translator; single-threaded.
class ClassView final : private Destinations {
 public:
  /// Assignments are spread over several sets by host, so that a change of one copies few.
  static constexpr size_t kEndpointShards = 16;
  using Set = std::shared_ptr<const model::ResourceSet>;
  struct Sets {
    Set clusters;
    std::array<Set, kEndpointShards> endpoints;
    Set listeners;
    Set routes;
    Set secrets;
    Set names;
  };

  ClassView(ProxyClass proxy, Workshop* workshop);
  /// `changes` are those since the world of the last Update; ignored at the first.
  void Update(std::shared_ptr<const World> world, const model::ChangeSet& changes);

  const ProxyClass& proxy() const { return proxy_; }
  const Sets& sets() const { return sets_; }

 private:
  /// What is kept of one service between updates.
  struct Part {
    ServicePtr service;
    std::shared_ptr<const MergedRule> rule;
    std::shared_ptr<const ServiceClusters> clusters;
    std::shared_ptr<const ServiceClusters> sni_clusters;  ///< Null where there are none.
    std::shared_ptr<const Resources> endpoints;
    const std::set<std::string>* accounts =
        nullptr;  ///< Of the endpoints that the clusters were built from.
    std::shared_ptr<const model::ServiceEndpoints> held;
  };
  /// Which kinds of resources a change may touch.
  struct Dirty {
    bool scope = false;
    bool clusters = false;
    bool endpoints = false;
    bool listeners = false;
    bool routes = false;
    bool secrets = false;
    bool names = false;
    bool operator==(const Dirty&) const = default;
  };
  static Dirty Everything() { return {true, true, true, true, true, true, true}; }

  /// The world with the mesh settings that the class's Sidecar overrides.
  std::shared_ptr<const World> Localise(std::shared_ptr<const World> world);
  /// Told from the indexes that differ; endpoints are left to the caller.
  Dirty WhatIsDirty(const World& before, const model::ChangeSet& changes) const;
  /// Rebuilds the load assignments of "<hostname>/<namespace>" only; false, with nothing done, when
  /// the change reaches further.
  bool UpdateEndpoints(const std::set<std::string>& keys);
  void BuildScope();
  void BuildClusters();
  void BuildEndpoints();
  EndpointInputs InputsFor(const Part& part, const model::ServiceEndpoints* endpoints,
                           const model::GatewayIndex& gateways) const;
  std::shared_ptr<const ServiceClusters> ClustersOf(const Part& part, bool sni);
  std::shared_ptr<const Resources> EndpointsOf(const Part& part);
  using Kept = std::vector<std::shared_ptr<const void>>;
  ClassInputs Inputs(Kept* kept);
  void BuildListeners();
  void BuildRoutes();
  void BuildSecretSet();
  void BuildNames();
  PatchSide Side() const;
  ServicePtr FindService(const std::string& host) const override;
  std::shared_ptr<const MergedRule> FindRule(const std::string& host) const override;
  void ReplaceSet(Resources resources, Set* set);

  const ProxyClass proxy_;
  Workshop* const workshop_;
  std::shared_ptr<const World> given_;  ///< As the Translator has it.
  std::shared_ptr<const World> world_;  ///< As the class sees it; mostly the same.
  std::shared_ptr<const SidecarScope> sidecar_;
  std::shared_ptr<const MeshSettings> mesh_before_;  ///< What `own_mesh_` was made from.
  std::shared_ptr<const MeshSettings> own_mesh_;
  ServiceScope scope_;
  std::vector<Part> parts_;                          ///< In the order of the scope.
  std::unordered_map<std::string, size_t> part_of_;  ///< By "<hostname>/<namespace>".
  /// Rules of hosts, as routes ask for them; also of hosts outside the scope.
  mutable std::unordered_map<std::string, std::shared_ptr<const MergedRule>> rules_;
  std::vector<GatewayPort> gateway_ports_;  ///< Routers only.
  Sets sets_;
  EnvoyPatchesPtr patches_;  ///< Null: none.
  Kept kept_clusters_;
  Kept kept_listeners_;
  Kept kept_routes_;
  RouteTables route_tables_;
};

}  // namespace isthmus::translate
