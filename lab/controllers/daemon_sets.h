#pragma once

#include "lab/controllers/world.h"

namespace isthmus::lab::controllers {

/// Keeps one pod of a DaemonSet on every node that its template fits.
class DaemonSetController final : public Controller {
 public:
  std::string_view name() const override { return "daemonset"; }
  std::vector<std::string> KeysFor(const World& world, const Resource& resource, const Json& object,
                                   bool gone) const override;
  std::vector<Write> Reconcile(const World& world, const std::string& key) override;
};

}  // namespace isthmus::lab::controllers
