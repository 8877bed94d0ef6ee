#include "config/parse.h"

#include <tuple>

namespace isthmus::config {
namespace {

std::map<std::string, std::string> ReadStrings(const kubeapi::Json* json) {
  std::map<std::string, std::string> strings;
  if (json == nullptr || !json->is_object()) return strings;
  for (const auto& [key, value] : json->items())
    if (value.is_string()) strings.emplace(key, value.get_ref<const std::string&>());
  return strings;
}

}  // namespace

base::Result<Meta> ReadMeta(const kubeapi::Json& object) {
  Meta meta;
  const std::string api_version = kubeapi::StringAt(object, {"apiVersion"});
  const size_t slash = api_version.find('/');
  meta.group = slash == std::string::npos ? "" : api_version.substr(0, slash);
  meta.version = slash == std::string::npos ? api_version : api_version.substr(slash + 1);
  meta.kind = kubeapi::StringAt(object, {"kind"});
  meta.name = kubeapi::StringAt(object, {"metadata", "name"});
  meta.ns = kubeapi::StringAt(object, {"metadata", "namespace"});
  if (meta.name.empty())
    return base::Error(base::Code::kInvalidArgument, "{}: metadata.name is missing", meta.kind);
  meta.labels = ReadStrings(kubeapi::Find(object, {"metadata", "labels"}));
  meta.annotations = ReadStrings(kubeapi::Find(object, {"metadata", "annotations"}));
  meta.resource_version = kubeapi::StringAt(object, {"metadata", "resourceVersion"});
  meta.generation = kubeapi::IntAt(object, {"metadata", "generation"});
  auto created = base::ParseTime(kubeapi::StringAt(object, {"metadata", "creationTimestamp"}));
  if (created.ok()) meta.created = *created;
  return meta;
}

bool Before(const Meta& a, const Meta& b) {
  return std::tie(a.created, a.ns, a.name) < std::tie(b.created, b.ns, b.name);
}

}  // namespace isthmus::config
