#pragma once

#include <string>

#include "kubeapi/json.h"

namespace isthmus::lab::apiserver {

/// An OpenAPI v2 document in the protobuf form that kubectl reads (gnostic's openapi.v2.Document):
/// paths with their query parameters, definitions with their types and x- extensions.
std::string EncodeOpenApi(const kubeapi::Json& document);

}  // namespace isthmus::lab::apiserver
