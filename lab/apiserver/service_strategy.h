#pragma once

#include <vector>

#include "lab/apiserver/engine.h"

namespace isthmus::lab::apiserver {

/// Gives a Service its cluster address, node ports and the fields that follow from its type. `old`
/// is null on create.
std::vector<kubeapi::StatusCause> AllocateService(const Engine& engine, const Json* old,
                                                  Json* service);

/// The rules for a Service's ports, type and selector.
void ValidateService(const Json& service, const Json* old,
                     std::vector<kubeapi::StatusCause>* causes);

}  // namespace isthmus::lab::apiserver
