#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/snapshot.h"

namespace isthmus::translate {

/// What a Sidecar object lets its workloads see. Frozen.
struct SidecarScope {
  std::shared_ptr<const config::Object<istio::networking::v1::Sidecar>> object;
  struct Egress {
    std::string ns;  ///< "." the proxy's own, "*" any, "~" none.
    std::string host;
  };
  std::vector<Egress> egress;  ///< Empty: everything.
  /// A port on which the workload is served, instead of those that services have.
  struct Ingress {
    int port = 0;
    model::Protocol protocol = model::Protocol::kAuto;
    std::string endpoint;  ///< "address:port" or "unix:///path"; empty: the port itself.
    /// Stands in where no service has the port.
    std::shared_ptr<const model::Service> service;
  };
  std::vector<Ingress> ingress;   ///< Empty: the services' ports.
  std::optional<bool> allow_any;  ///< Instead of the mesh's outbound traffic policy.

  /// Whether a host of namespace `ns` is seen by proxies of `proxy_ns`.
  bool Admits(const std::string& proxy_ns, const std::string& ns, const std::string& host) const;
};

/// Which Sidecar holds for a workload: the oldest of its namespace whose selector takes it, the
/// namespace's own without selector, that of the root namespace. Immutable.
class SidecarIndex {
 public:
  SidecarIndex(const model::Configs& configs, std::string root_namespace);
  /// "namespace/name" of the object, or empty.
  std::string NameFor(const std::string& ns, const model::Labels& labels) const;
  /// Null for an empty or unknown name.
  std::shared_ptr<const SidecarScope> Find(const std::string& name) const;

 private:
  const std::string root_namespace_;
  std::map<std::string, std::vector<std::shared_ptr<const SidecarScope>>>
      namespaces_;  ///< Oldest first.
  std::map<std::string, std::shared_ptr<const SidecarScope>> by_name_;
};

}  // namespace isthmus::translate
