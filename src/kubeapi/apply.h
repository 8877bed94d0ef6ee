#pragma once

#include <string>
#include <vector>

#include "base/clock.h"
#include "kubeapi/json.h"
#include "kubeapi/list_rules.h"
#include "kubeapi/status.h"

namespace isthmus::kubeapi {

/// Who writes, for metadata.managedFields.
struct FieldManager {
  std::string name;
  std::string subresource;  ///< "status", or empty.
  base::Time now;
};

/// What server-side apply makes of an object, or why it may not.
struct ApplyOutcome {
  Json object;
  /// Fields that others own with another value, when `force` is not set; the object is then null.
  std::vector<StatusCause> conflicts;
};

/// Server-side apply. `live` is null when the object is not there yet. Fields that the manager
/// applied before and leaves out now are removed unless another manager owns them.
ApplyOutcome ApplyObject(const Json& live, const Json& applied, const FieldManager& manager,
                         bool force, const ListRules& rules);
/// The answer to a request that conflicts.
ApiError ApplyConflict(const std::vector<StatusCause>& conflicts);

/// Writes down who owns what after a create (`before` null), update or patch: `after` with its
/// managedFields made from those of `before`. An explicit empty list in `after` clears them.
Json TrackUpdate(const Json& before, Json after, const FieldManager& manager,
                 const ListRules& rules);

}  // namespace isthmus::kubeapi
