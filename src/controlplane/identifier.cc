#include "controlplane/identifier.h"

#include "base/version.h"
#include "kubeapi/json.h"

namespace isthmus::controlplane {

std::string ControlPlaneIdentifier(const std::string& pod, const std::string& revision) {
  const std::string version(base::kVersion);
  return kubeapi::ToJson({{"Component", "istiod"},
                          {"ID", pod},
                          {"Info",
                           {{"version", version},
                            {"revision", revision},
                            {"golang_version", ""},
                            {"status", "Clean"},
                            {"tag", version}}}});
}

}  // namespace isthmus::controlplane
