#pragma once

#include "lab/controllers/world.h"

namespace isthmus::lab::controllers {

/// Runs the pods of a Job until enough have succeeded or too many have failed.
class JobController final : public Controller {
 public:
  std::string_view name() const override { return "job"; }
  std::vector<std::string> KeysFor(const World& world, const Resource& resource, const Json& object,
                                   bool gone) const override;
  std::vector<Write> Reconcile(const World& world, const std::string& key) override;
  base::Duration LookAgainIn(const World& world, const std::string& key) const override;
};

}  // namespace isthmus::lab::controllers
