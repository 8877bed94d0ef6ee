#pragma once

#include "lab/controllers/world.h"

namespace isthmus::lab::controllers {

/// Keeps the numbered pods of a StatefulSet, made and replaced one after the other.
class StatefulSetController final : public Controller {
 public:
  std::string_view name() const override { return "statefulset"; }
  std::vector<std::string> KeysFor(const World& world, const Resource& resource, const Json& object,
                                   bool gone) const override;
  std::vector<Write> Reconcile(const World& world, const std::string& key) override;
};

}  // namespace isthmus::lab::controllers
