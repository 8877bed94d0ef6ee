#pragma once

#include <map>
#include <memory>
#include <vector>

#include "model/view.h"
#include "translate/http_route.h"
#include "translate/memo.h"
#include "translate/world.h"

namespace isthmus::translate {

/// What all classes share while they build.
struct Workshop {
  Memo memo;
  InternTable interned;
  SetTable sets;
};

using Resources = std::vector<std::shared_ptr<const model::Resource>>;

/// What the outbound listeners and routes of a class are made from. References outlive it.
struct ClassInputs {
  const World& world;
  const ProxyClass& proxy;
  const ServiceScope& scope;
  const Destinations& destinations;
  const SidecarScope* sidecar;  ///< Null: the whole mesh is seen.
  Workshop& workshop;
  /// What must live until the next build to be found again.
  std::vector<std::shared_ptr<const void>>& kept;
};

/// Adds to a key all that routes made from the rules depend on; `rules` may be null.
void AddRules(const ClassInputs& inputs, const RulesPtr& rules, MemoKey* key);
/// Adds a service and the DestinationRule that holds for it.
void AddService(const ClassInputs& inputs, const ServicePtr& service, MemoKey* key);

/// Outbound listeners of sidecars, virtualOutbound last.
Resources BuildSidecarListeners(const ClassInputs& inputs);
/// The route configurations that the ports of a class share, as the last build made them: the next
/// takes over the virtual hosts of the services and rules that are still the same.
struct RouteTables {
  struct Table;
  std::map<int, std::shared_ptr<const Table>> by_port;
  /// Services, DestinationRules and mesh settings are those of the last build.
  bool reusable = false;
};
/// The route configurations that these listeners ask for. `tables` are those of the last build,
/// then of this one.
Resources BuildSidecarRoutes(const ClassInputs& inputs, RouteTables* tables);

}  // namespace isthmus::translate
