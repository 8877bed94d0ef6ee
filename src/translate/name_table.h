#pragma once

#include <memory>

#include "translate/class_inputs.h"

namespace isthmus::translate {

/// The addresses of all hosts that a class sees, for the agent's DNS proxy.
std::shared_ptr<const model::Resource> BuildNameTable(const ClassInputs& inputs);

}  // namespace isthmus::translate
