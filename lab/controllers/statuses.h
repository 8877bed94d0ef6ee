#pragma once

#include "lab/controllers/world.h"

namespace isthmus::lab::controllers {

/// Disruption budgets: how many of their pods there are, are ready and may go.
class DisruptionBudgetController : public Controller {
 public:
  std::string_view name() const override { return "disruption budgets"; }
  std::vector<std::string> KeysFor(const World& world, const Resource& resource, const Json& object,
                                   bool gone) const override;
  std::vector<Write> Reconcile(const World& world, const std::string& key) override;
};

/// Autoscalers: a lab keeps no metrics, so they only see to it that the number of replicas lies
/// between their bounds, and say so.
class AutoscalerController : public Controller {
 public:
  std::string_view name() const override { return "autoscalers"; }
  std::vector<std::string> KeysFor(const World& world, const Resource& resource, const Json& object,
                                   bool gone) const override;
  std::vector<Write> Reconcile(const World& world, const std::string& key) override;
};

/// Volume claims: every claim is bound at once, since nodes give each pod an empty folder for it.
class ClaimController : public Controller {
 public:
  std::string_view name() const override { return "volume claims"; }
  std::vector<std::string> KeysFor(const World& world, const Resource& resource, const Json& object,
                                   bool gone) const override;
  std::vector<Write> Reconcile(const World& world, const std::string& key) override;
};

/// Removes the pods of nodes that have been deleted: nobody else would end them.
class OrphanedPodController : public Controller {
 public:
  std::string_view name() const override { return "orphaned pods"; }
  std::vector<std::string> KeysFor(const World& world, const Resource& resource, const Json& object,
                                   bool gone) const override;
  std::vector<Write> Reconcile(const World& world, const std::string& key) override;
};

}  // namespace isthmus::lab::controllers
