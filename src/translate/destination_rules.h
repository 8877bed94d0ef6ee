#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "model/snapshot.h"
#include "translate/mesh_settings.h"

namespace istio::networking::v1 {
class ClientTLSSettings;
class ConnectionPoolSettings;
class LoadBalancerSettings;
class OutlierDetection;
class Subset;
class TrafficPolicy;
class TrafficPolicy_ProxyProtocol;
class TrafficPolicy_RetryBudget;
}  // namespace istio::networking::v1

namespace isthmus::translate {

/// The settings that hold for one port and subset of a host. Null where nothing is said. Points
/// into the rule it was read from.
struct TrafficPolicy {
  const istio::networking::v1::LoadBalancerSettings* load_balancer = nullptr;
  const istio::networking::v1::ConnectionPoolSettings* connection_pool = nullptr;
  const istio::networking::v1::OutlierDetection* outlier_detection = nullptr;
  const istio::networking::v1::ClientTLSSettings* tls = nullptr;
  const istio::networking::v1::TrafficPolicy_ProxyProtocol* proxy_protocol = nullptr;
  const istio::networking::v1::TrafficPolicy_RetryBudget* retry_budget = nullptr;
};

/// DestinationRules of one namespace, host, visibility and selector, merged oldest first. Frozen.
struct MergedRule {
  using Object = config::Object<istio::networking::v1::DestinationRule>;
  std::vector<std::shared_ptr<const Object>> objects;  ///< The first gives the name.
  std::string host;
  model::Visibility export_to;
  model::Labels selector;
  bool selects = false;
  const istio::networking::v1::TrafficPolicy* policy = nullptr;
  std::vector<const istio::networking::v1::Subset*> subsets;

  const config::Meta& meta() const;
  const istio::networking::v1::Subset* FindSubset(std::string_view name) const;
};

/// Precedence: rule, its port level (which replaces four blocks as a whole), subset block by block,
/// its port level. `rule` may be null, `subset` empty.
TrafficPolicy PolicyFor(const MergedRule* rule, int port, std::string_view subset);

/// Which DestinationRule holds for a host as seen by a proxy. Immutable.
class DestinationRuleIndex {
 public:
  /// Rules that did not change since `previous` (may be null) keep their identity.
  DestinationRuleIndex(const model::Snapshot& snapshot, const MeshSettings& mesh,
                       const DestinationRuleIndex* previous);

  /// The rule for `host` of `service_ns`, as seen from `ns` by a proxy with `labels`; or null.
  std::shared_ptr<const MergedRule> Find(const std::string& ns, const model::Labels& labels,
                                         const std::string& host,
                                         const std::string& service_ns) const;
  /// Keys of labels that some rule's workload selector names.
  const std::vector<std::string>& selector_keys() const { return selector_keys_; }
  /// Whether some rule orders endpoints by locality.
  bool uses_locality() const { return uses_locality_; }
  const std::vector<std::string>& failover_labels() const { return failover_labels_; }

 private:
  using Rules =
      std::vector<std::shared_ptr<const MergedRule>>;  ///< Of one host; those with selectors first.
  struct Namespace {
    std::map<std::string, Rules, std::less<>> exact;
    std::vector<std::pair<std::string, Rules>> wildcards;  ///< Most specific first.
  };
  std::shared_ptr<const MergedRule> FindIn(const Namespace& space, bool exported_only,
                                           const std::string& ns, const model::Labels& labels,
                                           const std::string& host) const;
  void ReadNeeds(const MergedRule& rule);

  std::string root_namespace_;
  std::map<std::string, Namespace> namespaces_;
  std::vector<std::shared_ptr<const MergedRule>> all_;
  std::vector<std::string> selector_keys_;
  std::vector<std::string> failover_labels_;
  bool uses_locality_ = false;
};

}  // namespace isthmus::translate
