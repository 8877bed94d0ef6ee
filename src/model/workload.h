#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "model/ids.h"
#include "model/service.h"

namespace isthmus::model {

/// A pod or WorkloadEntry as far as the mesh cares. Frozen.
struct Workload {
  ClusterId cluster;
  std::string ns;
  std::string name;
  std::vector<std::string> addresses;
  std::shared_ptr<const Labels> labels;  ///< Never null; without the topology labels.
  std::string service_account;           ///< Kubernetes name, not a URI.
  std::string node;
  Locality locality;
  NetworkId network;
  /// Named ports, for named target ports; shared by pods of one kind. Never null.
  std::shared_ptr<const std::map<std::string, int>> container_ports =
      std::make_shared<const std::map<std::string, int>>();
};
/// Labels are compared by value.
bool operator==(const Workload& a, const Workload& b);

/// Finds workloads by cluster, namespace and name. Copying shares the namespaces that did not
/// change.
class WorkloadIndex {
 public:
  void Put(std::shared_ptr<const Workload> workload);
  void Remove(const ClusterId& cluster, const std::string& ns, const std::string& name);
  void RemoveCluster(const ClusterId& cluster);
  std::shared_ptr<const Workload> Find(const ClusterId& cluster, const std::string& ns,
                                       const std::string& name) const;
  std::shared_ptr<const Workload> FindByAddress(const ClusterId& cluster,
                                                const std::string& address) const;
  std::vector<std::shared_ptr<const Workload>> InNamespace(const ClusterId& cluster,
                                                           const std::string& ns) const;
  std::vector<std::shared_ptr<const Workload>> InCluster(const ClusterId& cluster) const;
  size_t size() const;
  bool operator==(const WorkloadIndex& other) const;

 private:
  using ByName = std::map<std::string, std::shared_ptr<const Workload>>;
  /// The map itself, or a copy of it when another index shares it.
  static ByName& Own(std::shared_ptr<const ByName>& names);
  std::map<std::pair<ClusterId, std::string>, std::shared_ptr<const ByName>> namespaces_;
};

}  // namespace isthmus::model
