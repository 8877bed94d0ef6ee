#include "ads/type_url.h"

namespace isthmus::ads {
namespace {

struct Type {
  std::string_view url;
  std::string_view short_name;
  bool wildcard;
};
// In push order.
constexpr Type kTypes[] = {
    {kClusterType, "CDS", true},   {kEndpointType, "EDS", false},  {kListenerType, "LDS", true},
    {kRouteType, "RDS", false},    {kSecretType, "SDS", false},    {kExtensionType, "ECDS", false},
    {kNameTableType, "NDS", true}, {kMeshTrustType, "PCDS", true},
};
constexpr int kOrdered = 5;  // From here on the order does not matter.

const Type* Find(std::string_view type_url) {
  for (const Type& type : kTypes)
    if (type.url == type_url) return &type;
  return nullptr;
}

}  // namespace

bool IsWildcardType(std::string_view type_url) {
  const Type* type = Find(type_url);
  return type == nullptr || type->wildcard;
}

int PushOrder(std::string_view type_url) {
  const Type* type = Find(type_url);
  if (type == nullptr) return kOrdered;
  const int place = static_cast<int>(type - kTypes);
  return place < kOrdered ? place : kOrdered;
}

std::string_view ShortName(std::string_view type_url) {
  const Type* type = Find(type_url);
  return type == nullptr ? type_url : type->short_name;
}

std::string_view KnownType(std::string_view type_url) {
  const Type* type = Find(type_url);
  return type == nullptr ? std::string_view() : type->url;
}

bool IsDebugType(std::string_view type_url) { return type_url.starts_with(kDebugType); }

}  // namespace isthmus::ads
