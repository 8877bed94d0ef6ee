#include "model/workload.h"

#include <algorithm>
#include <utility>

namespace isthmus::model {

bool operator==(const Workload& a, const Workload& b) {
  return a.cluster == b.cluster && a.ns == b.ns && a.name == b.name && a.addresses == b.addresses &&
         (a.labels == b.labels || *a.labels == *b.labels) &&
         a.service_account == b.service_account && a.node == b.node && a.locality == b.locality &&
         a.network == b.network &&
         (a.container_ports == b.container_ports || *a.container_ports == *b.container_ports);
}

WorkloadIndex::ByName& WorkloadIndex::Own(std::shared_ptr<const ByName>& names) {
  // Nobody else holds it: changing it in place cannot be seen, and loading a namespace of n
  // workloads costs n, not n squared.
  if (!names || names.use_count() > 1)
    names = names ? std::make_shared<ByName>(*names) : std::make_shared<ByName>();
  return const_cast<ByName&>(*names);
}

void WorkloadIndex::Put(std::shared_ptr<const Workload> workload) {
  auto& names = namespaces_[{workload->cluster, workload->ns}];
  std::string name = workload->name;
  Own(names)[std::move(name)] = std::move(workload);
}

void WorkloadIndex::Remove(const ClusterId& cluster, const std::string& ns,
                           const std::string& name) {
  auto found = namespaces_.find({cluster, ns});
  if (found == namespaces_.end() || !found->second->contains(name)) return;
  if (found->second->size() == 1)
    namespaces_.erase(found);
  else
    Own(found->second).erase(name);
}

void WorkloadIndex::RemoveCluster(const ClusterId& cluster) {
  auto first = namespaces_.lower_bound({cluster, ""});
  auto last = first;
  while (last != namespaces_.end() && last->first.first == cluster) ++last;
  namespaces_.erase(first, last);
}

std::shared_ptr<const Workload> WorkloadIndex::Find(const ClusterId& cluster, const std::string& ns,
                                                    const std::string& name) const {
  auto found = namespaces_.find({cluster, ns});
  if (found == namespaces_.end()) return nullptr;
  auto workload = found->second->find(name);
  return workload == found->second->end() ? nullptr : workload->second;
}

std::shared_ptr<const Workload> WorkloadIndex::FindByAddress(const ClusterId& cluster,
                                                             const std::string& address) const {
  for (auto it = namespaces_.lower_bound({cluster, ""});
       it != namespaces_.end() && it->first.first == cluster; ++it)
    for (const auto& [name, workload] : *it->second)
      if (std::find(workload->addresses.begin(), workload->addresses.end(), address) !=
          workload->addresses.end())
        return workload;
  return nullptr;
}

std::vector<std::shared_ptr<const Workload>> WorkloadIndex::InNamespace(
    const ClusterId& cluster, const std::string& ns) const {
  std::vector<std::shared_ptr<const Workload>> workloads;
  auto found = namespaces_.find({cluster, ns});
  if (found == namespaces_.end()) return workloads;
  workloads.reserve(found->second->size());
  for (const auto& [name, workload] : *found->second) workloads.push_back(workload);
  return workloads;
}

std::vector<std::shared_ptr<const Workload>> WorkloadIndex::InCluster(
    const ClusterId& cluster) const {
  std::vector<std::shared_ptr<const Workload>> workloads;
  for (auto it = namespaces_.lower_bound({cluster, ""});
       it != namespaces_.end() && it->first.first == cluster; ++it)
    for (const auto& [name, workload] : *it->second) workloads.push_back(workload);
  return workloads;
}

size_t WorkloadIndex::size() const {
  size_t total = 0;
  for (const auto& [place, names] : namespaces_) total += names->size();
  return total;
}

bool WorkloadIndex::operator==(const WorkloadIndex& other) const {
  return std::equal(namespaces_.begin(), namespaces_.end(), other.namespaces_.begin(),
                    other.namespaces_.end(), [](const auto& a, const auto& b) {
                      return a.first == b.first &&
                             std::equal(a.second->begin(), a.second->end(), b.second->begin(),
                                        b.second->end(), [](const auto& x, const auto& y) {
                                          return x.first == y.first && *x.second == *y.second;
                                        });
                    });
}

}  // namespace isthmus::model
