#pragma once

#include <string_view>

#include "model/type_url.h"

namespace isthmus::ads {

using model::kClusterType;
using model::kEndpointType;
using model::kListenerType;
using model::kMeshTrustType;
using model::kNameTableType;
using model::kRouteType;
using model::kSecretType;
inline constexpr std::string_view kExtensionType =
    "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig";
inline constexpr std::string_view kHealthType = "type.googleapis.com/istio.v1.HealthInformation";
inline constexpr std::string_view kDebugType = "istio.io/debug";
inline constexpr std::string_view kDebugSyncType = "istio.io/debug/syncz";
inline constexpr std::string_view kDebugDumpType = "istio.io/debug/config_dump";

/// Whether a client that names nothing means everything. True of all types but EDS, RDS, SDS and
/// ECDS.
bool IsWildcardType(std::string_view type_url);
/// Place of the type within one push: CDS, EDS, LDS, RDS, SDS, then the rest alike. Envoy can use
/// what it gets in this order without gaps: clusters and their endpoints are there before routes
/// name them.
int PushOrder(std::string_view type_url);
/// "CDS", "EDS", ...; the type itself when it has no short name.
std::string_view ShortName(std::string_view type_url);
/// The constant equal to `type_url`, or an empty view: known types need no memory of their own.
std::string_view KnownType(std::string_view type_url);
/// Debug requests are answered once and never become subscriptions.
bool IsDebugType(std::string_view type_url);

}  // namespace isthmus::ads
