#pragma once

#include "lab/controllers/world.h"

namespace isthmus::lab::controllers {

/// Places pods on nodes: ready ones that fit selector, affinity to nodes and taints; the emptiest
/// first.
class Scheduler final : public Controller {
 public:
  std::string_view name() const override { return "scheduler"; }
  std::vector<std::string> KeysFor(const World& world, const Resource& resource, const Json& object,
                                   bool gone) const override;
  std::vector<Write> Reconcile(const World& world, const std::string& key) override;
};

}  // namespace isthmus::lab::controllers
