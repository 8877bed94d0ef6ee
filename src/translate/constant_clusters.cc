#include "base/strings.h"
#include "envoy/config/cluster/v3/cluster.pb.h"
#include "envoy/extensions/upstreams/http/v3/http_protocol_options.pb.h"
#include "translate/clusters.h"
#include "translate/convert.h"
#include "translate/names.h"
#include "translate/pack.h"

namespace isthmus::translate {
namespace {

using envoy::config::cluster::v3::Cluster;
using ResourcePtr = std::shared_ptr<const model::Resource>;

/// The longest that Envoy takes: hosts of an inbound cluster are the workload itself and are never
/// cleaned up.
constexpr int64_t kNever = 9223372035;

void WriteLimits(const MeshSettings& mesh, Cluster* cluster) {
  SetDuration(mesh.connect_timeout, cluster->mutable_connect_timeout());
  AddUnlimitedThresholds(cluster);
}

/// Connections to the application start from this address, by which the traffic rules of the pod
/// know that they must not be captured again.
void BindToPassthroughAddress(bool ipv4, Cluster* cluster) {
  auto* source = cluster->mutable_upstream_bind_config()->mutable_source_address();
  source->set_address(ipv4 ? "127.0.0.6" : "::6");
  source->set_port_value(0);
}

void WritePassthrough(const MeshSettings& mesh, Cluster* cluster) {
  cluster->set_alt_stat_name(std::string(kPassthroughCluster) + ";");
  cluster->set_type(Cluster::ORIGINAL_DST);
  cluster->set_lb_policy(Cluster::CLUSTER_PROVIDED);
  WriteLimits(mesh, cluster);
  envoy::extensions::upstreams::http::v3::HttpProtocolOptions options;
  options.mutable_common_http_protocol_options()->mutable_idle_timeout()->set_seconds(300);
  options.mutable_use_downstream_protocol_config()->mutable_http_protocol_options();
  options.mutable_use_downstream_protocol_config()->mutable_http2_protocol_options();
  Pack(options, &(*cluster->mutable_typed_extension_protocol_options())
                    ["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]);
}

ResourcePtr Finish(const Cluster& cluster) {
  return MakeResource(cluster.name(), kClusterType, cluster);
}

/// "address:port" or "unix:///path", as a Sidecar says it.
void WriteEndpoint(const std::string& endpoint, Cluster* cluster) {
  cluster->set_type(Cluster::STATIC);
  auto* assignment = cluster->mutable_load_assignment();
  assignment->set_cluster_name(cluster->name());
  auto* address =
      assignment->add_endpoints()->add_lb_endpoints()->mutable_endpoint()->mutable_address();
  if (endpoint.starts_with("unix://")) {
    address->mutable_pipe()->set_path(endpoint.substr(7));
    return;
  }
  const size_t colon = endpoint.rfind(':');
  std::string host = endpoint.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  const auto port = base::ParseInt(endpoint.substr(colon + 1));
  address->mutable_socket_address()->set_address(host);
  address->mutable_socket_address()->set_port_value(port.ok() ? static_cast<uint32_t>(*port) : 0);
}

}  // namespace

std::vector<ResourcePtr> BuildConstantClusters(const MeshSettings& mesh, bool router) {
  Cluster black_hole;
  black_hole.set_name(std::string(kBlackHoleCluster));
  black_hole.set_alt_stat_name(std::string(kBlackHoleCluster) + ";");
  black_hole.set_type(Cluster::STATIC);
  SetDuration(mesh.connect_timeout, black_hole.mutable_connect_timeout());
  std::vector<ResourcePtr> result = {Finish(black_hole)};
  if (router) return result;
  Cluster passthrough;
  passthrough.set_name(std::string(kPassthroughCluster));
  WritePassthrough(mesh, &passthrough);
  result.push_back(Finish(passthrough));
  return result;
}

std::vector<ResourcePtr> BuildInboundClusters(const MeshSettings& mesh, bool ipv4,
                                              const std::vector<InboundPort>& ports) {
  std::vector<ResourcePtr> result;
  for (const InboundPort& port : ports) {
    Cluster cluster;
    cluster.set_name(InboundName(port.target));
    cluster.set_alt_stat_name(cluster.name() + ";");
    WriteLimits(mesh, &cluster);
    cluster.mutable_common_lb_config();
    if (!port.endpoint.empty()) {
      WriteEndpoint(port.endpoint, &cluster);
    } else if (mesh.inbound_localhost) {
      cluster.set_type(Cluster::STATIC);
      auto* assignment = cluster.mutable_load_assignment();
      assignment->set_cluster_name(cluster.name());
      auto* socket = assignment->add_endpoints()
                         ->add_lb_endpoints()
                         ->mutable_endpoint()
                         ->mutable_address()
                         ->mutable_socket_address();
      socket->set_address(ipv4 ? "127.0.0.1" : "::1");
      socket->set_port_value(static_cast<uint32_t>(port.target));
    } else {
      cluster.set_type(Cluster::ORIGINAL_DST);
      cluster.set_lb_policy(Cluster::CLUSTER_PROVIDED);
      cluster.mutable_cleanup_interval()->set_seconds(kNever);
      BindToPassthroughAddress(ipv4, &cluster);
    }
    auto& fields =
        *(*cluster.mutable_metadata()->mutable_filter_metadata())["istio"].mutable_fields();
    for (const auto& [service, service_port] : port.services) AddServiceMetadata(*service, &fields);
    const model::Protocol protocol = port.services.front().second.protocol;
    WriteHttpOptions(mesh, TrafficPolicy(), protocol, false, false, false, &cluster);
    result.push_back(Finish(cluster));
  }
  Cluster passthrough;
  passthrough.set_name(std::string(kInboundPassthroughCluster));
  WritePassthrough(mesh, &passthrough);
  BindToPassthroughAddress(ipv4, &passthrough);
  result.push_back(Finish(passthrough));
  return result;
}

}  // namespace isthmus::translate
