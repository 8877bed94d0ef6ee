#include <set>

#include "base/strings.h"
#include "config/rules.h"
#include "istio/networking/v1/destination_rule.pb.h"

// Fields that the API calls deprecated are looked at to tell their users.
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

namespace isthmus::config::rules {
namespace {

using namespace istio::networking::v1;  // NOLINT: this file is about these messages.

bool IsPrime(uint64_t number) {
  if (number < 2) return false;
  for (uint64_t divisor = 2; divisor * divisor <= number; ++divisor)
    if (number % divisor == 0) return false;
  return true;
}

void CheckConsistentHash(const LoadBalancerSettings::ConsistentHashLB& hash, const At& at) {
  using Hash = LoadBalancerSettings::ConsistentHashLB;
  if (hash.hash_key_case() == Hash::kHttpCookie && hash.http_cookie().name().empty())
    (at / "httpCookie.name").Error("is missing");
  if (hash.minimum_ring_size() != 0) {
    (at / "minimumRingSize").Warn("is deprecated; use ringHash.minimumRingSize");
    if (hash.hash_algorithm_case() != Hash::HASH_ALGORITHM_NOT_SET)
      (at / "minimumRingSize").Error("must not be set together with ringHash or maglev");
  }
  if (hash.hash_algorithm_case() == Hash::kMaglev && hash.maglev().table_size() != 0 &&
      (hash.maglev().table_size() >= 5000011 || !IsPrime(hash.maglev().table_size())))
    (at / "maglev.tableSize").Error("must be a prime number below 5000011");
}

void CheckLoadBalancer(const LoadBalancerSettings& balancer, bool outliers, const At& at) {
  if (balancer.lb_policy_case() == LoadBalancerSettings::kConsistentHash)
    CheckConsistentHash(balancer.consistent_hash(), at / "consistentHash");
  if (balancer.has_locality_lb_setting())
    CheckLocality(balancer.locality_lb_setting(), outliers, at / "localityLbSetting");
  if (balancer.has_warmup_duration_secs()) {
    (at / "warmupDurationSecs").Warn("is deprecated; use warmup.duration");
    CheckDuration(balancer.warmup_duration_secs(), at / "warmupDurationSecs");
  }
  if (!balancer.has_warmup()) return;
  const WarmupConfiguration& warmup = balancer.warmup();
  if (!warmup.has_duration())
    (at / "warmup.duration").Error("is missing");
  else
    CheckDuration(warmup.duration(), at / "warmup.duration");
  if (warmup.has_minimum_percent())
    CheckPercent(warmup.minimum_percent().value(), at / "warmup.minimumPercent");
  if (warmup.has_aggression() && warmup.aggression().value() <= 0)
    (at / "warmup.aggression").Error("must be above 0");
}

void CheckOutliers(const OutlierDetection& outliers, const At& at) {
  if (outliers.consecutive_errors() != 0)
    (at / "consecutiveErrors").Warn("is deprecated and has no effect; use consecutive5xxErrors");
  if (outliers.has_consecutive_local_origin_failures() &&
      !outliers.split_external_local_origin_errors())
    (at / "consecutiveLocalOriginFailures").Error("needs splitExternalLocalOriginErrors");
  if (outliers.has_interval()) CheckDuration(outliers.interval(), at / "interval");
  if (outliers.has_base_ejection_time())
    CheckDuration(outliers.base_ejection_time(), at / "baseEjectionTime");
  CheckPercent(outliers.max_ejection_percent(), at / "maxEjectionPercent");
  CheckPercent(outliers.min_health_percent(), at / "minHealthPercent");
}

void CheckTunnel(const TrafficPolicy::TunnelSettings& tunnel, const At& at) {
  const std::string protocol = base::ToUpper(tunnel.protocol());
  if (!protocol.empty() && protocol != "CONNECT" && protocol != "POST")
    (at / "protocol").Error("must be CONNECT or POST");
  CheckHost(tunnel.target_host(), false, at / "targetHost");
  CheckPortNumber(tunnel.target_port(), at / "targetPort");
}

template <typename Policy>
void CheckParts(const Policy& policy, const At& at) {
  if (policy.has_load_balancer())
    CheckLoadBalancer(policy.load_balancer(), policy.has_outlier_detection(), at / "loadBalancer");
  if (policy.has_connection_pool())
    CheckConnectionPool(policy.connection_pool(), at / "connectionPool");
  if (policy.has_outlier_detection())
    CheckOutliers(policy.outlier_detection(), at / "outlierDetection");
  if (policy.has_tls()) CheckTrafficPolicyTls(policy.tls(), at / "tls");
}

template <typename Policy>
bool HasParts(const Policy& policy) {
  return policy.has_load_balancer() || policy.has_connection_pool() ||
         policy.has_outlier_detection() || policy.has_tls();
}

void CheckPolicy(const TrafficPolicy& policy, const At& at) {
  if (!HasParts(policy) && policy.port_level_settings_size() == 0 && !policy.has_tunnel() &&
      !policy.has_proxy_protocol() && !policy.has_retry_budget())
    return at.Error("is empty");
  CheckParts(policy, at);
  for (int i = 0; i < policy.port_level_settings_size(); ++i) {
    const auto& port = policy.port_level_settings(i);
    const At where = (at / "portLevelSettings")[i];
    if (!port.has_port())
      (where / "port").Error("is missing");
    else
      CheckPortNumber(port.port().number(), where / "port.number");
    if (!HasParts(port)) where.Error("has no settings");
    CheckParts(port, where);
  }
  if (policy.has_tunnel() && policy.has_proxy_protocol())
    (at / "proxyProtocol").Error("must not be set together with tunnel");
  if (policy.has_tunnel()) CheckTunnel(policy.tunnel(), at / "tunnel");
  if (policy.retry_budget().has_percent())
    CheckPercent(policy.retry_budget().percent().value(), at / "retryBudget.percent");
}

}  // namespace

void CheckConnectionPool(const ConnectionPoolSettings& pool, const At& at) {
  if (!pool.has_tcp() && !pool.has_http()) return at.Error("must set tcp or http");
  auto not_negative = [](int64_t number, const At& where) {
    if (number < 0) where.Error("is below 0");
  };
  const auto& tcp = pool.tcp();
  not_negative(tcp.max_connections(), at / "tcp.maxConnections");
  if (tcp.has_connect_timeout()) CheckDuration(tcp.connect_timeout(), at / "tcp.connectTimeout");
  if (tcp.has_max_connection_duration())
    CheckDuration(tcp.max_connection_duration(), at / "tcp.maxConnectionDuration");
  if (tcp.tcp_keepalive().has_time())
    CheckDuration(tcp.tcp_keepalive().time(), at / "tcp.tcpKeepalive.time");
  if (tcp.tcp_keepalive().has_interval())
    CheckDuration(tcp.tcp_keepalive().interval(), at / "tcp.tcpKeepalive.interval");
  const auto& http = pool.http();
  not_negative(http.http1_max_pending_requests(), at / "http.http1MaxPendingRequests");
  not_negative(http.http2_max_requests(), at / "http.http2MaxRequests");
  not_negative(http.max_requests_per_connection(), at / "http.maxRequestsPerConnection");
  not_negative(http.max_retries(), at / "http.maxRetries");
  not_negative(http.max_concurrent_streams(), at / "http.maxConcurrentStreams");
  if (http.has_idle_timeout()) CheckDuration(http.idle_timeout(), at / "http.idleTimeout");
  if (http.h2_upgrade_policy() == ConnectionPoolSettings::HTTPSettings::UPGRADE &&
      http.use_client_protocol())
    (at / "http.useClientProtocol").Error("must not be set together with h2UpgradePolicy UPGRADE");
}

void CheckLocality(const LocalityLoadBalancerSetting& locality, bool outliers, const At& at) {
  if (locality.distribute_size() > 0 &&
      (locality.failover_size() > 0 || locality.failover_priority_size() > 0))
    at.Error("must not set distribute together with failover or failoverPriority");
  for (int i = 0; i < locality.distribute_size(); ++i) {
    const auto& distribute = locality.distribute(i);
    uint64_t sum = 0;
    for (const auto& [to, weight] : distribute.to()) {
      if (weight < 1 || weight > 100)
        ((at / "distribute")[i] / "to")
            .Error(fmt::format("{}: {} is not between 1 and 100", to, weight));
      sum += weight;
    }
    if (sum != 100)
      ((at / "distribute")[i] / "to").Error(fmt::format("adds up to {}, not to 100", sum));
  }
  for (int i = 0; i < locality.failover_size(); ++i) {
    const auto& failover = locality.failover(i);
    const At where = (at / "failover")[i];
    if (failover.from() == failover.to())
      where.Error(fmt::format("goes from '{}' to itself", failover.from()));
    for (const auto& [field, region] :
         {std::pair("from", failover.from()), std::pair("to", failover.to())})
      if (region.empty() || region.find_first_of("/*") != std::string::npos)
        (where / field).Error(fmt::format("'{}' must be a region, without / or *", region));
  }
  if (locality.failover_size() > 0 && !outliers)
    at.Warn("has failover, which needs outlierDetection to take effect");
}

void CheckTrafficPolicyTls(const ClientTLSSettings& tls, const At& at) {
  const bool files = !tls.client_certificate().empty() || !tls.private_key().empty() ||
                     !tls.ca_certificates().empty();
  if (!tls.credential_name().empty() && files)
    (at / "credentialName")
        .Error("must not be set together with clientCertificate, privateKey or caCertificates");
  if (tls.mode() == ClientTLSSettings::MUTUAL && tls.credential_name().empty()) {
    if (tls.client_certificate().empty()) (at / "clientCertificate").Error("is missing for MUTUAL");
    if (tls.private_key().empty()) (at / "privateKey").Error("is missing for MUTUAL");
  }
  if (tls.mode() == ClientTLSSettings::ISTIO_MUTUAL && (files || !tls.credential_name().empty()))
    at.Error("ISTIO_MUTUAL uses the mesh's own certificates; no other may be given");
  if (tls.insecure_skip_verify().value()) {
    if (tls.mode() == ClientTLSSettings::DISABLE || tls.mode() == ClientTLSSettings::ISTIO_MUTUAL)
      (at / "insecureSkipVerify").Error("is only for SIMPLE and MUTUAL");
    if (!tls.ca_certificates().empty() || tls.subject_alt_names_size() > 0)
      (at / "insecureSkipVerify")
          .Error("must not be set together with caCertificates or subjectAltNames");
  }
  for (int i = 0; i < tls.subject_alt_names_size(); ++i)
    if (tls.subject_alt_names(i).empty()) (at / "subjectAltNames")[i].Error("is empty");
}

void CheckSpec(const Meta& meta, const DestinationRule& spec, const At& at) {
  CheckHost(spec.host(), true, at / "host");
  if (spec.has_traffic_policy()) CheckPolicy(spec.traffic_policy(), at / "trafficPolicy");
  std::set<std::string> names;
  for (int i = 0; i < spec.subsets_size(); ++i) {
    const Subset& subset = spec.subsets(i);
    const At where = (at / "subsets")[i];
    if (subset.name().empty())
      (where / "name").Error("is missing");
    else if (!IsDnsLabel(base::ToLower(subset.name())))
      (where / "name").Error(fmt::format("'{}' is not a DNS label", subset.name()));
    if (!names.insert(subset.name()).second)
      (where / "name").Error(fmt::format("'{}' is given twice", subset.name()));
    CheckLabels(subset.labels(), where / "labels");
    if (subset.has_traffic_policy()) CheckPolicy(subset.traffic_policy(), where / "trafficPolicy");
  }
  CheckExportTo(spec.export_to(), meta, at / "exportTo");
  if (!spec.has_workload_selector()) return;
  CheckPolicySelector(&spec.workload_selector().match_labels(), at / "workloadSelector");
  for (const std::string& value : spec.export_to())
    if (value != "." && value != meta.ns)
      (at / "exportTo").Error("must stay within the own namespace, since workloadSelector is set");
}

}  // namespace isthmus::config::rules
