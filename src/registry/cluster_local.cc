#include "registry/cluster_local.h"

#include <algorithm>

#include "base/strings.h"
#include "config/hosts.h"
#include "istio/mesh/v1alpha1/config.pb.h"

namespace isthmus::registry {

ClusterLocalHosts::ClusterLocalHosts(const istio::mesh::v1alpha1::MeshConfig& mesh,
                                     const std::string& domain_suffix) {
  for (const auto& setting : mesh.service_settings())
    for (const std::string& host : setting.hosts())
      (setting.settings().cluster_local() ? local_ : global_).insert(host);
  std::set<std::string> defaults = {"*.kube-system.svc." + domain_suffix,
                                    "kubernetes.default.svc." + domain_suffix};
  // "istiod.istio-system.svc:15012": the east-west gateway's route to istiod must stay on the
  // primary even when a remote cluster has a Service of that name.
  std::string discovery(base::Cut(mesh.default_config().discovery_address(), ":").first);
  if (discovery.ends_with(".svc")) discovery += "." + domain_suffix;
  if (!discovery.empty()) defaults.insert(discovery);
  for (const std::string& host : defaults) {
    const bool overridden = std::any_of(
        global_.begin(), global_.end(),
        [&host](const std::string& global) { return config::HostWithin(global, host); });
    if (!overridden) local_.insert(host);
  }
}

bool ClusterLocalHosts::Contains(const std::string& hostname) const {
  const std::string* local = config::MostSpecificHost(hostname, local_);
  if (local == nullptr) return false;
  const std::string* global = config::MostSpecificHost(hostname, global_);
  return global == nullptr || config::MoreSpecificHost(*local, *global);
}

}  // namespace isthmus::registry
