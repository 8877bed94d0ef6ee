#pragma once

#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "model/snapshot.h"

namespace isthmus::translate {

using ServicePtr = std::shared_ptr<const model::Service>;

/// The services of a snapshot in the order in which resources are made: by creation time, then
/// name. Immutable.
class ServiceIndex {
 public:
  explicit ServiceIndex(std::shared_ptr<const model::Snapshot::ServiceMap> services);

  const std::vector<ServicePtr>& all() const { return all_; }
  /// Services of one namespace, in the same order.
  const std::vector<ServicePtr>& InNamespace(const std::string& ns) const;
  /// Hostnames that are other names of `hostname` (ExternalName).
  const std::vector<std::string>& AliasesOf(const std::string& hostname) const;
  /// Whether some service is served by the caller's own node only.
  bool node_local() const { return node_local_; }
  /// Whether some service asks for traffic to stay near.
  bool traffic_distribution() const { return traffic_distribution_; }

 private:
  std::vector<ServicePtr> all_;
  std::map<std::string, std::vector<ServicePtr>> namespaces_;
  std::map<std::string, std::vector<std::string>> aliases_;
  bool node_local_ = false;
  bool traffic_distribution_ = false;
};

/// The services that one class of proxies sees: one for a hostname, in creation order. Immutable.
class ServiceScope {
 public:
  ServiceScope() = default;
  /// `admits(service)` says whether the proxy's Sidecar lets it in; visibility is checked here.
  template <typename Admits>
  ServiceScope(const ServiceIndex& index, const std::string& ns, const Admits& admits) {
    for (const ServicePtr& service : index.all()) {
      if (service->export_to.VisibleIn(ns) && admits(*service)) Add(service, ns);
    }
    std::erase(services_, nullptr);
    Number();
  }
  const std::vector<ServicePtr>& services() const { return services_; }
  /// Null when the class does not see it.
  ServicePtr Find(std::string_view hostname) const;

 private:
  void Add(const ServicePtr& service, const std::string& ns);
  void Number();
  std::vector<ServicePtr> services_;
  std::unordered_map<std::string_view, size_t> by_host_;
};

}  // namespace isthmus::translate
