#pragma once

#include "lab/controllers/world.h"

namespace isthmus::lab::controllers {

/// Moves a Deployment's pods to the replica set of its newest template, within maxSurge and
/// maxUnavailable.
class DeploymentController final : public Controller {
 public:
  std::string_view name() const override { return "deployment"; }
  std::vector<std::string> KeysFor(const World& world, const Resource& resource, const Json& object,
                                   bool gone) const override;
  std::vector<Write> Reconcile(const World& world, const std::string& key) override;
  base::Duration LookAgainIn(const World& world, const std::string& key) const override;
};

}  // namespace isthmus::lab::controllers
