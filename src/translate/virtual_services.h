#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "model/snapshot.h"
#include "translate/mesh_settings.h"

namespace isthmus::translate {

/// A VirtualService with its names made full. Frozen.
struct RoutingRules {
  using Spec = istio::networking::v1::VirtualService;
  /// What the rules were read from: the object, and those it delegates to.
  std::vector<std::shared_ptr<const config::Object<Spec>>> objects;
  std::shared_ptr<const Spec> spec;  ///< With the routes of delegates in place.
  std::vector<std::string> hosts;
  std::set<std::string> gateways;      ///< "namespace/name", or "mesh".
  std::set<std::string> destinations;  ///< Full hosts that its routes lead to.
  model::Visibility export_to;

  const config::Meta& meta() const;
  bool for_mesh() const { return gateways.contains("mesh"); }
};
using RulesPtr = std::shared_ptr<const RoutingRules>;

/// Which VirtualServices speak about a host, or are bound to a gateway. Oldest first. Immutable.
class VirtualServiceIndex {
 public:
  /// Rules that did not change since `previous` (may be null) keep their identity.
  VirtualServiceIndex(const model::Snapshot& snapshot, const MeshSettings& mesh,
                      const VirtualServiceIndex* previous);

  /// The one that routes a host for sidecars of `ns`: exact hosts before wildcards, then the
  /// oldest. Null: none.
  RulesPtr ForMesh(const std::string& host, const std::string& ns) const;
  /// All hosts that sidecars of `ns` have rules for, each with the rules that win.
  std::map<std::string, RulesPtr> MeshHosts(const std::string& ns) const;
  /// Those that name the gateway "namespace/name", whatever they export to.
  const std::vector<RulesPtr>& ForGateway(const std::string& gateway) const;
  /// Keys of labels by which some rule tells sources apart.
  const std::set<std::string>& source_label_keys() const { return source_label_keys_; }

 private:
  void ReadNeeds(const RoutingRules& rules);

  std::vector<RulesPtr> all_;
  std::map<std::string, std::vector<RulesPtr>, std::less<>> mesh_exact_;
  std::vector<std::pair<std::string, std::vector<RulesPtr>>>
      mesh_wildcards_;  ///< Most specific first.
  std::map<std::string, std::vector<RulesPtr>> gateways_;
  std::set<std::string> source_label_keys_;
};

}  // namespace isthmus::translate
