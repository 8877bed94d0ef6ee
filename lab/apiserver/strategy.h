#pragma once

#include <string>
#include <vector>

#include "lab/apiserver/engine.h"

namespace isthmus::lab::apiserver {

/// What is particular to a built-in kind beyond its row: defaults that depend on other fields, what
/// a create or update resets, and rules that a shape cannot say. Kinds without particulars do
/// nothing here.

/// After the shape's own defaults.
void DefaultKind(const Kind& kind, Json* object);
/// Resets what a client may not set: status, allocated fields of the system.
void PrepareCreate(const Engine& engine, const Kind& kind, const KindVersion& version,
                   const User& user, Json* object);
/// Carries over what an update may not change silently (Service addresses, Job selectors).
void PrepareUpdate(const Engine& engine, const Kind& kind, const Json& old,
                   const std::string& subresource, const User& user, Json* object);
/// The complaints, as a Status has them. `old` is null on create.
std::vector<kubeapi::StatusCause> Validate(const Kind& kind, const KindVersion& version,
                                           const Json& object, const Json* old);
/// Whether an update may take the whole status apart: kinds where generation does not count.
bool HasGeneration(const Kind& kind);

}  // namespace isthmus::lab::apiserver
