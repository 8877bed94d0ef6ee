#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "model/snapshot.h"
#include "model/view.h"
#include "translate/mesh_settings.h"

namespace isthmus::translate {

/// The RequestAuthentications that hold for one workload; those of the root namespace first, oldest
/// first in each.
using RequestAuthentications =
    std::vector<std::shared_ptr<const config::Object<istio::security::v1::RequestAuthentication>>>;

/// Finds RequestAuthentications by workload. Immutable.
class RequestAuthenticationIndex {
 public:
  RequestAuthenticationIndex(const model::Configs& configs, std::string root_namespace);
  RequestAuthentications For(const std::string& ns, const model::Labels& labels) const;

 private:
  const std::string root_namespace_;
  std::map<std::string, RequestAuthentications> namespaces_;
};

/// How a workload's proxy checks tokens. Keys are fetched by Envoy itself, not by the control
/// plane: a service of the mesh through its own cluster, any other host through a cluster made for
/// it.
struct TokenChecks {
  std::string filter;  ///< A serialised HttpFilter; empty where no token is checked.
  std::vector<std::shared_ptr<const model::Resource>>
      clusters;  ///< Those that lead to hosts with keys.
};
TokenChecks BuildTokenChecks(const MeshSettings& mesh, const model::Snapshot& snapshot,
                             const RequestAuthentications& policies, bool ipv4, bool router);

}  // namespace isthmus::translate
