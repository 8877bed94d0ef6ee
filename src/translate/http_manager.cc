#include "envoy/config/listener/v3/listener_components.pb.h"
#include "envoy/extensions/filters/http/cors/v3/cors.pb.h"
#include "envoy/extensions/filters/http/fault/v3/fault.pb.h"
#include "envoy/extensions/filters/http/grpc_stats/v3/config.pb.h"
#include "envoy/extensions/filters/http/grpc_web/v3/grpc_web.pb.h"
#include "envoy/extensions/filters/http/router/v3/router.pb.h"
#include "envoy/extensions/filters/http/set_filter_state/v3/set_filter_state.pb.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb.h"
#include "envoy/extensions/request_id/uuid/v3/uuid.pb.h"
#include "translate/access_log.h"
#include "translate/filters.h"
#include "translate/pack.h"
#include "translate/tls.h"
#include "translate/tracing.h"

namespace isthmus::translate {
namespace {

namespace http = envoy::extensions::filters::http;
namespace hcm = envoy::extensions::filters::network::http_connection_manager::v3;
using Manager = hcm::HttpConnectionManager;

void AddFilter(const char* name, const google::protobuf::Message& config, Manager* manager) {
  auto* filter = manager->add_http_filters();
  filter->set_name(name);
  Pack(config, filter->mutable_typed_config());
}

/// Requests to the mesh offer protocols by which the server's Envoy picks its HTTP chain. Nothing
/// else is in the list: if one of the server's own were negotiated, requests of the other HTTP
/// version would fail.
http::set_filter_state::v3::Config HttpAlpn() {
  http::set_filter_state::v3::Config config;
  auto* value = config.add_on_request_headers();
  value->set_object_key("envoy.network.application_protocols");
  value->mutable_format_string()->mutable_text_format_source()->set_inline_string(
      "istio-http/1.1,istio");
  return config;
}

void AddFilters(const HttpManager& options, Manager* manager) {
  for (const std::string& filter : options.authorization)
    manager->add_http_filters()->ParseFromString(filter);
  if (options.grpc_web)
    AddFilter("envoy.filters.http.grpc_web", http::grpc_web::v3::GrpcWeb(), manager);
  http::grpc_stats::v3::FilterConfig stats;
  stats.set_emit_filter_state(true);
  stats.mutable_stats_for_all_methods()->set_value(false);
  AddFilter("envoy.filters.http.grpc_stats", stats, manager);
  if (options.side != HttpSide::kInbound)
    AddFilter("envoy.filters.http.set_filter_state", HttpAlpn(), manager);
  AddFilter("envoy.filters.http.fault", http::fault::v3::HTTPFault(), manager);
  AddFilter("envoy.filters.http.cors", http::cors::v3::Cors(), manager);
  AddFilter("envoy.filters.http.router", http::router::v3::Router(), manager);
}

void WriteSide(const MeshSettings& mesh, const HttpManager& options, Manager* manager) {
  manager->mutable_use_remote_address()->set_value(options.side == HttpSide::kGateway);
  if (options.side == HttpSide::kOutbound) return;
  manager->set_server_name("istio-envoy");
  auto* details = manager->mutable_set_current_client_cert_details();
  details->mutable_subject()->set_value(true);
  details->set_dns(true);
  details->set_uri(true);
  if (options.side == HttpSide::kInbound) {
    manager->set_forward_client_cert_details(Manager::APPEND_FORWARD);
    if (options.http2_port) manager->mutable_http2_protocol_options();
    return;
  }
  details->set_cert(true);
  manager->set_forward_client_cert_details(Manager::SANITIZE_SET);
  manager->mutable_http_protocol_options();
  manager->set_xff_num_trusted_hops(static_cast<uint32_t>(mesh.trusted_proxies));
}

void WritePathRules(const MeshSettings& mesh, Manager* manager) {
  manager->mutable_normalize_path()->set_value(mesh.normalize_path);
  manager->set_merge_slashes(mesh.merge_slashes);
  manager->set_path_with_escaped_slashes_action(
      mesh.unescape_slashes ? Manager::UNESCAPE_AND_FORWARD : Manager::KEEP_UNCHANGED);
}

}  // namespace

void WriteHttpManager(const MeshSettings& mesh, const HttpManager& options,
                      envoy::config::listener::v3::Filter* filter) {
  Manager manager;
  manager.set_stat_prefix(options.stat_prefix);
  if (!options.route_name.empty()) {
    manager.mutable_rds()->set_route_config_name(options.route_name);
    WriteAdsSource(manager.mutable_rds()->mutable_config_source());
  } else {
    manager.mutable_route_config()->ParseFromString(options.inline_route);
  }
  AddFilters(options, &manager);
  WriteSide(mesh, options, &manager);
  WritePathRules(mesh, &manager);
  manager.mutable_stream_idle_timeout();
  manager.set_proxy_100_continue(true);
  manager.add_upgrade_configs()->set_upgrade_type("websocket");
  if (options.http10) manager.mutable_http_protocol_options()->set_accept_http_10(true);
  envoy::extensions::request_id::uuid::v3::UuidRequestIdConfig request_id;
  request_id.mutable_use_request_id_for_trace_sampling()->set_value(true);
  Pack(request_id, manager.mutable_request_id_extension()->mutable_typed_config());
  WriteAccessLogs(mesh, manager.mutable_access_log());
  if (mesh.tracer.has_value())
    WriteTracing(*mesh.tracer, options.side == HttpSide::kGateway, &manager);
  filter->set_name("envoy.filters.network.http_connection_manager");
  Pack(manager, filter->mutable_typed_config());
}

}  // namespace isthmus::translate
