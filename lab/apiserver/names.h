#pragma once

#include <optional>
#include <string>
#include <vector>

#include "kubeapi/status.h"
#include "lab/apiserver/kind.h"

namespace isthmus::lab::apiserver {

/// The prefix (cut to fit) with five random characters, as generateName wants it.
std::string GenerateName(const std::string& prefix);

/// Checks apiVersion, kind and namespace against where the object was sent, and fills them in.
std::optional<kubeapi::ApiError> CheckTypeAndPlace(const Kind& kind, const KindVersion& version,
                                                   const std::string& ns, Json* object);

/// Name, namespace, labels, annotations, finalizers and owner references.
std::vector<kubeapi::StatusCause> ValidateNames(const Kind& kind, const Json& object);

/// That the value of a field should be a DNS label (RFC 1123), in the words of a real API server.
kubeapi::StatusCause NotADnsLabel(std::string field, const std::string& value);

/// What an update through `subresource` may change: the rest is taken from the present object.
Json WithSubresource(const Kind& kind, const KindVersion& version, const std::string& subresource,
                     const Json& current, Json update);

/// A deleted object whose last finalizer has gone and whose grace is over.
bool ReadyToVanish(const Kind& kind, const Json& object);

/// Whether two objects have the same field owners, whenever they wrote.
bool SameOwners(const Json& a, const Json& b);

}  // namespace isthmus::lab::apiserver
