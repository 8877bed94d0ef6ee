// The old spellings of some settings are still read, because users still write them.
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

#include <algorithm>
#include <cmath>

#include "envoy/config/cluster/v3/cluster.pb.h"
#include "envoy/extensions/upstreams/http/v3/http_protocol_options.pb.h"
#include "istio/networking/v1/destination_rule.pb.h"
#include "translate/clusters.h"
#include "translate/convert.h"
#include "translate/pack.h"

namespace isthmus::translate {
namespace {

namespace v1 = istio::networking::v1;
namespace cluster_v3 = envoy::config::cluster::v3;
using cluster_v3::Cluster;
using google::protobuf::Duration;

constexpr char kHttpOptions[] = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
using HttpOptions = envoy::extensions::upstreams::http::v3::HttpProtocolOptions;

void WriteKeepalive(const v1::ConnectionPoolSettings::TCPSettings::TcpKeepalive& from,
                    Cluster* cluster) {
  auto* to = cluster->mutable_upstream_connection_options()->mutable_tcp_keepalive();
  if (from.probes() > 0) to->mutable_keepalive_probes()->set_value(from.probes());
  if (from.time().seconds() > 0)
    to->mutable_keepalive_time()->set_value(static_cast<uint32_t>(from.time().seconds()));
  if (from.interval().seconds() > 0) {
    to->mutable_keepalive_interval()->set_value(static_cast<uint32_t>(from.interval().seconds()));
  }
}

void WritePool(const v1::ConnectionPoolSettings* pool, const v1::TrafficPolicy::RetryBudget* budget,
               Cluster* cluster) {
  auto* threshold = AddUnlimitedThresholds(cluster);
  if (budget != nullptr) {
    auto* to = threshold->mutable_retry_budget();
    to->mutable_budget_percent()->set_value(
        budget->has_percent() ? std::clamp(budget->percent().value(), 0.0, 100.0) : 20.0);
    to->mutable_min_retry_concurrency()->set_value(
        budget->min_retry_concurrency() > 0 ? budget->min_retry_concurrency() : 3);
  }
  if (pool == nullptr) return;
  const auto& tcp = pool->tcp();
  const auto& http = pool->http();
  auto set = [](int value, google::protobuf::UInt32Value* to) {
    if (value > 0) to->set_value(static_cast<uint32_t>(value));
  };
  set(tcp.max_connections(), threshold->mutable_max_connections());
  set(http.http1_max_pending_requests(), threshold->mutable_max_pending_requests());
  set(http.http2_max_requests(), threshold->mutable_max_requests());
  set(http.max_retries(), threshold->mutable_max_retries());
  if (Positive(tcp.connect_timeout())) *cluster->mutable_connect_timeout() = tcp.connect_timeout();
  if (tcp.has_tcp_keepalive()) WriteKeepalive(tcp.tcp_keepalive(), cluster);
}

void WriteOutlierDetection(const v1::OutlierDetection& from, Cluster* cluster) {
  auto* to = cluster->mutable_outlier_detection();
  to->mutable_enforcing_success_rate()->set_value(0);
  auto count = [](uint32_t errors, google::protobuf::UInt32Value* limit,
                  google::protobuf::UInt32Value* enforce) {
    if (errors > 0) limit->set_value(errors);
    enforce->set_value(errors > 0 ? 100 : 0);
  };
  if (from.has_consecutive_5xx_errors()) {
    count(from.consecutive_5xx_errors().value(), to->mutable_consecutive_5xx(),
          to->mutable_enforcing_consecutive_5xx());
    if (from.consecutive_5xx_errors().value() == 0) to->clear_consecutive_5xx();
  }
  if (from.has_consecutive_gateway_errors()) {
    count(from.consecutive_gateway_errors().value(), to->mutable_consecutive_gateway_failure(),
          to->mutable_enforcing_consecutive_gateway_failure());
    if (from.consecutive_gateway_errors().value() == 0) to->clear_consecutive_gateway_failure();
  }
  if (Positive(from.interval())) *to->mutable_interval() = from.interval();
  if (Positive(from.base_ejection_time()))
    *to->mutable_base_ejection_time() = from.base_ejection_time();
  if (from.max_ejection_percent() > 0) {
    to->mutable_max_ejection_percent()->set_value(
        static_cast<uint32_t>(std::min(from.max_ejection_percent(), 100)));
  }
  if (from.split_external_local_origin_errors()) {
    to->set_split_external_local_origin_errors(true);
    if (from.has_consecutive_local_origin_failures()) {
      const uint32_t failures = from.consecutive_local_origin_failures().value();
      if (failures > 0) to->mutable_consecutive_local_origin_failure()->set_value(failures);
      to->mutable_enforcing_consecutive_local_origin_failure()->set_value(failures > 0 ? 100 : 0);
    }
    to->mutable_enforcing_local_origin_success_rate()->set_value(0);
  }
  if (from.min_health_percent() >= 0) {
    cluster->mutable_common_lb_config()->mutable_healthy_panic_threshold()->set_value(
        std::min(from.min_health_percent(), 100));
  }
}

bool Prime(uint64_t number) {
  if (number < 2) return false;
  for (uint64_t i = 2; i * i <= number; ++i) {
    if (number % i == 0) return false;
  }
  return true;
}

void WriteConsistentHash(const v1::LoadBalancerSettings::ConsistentHashLB& hash, Cluster* cluster) {
  if (hash.has_maglev()) {
    cluster->set_lb_policy(Cluster::MAGLEV);
    const uint64_t size = hash.maglev().table_size();
    if (size <= 5000011 && Prime(size))
      cluster->mutable_maglev_lb_config()->mutable_table_size()->set_value(size);
    return;
  }
  cluster->set_lb_policy(Cluster::RING_HASH);
  constexpr uint64_t kLargestRing = 8388608;
  uint64_t size =
      hash.has_ring_hash() ? hash.ring_hash().minimum_ring_size() : hash.minimum_ring_size();
  if (size == 0) size = 1024;
  cluster->mutable_ring_hash_lb_config()->mutable_minimum_ring_size()->set_value(
      std::min(size, kLargestRing));
}

template <typename Config>
void WriteSlowStart(const v1::LoadBalancerSettings& balancer, Config* config) {
  Duration window = balancer.warmup_duration_secs();
  double minimum = 10;
  double aggression = 1;
  if (balancer.has_warmup()) {
    window = balancer.warmup().duration();
    if (balancer.warmup().has_minimum_percent())
      minimum = balancer.warmup().minimum_percent().value();
    if (balancer.warmup().has_aggression()) aggression = balancer.warmup().aggression().value();
  }
  if (!Positive(window)) return;
  auto* slow = config->mutable_slow_start_config();
  *slow->mutable_slow_start_window() = window;
  slow->mutable_aggression()->set_default_value(std::max(aggression, 1.0));
  slow->mutable_aggression()->set_runtime_key("");
  slow->mutable_min_weight_percent()->set_value(std::clamp(minimum, 0.0, 100.0));
}

void WriteBalancer(const v1::LoadBalancerSettings* balancer, Cluster* cluster) {
  cluster->set_lb_policy(Cluster::LEAST_REQUEST);
  if (balancer == nullptr) return;
  if (balancer->has_consistent_hash())
    return WriteConsistentHash(balancer->consistent_hash(), cluster);
  const bool warm = Positive(balancer->warmup_duration_secs()) || balancer->has_warmup();
  switch (balancer->simple()) {
    case v1::LoadBalancerSettings::ROUND_ROBIN:
      cluster->set_lb_policy(Cluster::ROUND_ROBIN);
      if (warm) WriteSlowStart(*balancer, cluster->mutable_round_robin_lb_config());
      return;
    case v1::LoadBalancerSettings::RANDOM:
      cluster->set_lb_policy(Cluster::RANDOM);
      return;
    default:
      if (warm) WriteSlowStart(*balancer, cluster->mutable_least_request_lb_config());
  }
}

/// The part of the options that a rule asks for, whatever the protocol. True when it set something.
bool WriteCommonOptions(const v1::ConnectionPoolSettings* pool, HttpOptions* options) {
  if (pool == nullptr) return false;
  auto* common = options->mutable_common_http_protocol_options();
  bool set = false;
  // An explicit zero is meaningful here: connections never idle out.
  if (pool->http().has_idle_timeout()) {
    *common->mutable_idle_timeout() = pool->http().idle_timeout();
    set = true;
  }
  if (pool->http().max_requests_per_connection() > 0) {
    common->mutable_max_requests_per_connection()->set_value(
        static_cast<uint32_t>(pool->http().max_requests_per_connection()));
    set = true;
  }
  if (Positive(pool->tcp().max_connection_duration())) {
    *common->mutable_max_connection_duration() = pool->tcp().max_connection_duration();
    set = true;
  }
  if (!set) options->clear_common_http_protocol_options();
  return set;
}

}  // namespace

cluster_v3::CircuitBreakers_Thresholds* AddUnlimitedThresholds(Cluster* cluster) {
  constexpr uint32_t kUnlimited = 4294967295;
  auto* threshold = cluster->mutable_circuit_breakers()->add_thresholds();
  threshold->mutable_max_connections()->set_value(kUnlimited);
  threshold->mutable_max_pending_requests()->set_value(kUnlimited);
  threshold->mutable_max_requests()->set_value(kUnlimited);
  threshold->mutable_max_retries()->set_value(kUnlimited);
  return threshold;
}

bool SpeaksHttp2(const MeshSettings& mesh, const TrafficPolicy& policy, model::Protocol protocol) {
  if (model::IsHttp2(protocol)) return true;
  if (protocol != model::Protocol::kHttp) return false;
  using Http = v1::ConnectionPoolSettings::HTTPSettings;
  auto wanted = Http::DEFAULT;
  if (policy.connection_pool != nullptr)
    wanted = policy.connection_pool->http().h2_upgrade_policy();
  return wanted == Http::UPGRADE || (wanted == Http::DEFAULT && mesh.h2_upgrade);
}

void WriteTrafficPolicy(const MeshSettings& mesh, const TrafficPolicy& policy,
                        const LocalitySetting& locality, Cluster* cluster) {
  SetDuration(mesh.connect_timeout, cluster->mutable_connect_timeout());
  if (mesh.keepalive != nullptr) WriteKeepalive(*mesh.keepalive, cluster);
  WritePool(policy.connection_pool, policy.retry_budget, cluster);
  cluster->mutable_common_lb_config()->mutable_healthy_panic_threshold();
  WriteBalancer(policy.load_balancer, cluster);
  if (policy.outlier_detection != nullptr)
    WriteOutlierDetection(*policy.outlier_detection, cluster);
  if (locality.weighted) cluster->mutable_common_lb_config()->mutable_locality_weighted_lb_config();
}

void WriteHttpOptions(const MeshSettings& mesh, const TrafficPolicy& policy,
                      model::Protocol protocol, bool router, bool auto_sni, bool auto_san,
                      Cluster* cluster) {
  HttpOptions options;
  const v1::ConnectionPoolSettings* pool = policy.connection_pool;
  bool needed = WriteCommonOptions(pool, &options);
  if (auto_sni || auto_san) {
    options.mutable_upstream_http_protocol_options()->set_auto_sni(auto_sni);
    options.mutable_upstream_http_protocol_options()->set_auto_san_validation(auto_san);
    needed = true;
  }
  const int streams = pool == nullptr ? 0 : pool->http().max_concurrent_streams();
  auto limit = [streams](envoy::config::core::v3::Http2ProtocolOptions* http2) {
    if (streams > 0)
      http2->mutable_max_concurrent_streams()->set_value(static_cast<uint32_t>(streams));
  };
  if ((pool != nullptr && pool->http().use_client_protocol()) ||
      (protocol == model::Protocol::kAuto && !router)) {
    options.mutable_use_downstream_protocol_config()->mutable_http_protocol_options();
    limit(options.mutable_use_downstream_protocol_config()->mutable_http2_protocol_options());
  } else if (SpeaksHttp2(mesh, policy, protocol)) {
    limit(options.mutable_explicit_http_config()->mutable_http2_protocol_options());
  } else if (needed) {
    options.mutable_explicit_http_config()->mutable_http_protocol_options();
  } else {
    return;
  }
  Pack(options, &(*cluster->mutable_typed_extension_protocol_options())[kHttpOptions]);
}

}  // namespace isthmus::translate
