#pragma once

#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"
#include "kubeapi/json.h"

namespace isthmus::kubeapi {

// What every object has, read without fear of wrong types.
std::string ApiVersionOf(const Json& object);
std::string KindOf(const Json& object);
std::string NameOf(const Json& object);
std::string NamespaceOf(const Json& object);
std::string UidOf(const Json& object);
std::string ResourceVersionOf(const Json& object);
std::string LabelOf(const Json& object, std::string_view label);
std::string AnnotationOf(const Json& object, std::string_view annotation);
/// The group in an apiVersion: "apps" of "apps/v1", "" of "v1".
std::string_view GroupOf(std::string_view api_version);
std::string_view VersionOf(std::string_view api_version);

void SetLabel(Json& object, std::string_view label, std::string_view value);
void SetAnnotation(Json& object, std::string_view annotation, std::string_view value);

/// "namespace/name", or "name" for what belongs to no namespace.
std::string KeyOf(const Json& object);
std::string KeyOf(std::string_view ns, std::string_view name);
/// "Deployment/istio-system/istiod", for messages.
std::string Describe(const Json& object);

/// The ownerReference by which `child` names `owner`.
Json OwnerReference(const Json& owner, bool controller = true);
/// The reference with controller: true, or null.
const Json* ControllerOf(const Json& object);
bool IsOwnedBy(const Json& object, std::string_view uid);
bool IsBeingDeleted(const Json& object);

/// The condition of `status.conditions` with that type, or null.
const Json* FindCondition(const Json& object, std::string_view type);
bool ConditionIsTrue(const Json& object, std::string_view type);

/// A quantity ("100m", "1Gi", "2", "1e3") in thousandths: 100, 1073741824000, 2000, 1000000.
base::Result<int64_t> ParseQuantityMilli(std::string_view text);

/// Whether the text is a DNS label (RFC 1123) or a DNS subdomain, as names must be.
bool IsDnsLabel(std::string_view text);
bool IsDnsSubdomain(std::string_view text);

}  // namespace isthmus::kubeapi
