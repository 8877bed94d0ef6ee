#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "install/operator.h"

namespace isthmus::install {

/// One part of an installation with its objects in the order in which they are applied.
struct Component {
  std::string id;     ///< Value of operator.istio.io/component: "Base", "Pilot", "IngressGateways",
                      ///< "EgressGateways".
  std::string title;  ///< "Istio core", as the progress lines name it.
  std::string icon;
  std::vector<Json> objects;
};

/// The manifests of an installation, component by component in the order of installing. Pure: asks
/// no cluster. The error names the component and the field.
base::Result<std::vector<Component>> Render(const Installation& installation);

/// ServiceAccount, ClusterRole and binding of those who read this cluster from another; part of
/// Base and Pilot, and what create-remote-secret makes where Istio is not installed yet.
std::vector<Json> ReaderAccess(const std::string& ns, const std::string& revision, bool of_remote);

/// All objects in the order of `manifest generate`: definitions first, services last.
std::vector<Json> ManifestOrder(const std::vector<Component>& components);

}  // namespace isthmus::install
