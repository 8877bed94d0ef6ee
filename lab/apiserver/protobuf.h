#pragma once

#include <string_view>

#include "base/result.h"
#include "kubeapi/json.h"

namespace isthmus::lab::apiserver {

/// Reads an object in Kubernetes' protobuf form ("k8s\0", then runtime.Unknown), which typed Go
/// clients send for built-in kinds. The result is what the same object would be as JSON. Answers
/// are always JSON: those clients accept it.
base::Result<kubeapi::Json> DecodeProtobuf(std::string_view bytes);

}  // namespace isthmus::lab::apiserver
