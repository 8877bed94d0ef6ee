#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "kubeapi/json.h"

namespace isthmus::lab::apiserver {

/// The values at a simple JSONPath, as CRD columns and selectable fields use them:
/// ".spec.hosts[0]",
/// ".status.conditions[?(@.type=="Ready")].status", ".metadata.labels.app\.kubernetes\.io/name",
/// ".items[*].x". A path that does not parse finds nothing.
std::vector<const kubeapi::Json*> EvaluatePath(const kubeapi::Json& value, std::string_view path);

/// A scalar as kubectl prints it: strings bare, numbers and booleans plain, the rest as JSON.
std::string PlainText(const kubeapi::Json& value);

}  // namespace isthmus::lab::apiserver
