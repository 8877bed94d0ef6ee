#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "kubeapi/json.h"
#include "kubeapi/list_rules.h"

namespace isthmus::kubeapi {

/// JSON Patch, RFC 6902. Either all operations succeed or the error says which one does not and
/// why.
base::Result<Json> ApplyJsonPatch(const Json& target, const Json& patch);
/// The JSON Patch that leads from one value to another; replaces lists item by item.
Json DiffJsonPatch(const Json& from, const Json& to);

/// JSON merge patch, RFC 7386.
Json ApplyMergePatch(Json target, const Json& patch);
/// The merge patch that leads from one value to another.
Json DiffMergePatch(const Json& from, const Json& to);

/// Strategic merge patch: lists with a rule are merged by their key or as sets, with the directives
/// $patch, $retainKeys, $deleteFromPrimitiveList and $setElementOrder.
base::Result<Json> ApplyStrategicPatch(const Json& target, const Json& patch,
                                       const ListRules& rules);

}  // namespace isthmus::kubeapi
