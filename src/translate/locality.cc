#include "translate/locality.h"

#include <algorithm>
#include <map>
#include <optional>

#include "istio/networking/v1/destination_rule.pb.h"

namespace isthmus::translate {
namespace {

namespace v1 = istio::networking::v1;

constexpr std::string_view kRegion = "topology.kubernetes.io/region";
constexpr std::string_view kZone = "topology.kubernetes.io/zone";
constexpr std::string_view kSubzone = "topology.istio.io/subzone";
constexpr std::string_view kNetwork = "topology.istio.io/network";
constexpr std::string_view kCluster = "topology.istio.io/cluster";
constexpr std::string_view kHostname = "kubernetes.io/hostname";

/// "*", "region/*", "region/zone/*" or an exact locality.
bool Matches(const std::string& pattern, const model::Locality& locality) {
  if (pattern == "*") return true;
  const model::Locality wanted = model::Locality::Parse(pattern);
  auto part = [](const std::string& want, const std::string& have, bool* rest) {
    if (*rest) return true;
    if (want == "*") *rest = true;
    return *rest || want == have;
  };
  bool rest = false;
  if (!part(wanted.region, locality.region, &rest)) return false;
  if (wanted.zone.empty() && !rest) return true;
  if (!part(wanted.zone, locality.zone, &rest)) return false;
  if (wanted.subzone.empty() && !rest) return true;
  return part(wanted.subzone, locality.subzone, &rest);
}

void Distribute(const v1::LocalityLoadBalancerSetting& setting, const ProxyClass& proxy,
                std::vector<LocalityGroup>* groups) {
  const v1::LocalityLoadBalancerSetting::Distribute* rule = nullptr;
  for (const auto& candidate : setting.distribute()) {
    if (rule == nullptr && Matches(candidate.from(), proxy.locality)) rule = &candidate;
  }
  if (rule == nullptr) return;
  std::vector<std::optional<uint64_t>> weights(groups->size());
  // Exact localities before wildcards, so that a group is counted once.
  std::map<std::string, uint32_t> shares(rule->to().begin(), rule->to().end());
  for (bool wild : {false, true}) {
    for (const auto& [pattern, percent] : shares) {
      if ((pattern.find('*') != std::string::npos) != wild) continue;
      uint64_t total = 0;
      std::vector<size_t> matched;
      for (size_t i = 0; i < groups->size(); ++i) {
        const LocalityGroup& group = (*groups)[i];
        if (weights[i].has_value() || group.weight == 0 || !Matches(pattern, group.locality))
          continue;
        matched.push_back(i);
        total += group.weight;
      }
      for (size_t i : matched) weights[i] = ((*groups)[i].weight * percent + total - 1) / total;
    }
  }
  for (size_t i = 0; i < groups->size(); ++i) {
    (*groups)[i].weight = weights[i].value_or(0);
    if ((*groups)[i].weight == 0) (*groups)[i].endpoints.clear();
  }
}

uint32_t Distance(const v1::LocalityLoadBalancerSetting* setting, const model::Locality& from,
                  const model::Locality& to) {
  if (from.region == to.region) {
    if (from.zone != to.zone) return 2;
    return from.subzone == to.subzone ? 0 : 1;
  }
  if (setting == nullptr) return 3;
  for (const auto& rule : setting->failover()) {
    if (rule.from() == from.region) return rule.to() == to.region ? 3 : 4;
  }
  return 3;
}

model::Labels ProxyLabels(const ProxyClass& proxy) {
  model::Labels labels = proxy.labels;
  labels[std::string(kRegion)] = proxy.locality.region;
  labels[std::string(kZone)] = proxy.locality.zone;
  labels[std::string(kSubzone)] = proxy.locality.subzone;
  labels[std::string(kNetwork)] = proxy.network.text();
  labels[std::string(kCluster)] = proxy.cluster.text();
  if (!proxy.node.empty()) labels[std::string(kHostname)] = proxy.node;
  return labels;
}

std::string LabelOf(const LbEndpoint& endpoint, const std::string& key) {
  if (endpoint.gateway != nullptr) {
    if (key == kNetwork) return endpoint.gateway->network.text();
    if (key == kCluster) return endpoint.gateway->cluster.text();
    return "";
  }
  const model::Endpoint& e = *endpoint.endpoint;
  if (const std::string* label = e.FindLabel(key)) return *label;
  if (key == kRegion) return e.locality.region;
  if (key == kZone) return e.locality.zone;
  if (key == kSubzone) return e.locality.subzone;
  if (key == kNetwork) return e.network.text();
  if (key == kCluster) return e.cluster.text();
  return key == kHostname ? e.node : "";
}

/// Rank by the first label in which the endpoint differs; fewer leading matches, higher rank.
uint32_t Rank(const std::vector<std::string>& keys, const model::Labels& proxy,
              const LbEndpoint& endpoint) {
  const size_t count = keys.size();
  uint32_t penalty = 0;
  for (size_t i = 0; i < count; ++i) {
    const size_t equals = keys[i].find('=');
    const std::string key = keys[i].substr(0, equals);
    std::string wanted;
    if (equals != std::string::npos) {
      wanted = keys[i].substr(equals + 1);
    } else if (auto found = proxy.find(key); found != proxy.end()) {
      wanted = found->second;
    }
    if (LabelOf(endpoint, key) == wanted) continue;
    if (i == 0 && key == kNetwork) {
      penalty = static_cast<uint32_t>(count);
      continue;
    }
    return penalty + static_cast<uint32_t>(count - i);
  }
  return penalty;
}

void RankByLabels(const std::vector<std::string>& keys, const ProxyClass& proxy,
                  std::vector<LocalityGroup>* groups) {
  const model::Labels labels = ProxyLabels(proxy);
  std::vector<LocalityGroup> split;
  for (LocalityGroup& group : *groups) {
    std::map<uint32_t, LocalityGroup> ranks;
    for (LbEndpoint& endpoint : group.endpoints) {
      LocalityGroup& rank = ranks[Rank(keys, labels, endpoint)];
      rank.weight += endpoint.weight;
      rank.endpoints.push_back(endpoint);
    }
    if (ranks.empty()) split.push_back(group);
    for (auto& [rank, part] : ranks) {
      part.locality = group.locality;
      part.priority = rank;
      split.push_back(std::move(part));
    }
  }
  *groups = std::move(split);
}

/// Numbers the priorities 0..N without gaps, as Envoy asks for.
void Compact(std::vector<LocalityGroup>* groups) {
  std::map<uint32_t, uint32_t> numbers;
  for (const LocalityGroup& group : *groups) {
    if (!group.endpoints.empty()) numbers.emplace(group.priority, 0);
  }
  uint32_t next = 0;
  for (auto& [priority, number] : numbers) number = next++;
  for (LocalityGroup& group : *groups) {
    auto found = numbers.find(group.priority);
    group.priority = found == numbers.end() ? 0 : found->second;
  }
}

}  // namespace

LocalitySetting ReadLocalitySetting(const MeshSettings& mesh, const model::Service& service,
                                    const TrafficPolicy& policy) {
  LocalitySetting result;
  const bool outlier = policy.outlier_detection != nullptr;
  const v1::LocalityLoadBalancerSetting* setting = nullptr;
  if (policy.load_balancer != nullptr && policy.load_balancer->has_locality_lb_setting()) {
    setting = &policy.load_balancer->locality_lb_setting();
    if (setting->has_enabled() && !setting->enabled().value()) return result;
  } else if (service.traffic_distribution == "PreferSameNode") {
    result.failover_priority = {std::string(kNetwork), std::string(kRegion), std::string(kZone),
                                std::string(kSubzone), std::string(kHostname)};
  } else if (!service.traffic_distribution.empty() && service.traffic_distribution != "Any") {
    result.failover_priority = {std::string(kNetwork), std::string(kRegion), std::string(kZone)};
  } else {
    if (!mesh.locality_enabled) return result;
    setting = mesh.locality;
  }
  result.enabled = true;
  result.setting = setting;
  if (!result.failover_priority.empty()) {
    result.failover = true;
    result.weighted = true;
    return result;
  }
  if (setting != nullptr) {
    result.failover_priority.assign(setting->failover_priority().begin(),
                                    setting->failover_priority().end());
    if (setting->distribute_size() > 0) {
      result.weighted = true;
      result.failover = false;
      return result;
    }
  }
  result.failover = outlier;
  result.weighted = outlier && setting != nullptr &&
                    (setting->failover_size() > 0 || setting->failover_priority_size() > 0);
  return result;
}

void ApplyLocality(const LocalitySetting& setting, const ProxyClass& proxy,
                   std::vector<LocalityGroup>* groups) {
  if (!setting.enabled || proxy.locality.empty()) return;
  if (setting.setting != nullptr && setting.setting->distribute_size() > 0) {
    Distribute(*setting.setting, proxy, groups);
    return;
  }
  if (!setting.failover) return;
  const bool by_labels = !setting.failover_priority.empty();
  if (by_labels) RankByLabels(setting.failover_priority, proxy, groups);
  const bool by_distance =
      !by_labels || (setting.setting != nullptr && setting.setting->failover_size() > 0);
  if (by_distance) {
    for (LocalityGroup& group : *groups) {
      group.priority =
          group.priority * 5 + Distance(setting.setting, proxy.locality, group.locality);
    }
  }
  Compact(groups);
}

}  // namespace isthmus::translate
