#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "lab/apiserver/engine.h"

namespace isthmus::lab::apiserver {

/// Names that a CustomResourceDefinition leaves to be worked out.
void DefaultCrd(Json* crd);
/// Accepted names, stored versions and the conditions NamesAccepted and Established, which hold at
/// once here.
void FinishCrd(const std::string& now, const Json* old, Json* crd);
void ValidateCrd(const Json& crd, const Json* old, std::vector<kubeapi::StatusCause>* causes);
/// The row that a CustomResourceDefinition makes; `schema` finds the schema of a version when it is
/// needed.
Kind KindOfCrd(const Json& crd, const std::function<Json(const std::string& version)>& schema);

/// Keeps the table of kinds in step with the CustomResourceDefinitions of the store.
class CrdRegistry {
 public:
  explicit CrdRegistry(Engine& engine);

 private:
  void Note(const StoreEvent& event);
  void Register(const Json& crd);
  Engine& engine_;
  std::shared_ptr<void> subscription_;
};

}  // namespace isthmus::lab::apiserver
