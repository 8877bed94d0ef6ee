#pragma once

#include "lab/controllers/world.h"

namespace isthmus::lab::controllers {

/// Deletes what belongs to owners that are gone, and carries out foreground and orphan deletion,
/// for the kinds that the controllers watch. Its keys are "<group>/<plural>|<namespace>/<name>".
class GarbageCollector final : public Controller {
 public:
  explicit GarbageCollector(std::vector<Resource> watched) : watched_(std::move(watched)) {}
  std::string_view name() const override { return "garbagecollector"; }
  std::vector<std::string> KeysFor(const World& world, const Resource& resource, const Json& object,
                                   bool gone) const override;
  std::vector<Write> Reconcile(const World& world, const std::string& key) override;

 private:
  struct Dependent {
    const Resource* resource;
    const Json* object;
  };
  std::vector<Dependent> DependentsOf(const World& world, const Json& owner) const;
  std::vector<Write> Finish(const World& world, const Resource& resource, const Json& object) const;

  const std::vector<Resource> watched_;
};

}  // namespace isthmus::lab::controllers
