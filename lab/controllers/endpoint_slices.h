#pragma once

#include "lab/controllers/world.h"

namespace isthmus::lab::controllers {

/// Writes a Service's ready and unready addresses to its EndpointSlices and to its Endpoints
/// object.
class EndpointSliceController final : public Controller {
 public:
  std::string_view name() const override { return "endpointslice"; }
  std::vector<std::string> KeysFor(const World& world, const Resource& resource, const Json& object,
                                   bool gone) const override;
  std::vector<Write> Reconcile(const World& world, const std::string& key) override;
};

}  // namespace isthmus::lab::controllers
