#include "bench/ads_client.h"

#include <envoy/config/cluster/v3/cluster.pb.h>
#include <envoy/config/core/v3/base.pb.h>
#include <envoy/config/listener/v3/listener.pb.h>
#include <envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb.h>

#include "ads/type_url.h"
#include "rpc/protobuf_wire.h"

namespace isthmus::bench {
namespace {

using envoy::config::cluster::v3::Cluster;
using envoy::config::listener::v3::Listener;
using envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;

// Fields of the delta messages.
constexpr uint32_t kRequestNode = 1, kRequestType = 2, kSubscribe = 3, kRequestNonce = 6;
constexpr uint32_t kResource = 2, kType = 4, kNonce = 5, kAny = 2, kName = 3, kAnyValue = 2;

std::string_view FieldOf(std::string_view message, uint32_t field) {
  rpc::WireReader in(message);
  std::string_view found;
  while (in.Next())
    if (in.field() == field && in.is_bytes()) found = in.bytes();
  return found;
}

std::pair<size_t, size_t> KeyOf(const std::vector<std::string_view>& resources) {
  size_t size = 0;
  size_t hash = resources.size();
  for (std::string_view each : resources) {
    size += each.size();
    hash = hash * 31 + std::hash<std::string_view>()(each);
  }
  return {size, hash};
}

void AddRoutes(const envoy::config::listener::v3::FilterChain& chain,
               std::set<std::string>& names) {
  for (const auto& filter : chain.filters()) {
    HttpConnectionManager manager;
    if (filter.typed_config().UnpackTo(&manager) && manager.has_rds())
      names.insert(manager.rds().route_config_name());
  }
}

}  // namespace

const std::vector<std::string>& NameCache::EndpointNames(
    const std::vector<std::string_view>& clusters) {
  auto [at, fresh] = known_.try_emplace(KeyOf(clusters));
  if (!fresh) return at->second;
  for (std::string_view each : clusters) {
    Cluster cluster;
    if (!cluster.ParseFromString(std::string(FieldOf(FieldOf(each, kAny), kAnyValue))) ||
        cluster.type() != Cluster::EDS)
      continue;
    const std::string& service = cluster.eds_cluster_config().service_name();
    at->second.push_back(service.empty() ? cluster.name() : service);
  }
  return at->second;
}

const std::vector<std::string>& NameCache::RouteNames(
    const std::vector<std::string_view>& listeners) {
  auto [at, fresh] = known_.try_emplace(KeyOf(listeners));
  if (!fresh) return at->second;
  std::set<std::string> names;
  for (std::string_view each : listeners) {
    Listener listener;
    if (!listener.ParseFromString(std::string(FieldOf(FieldOf(each, kAny), kAnyValue)))) continue;
    for (const auto& chain : listener.filter_chains()) AddRoutes(chain, names);
    AddRoutes(listener.default_filter_chain(), names);
  }
  at->second.assign(names.begin(), names.end());
  return at->second;
}

AdsClient::AdsClient(base::Loop& loop, Options options, NameCache& names, Got got,
                     std::function<void(const base::Status&)> failed)
    : options_(std::move(options)),
      names_(names),
      got_(std::move(got)),
      failed_(std::move(failed)),
      http_(loop, [this] {
        http::ClientOptions client;
        client.url = options_.url;
        client.http2_prior_knowledge = true;
        return client;
      }()) {}

void AdsClient::Connect() {
  started_ = std::chrono::steady_clock::now();
  call_ = rpc::StartCall(
      http_, "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources", {},
      {[this](std::string_view bytes) { OnMessage(bytes); }, failed_});
  Ask(ads::kClusterType, {});
}

void AdsClient::Ask(std::string_view type, const std::vector<std::string>& names) {
  std::string request;
  if (!announced_) {
    envoy::config::core::v3::Node node;
    node.set_id(options_.node_id);
    auto& metadata = *node.mutable_metadata()->mutable_fields();
    metadata["CLUSTER_ID"].set_string_value(options_.cluster_id);
    metadata["NAMESPACE"].set_string_value(options_.ns);
    metadata["ISTIO_VERSION"].set_string_value("1.32.0");
    metadata["PROXY_CONFIG"].mutable_struct_value();
    rpc::PutBytes(request, kRequestNode, node.SerializeAsString());
    announced_ = true;
  }
  rpc::PutBytes(request, kRequestType, type);
  for (const std::string& name : names) rpc::PutBytes(request, kSubscribe, name);
  call_->Send({base::Slice(std::move(request))});
}

void AdsClient::Ack(std::string_view type, std::string_view nonce) {
  std::string request;
  rpc::PutBytes(request, kRequestType, type);
  rpc::PutBytes(request, kRequestNonce, nonce);
  call_->Send({base::Slice(std::move(request))});
}

void AdsClient::OnMessage(std::string_view bytes) {
  bytes_ += bytes.size();
  std::string_view type;
  std::string_view nonce;
  std::vector<std::string_view> resources;
  std::vector<std::string_view> names;
  rpc::WireReader in(bytes);
  while (in.Next()) {
    if (in.field() == kType) type = in.bytes();
    if (in.field() == kNonce) nonce = in.bytes();
    if (in.field() == kResource) {
      resources.push_back(in.bytes());
      names.push_back(FieldOf(in.bytes(), kName));
    }
  }
  Ack(type, nonce);
  const std::string_view short_type = ads::ShortName(type);
  const bool first = answered_.insert(std::string(short_type)).second;
  if (first && type == ads::kClusterType) {
    Ask(ads::kEndpointType, names_.EndpointNames(resources));
    Ask(ads::kListenerType, {});
  }
  if (first && type == ads::kListenerType) {
    const auto& routes = names_.RouteNames(resources);
    if (routes.empty())
      answered_.insert("RDS");
    else
      Ask(ads::kRouteType, routes);
  }
  if (first && configured()) configured_at_ = std::chrono::steady_clock::now();
  got_(*this, short_type, names);
}

}  // namespace isthmus::bench
