#include "kubeapi/resource.h"

#include <fmt/format.h>

namespace isthmus::kubeapi {

std::string Resource::Path(std::string_view ns, std::string_view name) const {
  std::string path = group.empty() ? "/api/" + version : fmt::format("/apis/{}/{}", group, version);
  if (namespaced && !ns.empty()) path += fmt::format("/namespaces/{}", ns);
  path += "/" + plural;
  if (!name.empty()) path += fmt::format("/{}", name);
  return path;
}

}  // namespace isthmus::kubeapi
