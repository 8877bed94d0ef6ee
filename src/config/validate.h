#pragma once

#include <string>
#include <vector>

#include "config/kinds.h"
#include "config/reader.h"
#include "kubeapi/json.h"

namespace isthmus::config {

/// What is wrong with an object. Errors refuse it; warnings are shown and let it pass. Every issue
/// names its field.
struct Validation {
  std::vector<Issue> errors;
  std::vector<Issue> warnings;
  bool ok() const { return errors.empty(); }
  /// All errors, one after another: "spec.hosts: must have a host; spec.http[0]: ...".
  std::string text() const;
};

/// Checks an object of a kind of Kinds(): its shape (unknown fields are errors) and the rules of
/// the kind. Looks at nothing but the object.
Validation Validate(const Kind& kind, const kubeapi::Json& object);
/// Finds the kind by apiVersion and kind; an object of another kind is one error.
Validation Validate(const kubeapi::Json& object);

}  // namespace isthmus::config
