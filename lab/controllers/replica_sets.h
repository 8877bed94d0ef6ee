#pragma once

#include "lab/controllers/world.h"

namespace isthmus::lab::controllers {

/// Keeps as many pods of a ReplicaSet's template as it asks for.
class ReplicaSetController final : public Controller {
 public:
  std::string_view name() const override { return "replicaset"; }
  std::vector<std::string> KeysFor(const World& world, const Resource& resource, const Json& object,
                                   bool gone) const override;
  std::vector<Write> Reconcile(const World& world, const std::string& key) override;
};

}  // namespace isthmus::lab::controllers
