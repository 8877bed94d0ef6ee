#include "translate/destination_rules.h"

#include <algorithm>
#include <tuple>

#include "istio/networking/v1/destination_rule.pb.h"
#include "translate/names.h"
#include "translate/proxy_class.h"
#include "translate/visibility.h"

namespace isthmus::translate {
namespace {

namespace v1 = istio::networking::v1;

template <typename Message>
void ReadBlocks(const Message& message, TrafficPolicy* policy) {
  if (message.has_load_balancer()) policy->load_balancer = &message.load_balancer();
  if (message.has_connection_pool()) policy->connection_pool = &message.connection_pool();
  if (message.has_outlier_detection()) policy->outlier_detection = &message.outlier_detection();
  if (message.has_tls()) policy->tls = &message.tls();
}

void Apply(const v1::TrafficPolicy& from, int port, TrafficPolicy* policy) {
  ReadBlocks(from, policy);
  if (from.has_proxy_protocol()) policy->proxy_protocol = &from.proxy_protocol();
  if (from.has_retry_budget()) policy->retry_budget = &from.retry_budget();
  for (const auto& level : from.port_level_settings()) {
    if (static_cast<int>(level.port().number()) != port) continue;
    policy->load_balancer = nullptr;
    policy->connection_pool = nullptr;
    policy->outlier_detection = nullptr;
    policy->tls = nullptr;
    ReadBlocks(level, policy);
    return;
  }
}

std::shared_ptr<MergedRule> Merge(std::vector<std::shared_ptr<const MergedRule::Object>> objects,
                                  std::string host, model::Visibility export_to) {
  auto rule = std::make_shared<MergedRule>();
  rule->host = std::move(host);
  rule->export_to = std::move(export_to);
  const auto& selector = objects.front()->spec.workload_selector().match_labels();
  rule->selector = model::Labels(selector.begin(), selector.end());
  rule->selects = !rule->selector.empty();
  for (const auto& object : objects) {
    if (rule->policy == nullptr && object->spec.has_traffic_policy()) {
      rule->policy = &object->spec.traffic_policy();
    }
    for (const auto& subset : object->spec.subsets()) {
      if (rule->FindSubset(subset.name()) == nullptr) rule->subsets.push_back(&subset);
    }
  }
  rule->objects = std::move(objects);
  return rule;
}

}  // namespace

const config::Meta& MergedRule::meta() const { return objects.front()->meta; }

const v1::Subset* MergedRule::FindSubset(std::string_view name) const {
  for (const v1::Subset* subset : subsets) {
    if (subset->name() == name) return subset;
  }
  return nullptr;
}

TrafficPolicy PolicyFor(const MergedRule* rule, int port, std::string_view subset) {
  TrafficPolicy policy;
  if (rule == nullptr) return policy;
  if (rule->policy != nullptr) Apply(*rule->policy, port, &policy);
  if (subset.empty()) return policy;
  const v1::Subset* found = rule->FindSubset(subset);
  if (found != nullptr && found->has_traffic_policy())
    Apply(found->traffic_policy(), port, &policy);
  return policy;
}

DestinationRuleIndex::DestinationRuleIndex(const model::Snapshot& snapshot,
                                           const MeshSettings& mesh,
                                           const DestinationRuleIndex* previous)
    : root_namespace_(mesh.root_namespace) {
  using Key = std::tuple<std::string, std::string, bool, std::set<std::string>, model::Labels>;
  std::map<Key, std::vector<std::shared_ptr<const MergedRule::Object>>> groups;
  std::vector<Key> order;
  if (snapshot.configs.destination_rules == nullptr) return;
  for (const auto& object : *snapshot.configs.destination_rules) {
    const auto& selector = object->spec.workload_selector().match_labels();
    const model::Visibility export_to =
        ReadVisibility(object->spec.export_to(), object->meta.ns, mesh.destination_rule_export_to,
                       mesh.destination_rule_private);
    Key key(object->meta.ns, FullHost(object->spec.host(), object->meta.ns, mesh.domain_suffix),
            export_to.all, export_to.namespaces, model::Labels(selector.begin(), selector.end()));
    auto& group = groups[key];
    if (group.empty()) order.push_back(key);
    group.push_back(object);
  }
  std::map<const MergedRule::Object*, std::shared_ptr<const MergedRule>> known;
  if (previous != nullptr) {
    for (const auto& rule : previous->all_) known.emplace(rule->objects.front().get(), rule);
  }
  for (const Key& key : order) {
    auto& objects = groups[key];
    const auto& [ns, host, all, namespaces, selector] = key;
    std::shared_ptr<const MergedRule> rule;
    auto old = known.find(objects.front().get());
    const model::Visibility export_to{all, namespaces};
    if (old != known.end() && old->second->objects == objects &&
        old->second->export_to == export_to && old->second->host == host) {
      rule = old->second;
    } else {
      rule = Merge(objects, host, export_to);
    }
    ReadNeeds(*rule);
    all_.push_back(rule);
    Namespace& space = namespaces_[ns];
    Rules* rules = nullptr;
    if (!host.starts_with('*')) {
      rules = &space.exact[host];
    } else {
      auto found = std::find_if(space.wildcards.begin(), space.wildcards.end(),
                                [&](const auto& entry) { return entry.first == host; });
      if (found == space.wildcards.end()) found = space.wildcards.insert(found, {host, {}});
      rules = &found->second;
    }
    rules->insert(rule->selects ? std::find_if(rules->begin(), rules->end(),
                                               [](const auto& other) { return !other->selects; })
                                : rules->end(),
                  rule);
  }
  for (auto& [ns, space] : namespaces_) {
    std::sort(space.wildcards.begin(), space.wildcards.end(),
              [](const auto& a, const auto& b) { return MoreSpecificHost(a.first, b.first); });
  }
  std::sort(selector_keys_.begin(), selector_keys_.end());
  selector_keys_.erase(std::unique(selector_keys_.begin(), selector_keys_.end()),
                       selector_keys_.end());
}

void DestinationRuleIndex::ReadNeeds(const MergedRule& rule) {
  for (const auto& [key, value] : rule.selector) selector_keys_.push_back(key);
  auto read = [this](const auto& policy) {
    if (policy.has_outlier_detection()) uses_locality_ = true;
    if (!policy.load_balancer().has_locality_lb_setting()) return;
    const auto& setting = policy.load_balancer().locality_lb_setting();
    uses_locality_ = true;
    for (const auto& label : setting.failover_priority())
      failover_labels_.push_back(label.substr(0, label.find('=')));
  };
  auto read_all = [&](const v1::TrafficPolicy& policy) {
    read(policy);
    for (const auto& level : policy.port_level_settings()) read(level);
  };
  if (rule.policy != nullptr) read_all(*rule.policy);
  for (const v1::Subset* subset : rule.subsets) read_all(subset->traffic_policy());
}

std::shared_ptr<const MergedRule> DestinationRuleIndex::FindIn(const Namespace& space,
                                                               bool exported_only,
                                                               const std::string& ns,
                                                               const model::Labels& labels,
                                                               const std::string& host) const {
  auto pick = [&](const Rules& rules) -> std::shared_ptr<const MergedRule> {
    for (const auto& rule : rules) {
      if (exported_only && (rule->selects || !rule->export_to.VisibleIn(ns))) continue;
      if (rule->selects && !Selects(rule->selector, labels)) continue;
      return rule;
    }
    return nullptr;
  };
  if (auto exact = space.exact.find(host); exact != space.exact.end()) {
    if (auto rule = pick(exact->second)) return rule;
  }
  for (const auto& [pattern, rules] : space.wildcards) {
    if (!HostCovers(pattern, host)) continue;
    if (auto rule = pick(rules)) return rule;
  }
  return nullptr;
}

std::shared_ptr<const MergedRule> DestinationRuleIndex::Find(const std::string& ns,
                                                             const model::Labels& labels,
                                                             const std::string& host,
                                                             const std::string& service_ns) const {
  if (ns != root_namespace_) {
    if (auto own = namespaces_.find(ns); own != namespaces_.end()) {
      if (auto rule = FindIn(own->second, false, ns, labels, host)) return rule;
    }
  }
  if (auto theirs = namespaces_.find(service_ns); theirs != namespaces_.end()) {
    if (auto rule = FindIn(theirs->second, service_ns != ns, ns, labels, host)) return rule;
  }
  if (auto root = namespaces_.find(root_namespace_); root != namespaces_.end()) {
    return FindIn(root->second, root_namespace_ != ns, ns, labels, host);
  }
  return nullptr;
}

}  // namespace isthmus::translate
