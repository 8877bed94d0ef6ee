#include "translate/service_index.h"

#include <algorithm>
#include <tuple>

namespace isthmus::translate {

ServiceIndex::ServiceIndex(std::shared_ptr<const model::Snapshot::ServiceMap> services) {
  if (services == nullptr) return;
  for (const auto& [host, list] : *services) all_.insert(all_.end(), list.begin(), list.end());
  std::sort(all_.begin(), all_.end(), [](const ServicePtr& a, const ServicePtr& b) {
    return std::tie(a->created, a->hostname, a->ns) < std::tie(b->created, b->hostname, b->ns);
  });
  for (const ServicePtr& service : all_) {
    namespaces_[service->ns].push_back(service);
    if (service->resolution == model::Resolution::kAlias)
      aliases_[service->alias_of].push_back(service->hostname);
    node_local_ = node_local_ || service->node_local;
    traffic_distribution_ = traffic_distribution_ || !service->traffic_distribution.empty();
  }
}

const std::vector<ServicePtr>& ServiceIndex::InNamespace(const std::string& ns) const {
  static const std::vector<ServicePtr> kNone;
  auto found = namespaces_.find(ns);
  return found == namespaces_.end() ? kNone : found->second;
}

const std::vector<std::string>& ServiceIndex::AliasesOf(const std::string& hostname) const {
  static const std::vector<std::string> kNone;
  auto found = aliases_.find(hostname);
  return found == aliases_.end() ? kNone : found->second;
}

void ServiceScope::Add(const ServicePtr& service, const std::string& ns) {
  auto [found, fresh] = by_host_.try_emplace(service->hostname, services_.size());
  if (fresh) {
    services_.push_back(service);
    return;
  }
  // Several objects declare the host: Kubernetes wins, then the proxy's own namespace, then the
  // oldest.
  ServicePtr& other = services_[found->second];
  const auto rank = [&](const model::Service& s) { return std::pair(!s.kubernetes, s.ns != ns); };
  if (rank(*service) >= rank(*other)) return;
  const size_t last = services_.size();
  other = nullptr;
  by_host_.erase(found);
  by_host_.emplace(service->hostname, last);
  services_.push_back(service);
}

void ServiceScope::Number() {
  by_host_.clear();
  for (size_t i = 0; i < services_.size(); ++i) by_host_.emplace(services_[i]->hostname, i);
}

ServicePtr ServiceScope::Find(std::string_view hostname) const {
  auto found = by_host_.find(hostname);
  return found == by_host_.end() ? nullptr : services_[found->second];
}

}  // namespace isthmus::translate
