#include "translate/filters.h"

#include "envoy/config/listener/v3/listener.pb.h"
#include "envoy/extensions/filters/listener/http_inspector/v3/http_inspector.pb.h"
#include "envoy/extensions/filters/listener/tls_inspector/v3/tls_inspector.pb.h"
#include "envoy/extensions/filters/network/tcp_proxy/v3/tcp_proxy.pb.h"
#include "translate/access_log.h"
#include "translate/pack.h"

namespace isthmus::translate {

namespace listener = envoy::config::listener::v3;

void WriteTcpProxy(const MeshSettings& mesh, const TcpTarget& target, listener::Filter* filter) {
  envoy::extensions::filters::network::tcp_proxy::v3::TcpProxy proxy;
  proxy.set_stat_prefix(target.stat_prefix);
  if (target.clusters.size() == 1) {
    proxy.set_cluster(target.clusters.front().first);
  } else {
    for (const auto& [name, weight] : target.clusters) {
      auto* cluster = proxy.mutable_weighted_clusters()->add_clusters();
      cluster->set_name(name);
      cluster->set_weight(weight);
    }
  }
  if (target.hash_source_ip) proxy.add_hash_policy()->mutable_source_ip();
  WriteAccessLogs(mesh, proxy.mutable_access_log());
  filter->set_name("envoy.filters.network.tcp_proxy");
  Pack(proxy, filter->mutable_typed_config());
}

void WriteListenerLog(const MeshSettings& mesh, listener::Listener* out) {
  WriteAccessLogs(mesh, out->mutable_access_log());
  for (auto& log : *out->mutable_access_log()) {
    log.mutable_filter()->Clear();
    log.mutable_filter()->mutable_response_flag_filter()->add_flags("NR");
  }
}

void AddTlsInspector(listener::Listener* out) {
  envoy::extensions::filters::listener::tls_inspector::v3::TlsInspector inspector;
  inspector.mutable_initial_read_buffer_size()->set_value(512);
  auto* filter = out->add_listener_filters();
  filter->set_name("envoy.filters.listener.tls_inspector");
  Pack(inspector, filter->mutable_typed_config());
}

void AddHttpInspector(listener::Listener* out) {
  auto* filter = out->add_listener_filters();
  filter->set_name("envoy.filters.listener.http_inspector");
  Pack(envoy::extensions::filters::listener::http_inspector::v3::HttpInspector(),
       filter->mutable_typed_config());
}

void WriteAddress(const std::string& bind, int port, bool dual, listener::Listener* out) {
  auto* address = out->mutable_address()->mutable_socket_address();
  address->set_address(bind);
  address->set_port_value(static_cast<uint32_t>(port));
  if (!dual) return;
  auto* other = out->add_additional_addresses()->mutable_address()->mutable_socket_address();
  other->set_address("::");
  other->set_port_value(static_cast<uint32_t>(port));
}

}  // namespace isthmus::translate
