#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "kubeapi/json.h"

namespace isthmus::install {

using kubeapi::Json;

/// Puts `over` on top of `under`: maps merge by key, lists and scalars replace, null removes.
void Overlay(Json& under, const Json& over);

/// Sets one value as `--set path=value` does. Segments are divided by '.', "\." is a dot;
/// "name[0]", "name.[0]" and "name.[key:val]" go into lists; missing steps are made. The error
/// names the flag.
base::Status ApplySet(Json& tree, std::string_view flag);

/// Reports each key of `value` that `known` does not have, as "path.to.key". An empty map in
/// `known` takes any key, null takes any value.
void FindUnknownKeys(const Json& value, const Json& known, const std::string& path,
                     std::vector<std::string>& unknown);

}  // namespace isthmus::install
