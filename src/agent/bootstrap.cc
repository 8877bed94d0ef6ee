#include "agent/bootstrap.h"

#include <algorithm>

#include "base/files.h"
#include "base/log.h"
#include "base/net.h"
#include "base/strings.h"

namespace isthmus::agent {
namespace {

constexpr char kTypes[] = "type.googleapis.com/";

std::string Type(std::string_view name) { return kTypes + std::string(name); }

Json SocketAddress(std::string_view address, int port) {
  return {{"socket_address",
           {{"protocol", "TCP"}, {"address", std::string(address)}, {"port_value", port}}}};
}

bool OnlyV6(const Settings& settings) {
  return !settings.ips.empty() &&
         std::all_of(settings.ips.begin(), settings.ips.end(),
                     [](const std::string& ip) { return ip.find(':') != ip.npos; });
}

const char* Localhost(const Settings& settings) { return OnlyV6(settings) ? "::1" : "127.0.0.1"; }
const char* Wildcard(const Settings& settings) { return OnlyV6(settings) ? "::" : "0.0.0.0"; }

/// Runs of `;` end the names that Istio makes, so that a tag's text can be cut out of a stat's
/// name.
Json StatsTags() {
  constexpr std::pair<const char*, const char*> kTags[] = {
      {"cluster_name", R"(^cluster\.((.+);\.))"},
      {"tcp_prefix", R"(^tcp\.((.*?)\.)\w+?$)"},
      {"response_code", R"((\.response_code=\.=(.+?);\.;)|_rq(_(\d{3}))$)"},
      {"response_code_class", R"(_rq(_(\dxx))$)"},
      {"http_conn_manager_listener_prefix",
       R"(^listener(?=\.).*?\.http\.(((?:[_.[:digit:]]*|[_\[\]aAbBcCdDeEfF[:digit:]]*))\.))"},
      {"http_conn_manager_prefix", R"(^http\.((.+);\.))"},
      {"listener_address", R"(^listener\.(((?:[_.[:digit:]]*|[_\[\]aAbBcCdDeEfF[:digit:]]*))\.))"},
      {"mongo_prefix", R"(^mongo\.(.+?)\.(collection|cmd|cx_|op_|delays_|decoding_)(.*?)$)"},
      {"cache", R"((cache\.(.+?)\.))"},
      {"component", R"((component\.(.+?)\.))"},
      {"tag", R"((tag\.(.+?);\.))"},
      {"wasm_filter", R"((wasm_filter\.(.+?)\.))"},
      {"authz_enforce_result", R"(rbac(\.(allowed|denied)))"},
      {"authz_dry_run_action", R"((\.istio_dry_run_(allow|deny)_))"},
      {"authz_dry_run_result", R"((\.shadow_(allowed|denied)))"},
  };
  Json tags = Json::array();
  for (const auto& [name, regex] : kTags) tags.push_back({{"tag_name", name}, {"regex", regex}});
  return tags;
}

std::vector<std::string> Setting(const Settings& settings, const std::string& annotation,
                                 const std::vector<std::string>& configured) {
  const auto at = settings.annotations.find("sidecar.istio.io/" + annotation);
  std::vector<std::string> list =
      at == settings.annotations.end() ? configured : base::SplitList(at->second);
  std::vector<std::string> out;
  for (const std::string& item : list) {
    if (item.find("{pod_ip}") == item.npos) {
      out.push_back(item);
      continue;
    }
    for (const std::string& ip : settings.ips)
      out.push_back(base::ReplaceAll(item, "{pod_ip}", ip));
  }
  return out;
}

Json StatsMatcher(const Settings& settings) {
  Json patterns = Json::array();
  const auto prefix = [&](const std::string& text) { patterns.push_back({{"prefix", text}}); };
  prefix("reporter=");
  for (const std::string& text :
       Setting(settings, "statsInclusionPrefixes", settings.proxy.stats_prefixes))
    prefix(text);
  for (const char* text :
       {"cluster_manager", "listener_manager", "server", "cluster.xds-grpc", "wasm"})
    prefix(text);
  std::vector<std::string> suffixes =
      Setting(settings, "statsInclusionSuffixes", settings.proxy.stats_suffixes);
  for (const char* text : {"rbac.allowed", "rbac.denied", "shadow_allowed", "shadow_denied"})
    suffixes.push_back(text);
  if (settings.env.GetBool("EXIT_ON_ZERO_ACTIVE_CONNECTIONS", false))
    suffixes.push_back("downstream_cx_active");
  for (const std::string& text : suffixes) patterns.push_back({{"suffix", text}});
  std::vector<std::string> regexps =
      Setting(settings, "statsInclusionRegexps", settings.proxy.stats_regexps);
  regexps.push_back(R"(vhost\..*\.route\..*)");
  for (const std::string& text : regexps) patterns.push_back({{"safe_regex", {{"regex", text}}}});
  prefix("component");
  prefix("istio");
  return {{"inclusion_list", {{"patterns", std::move(patterns)}}}};
}

Json Runtime(const Settings& settings) {
  Json layer = {{"re2.max_program_size.error_level", "32768"},
                {"envoy.deprecated_features:envoy.config.listener.v3.Listener.hidden_envoy_"
                 "deprecated_use_original_dst",
                 true},
                {"envoy.reloadable_features.http_reject_path_with_fragment", false},
                {"envoy.reloadable_features.fixed_heap_use_allocated", true},
                {"envoy.reloadable_features.coalesce_lb_rebuilds_on_batch_update", false}};
  for (const auto& [key, value] : settings.proxy.runtime_values) {
    if (value.empty())
      layer.erase(key);
    else if (value == "true" || value == "false")
      layer[key] = value == "true";
    else
      layer[key] = value;
  }
  return {{"layers",
           {{{"name", "global config"}, {"static_layer", std::move(layer)}},
            {{"name", "admin"}, {"admin_layer", Json::object()}}}}};
}

Json DynamicResources(const Settings& settings) {
  const Json ads = {
      {"ads", Json::object()}, {"initial_fetch_timeout", "0s"}, {"resource_api_version", "V3"}};
  // Envoy would let up to 30 s pass between tries, after a control plane is long back.
  const Json retry = {{"retry_back_off", {{"base_interval", "0.2s"}, {"max_interval", "2s"}}}};
  return {{"lds_config", ads},
          {"cds_config", ads},
          {"ads_config",
           {{"api_type", settings.delta_xds ? "DELTA_GRPC" : "GRPC"},
            {"set_node_on_first_message_only", true},
            {"transport_api_version", "V3"},
            {"grpc_services",
             {{{"envoy_grpc", {{"cluster_name", "xds-grpc"}, {"retry_policy", retry}}}}}}}}};
}

Json Cluster(const std::string& name, const char* timeout, Json address) {
  Json endpoint = {{"endpoint", {{"address", std::move(address)}}}};
  return {{"name", name},
          {"alt_stat_name", name + ";"},
          {"type", "STATIC"},
          {"connect_timeout", timeout},
          {"lb_policy", "ROUND_ROBIN"},
          {"load_assignment",
           {{"cluster_name", name},
            {"endpoints", Json::array({{{"lb_endpoints", Json::array({endpoint})}}})}}}};
}

Json GrpcCluster(const std::string& name, const std::string& socket) {
  Json cluster = Cluster(name, "1s", {{"pipe", {{"path", socket}}}});
  cluster["typed_extension_protocol_options"]
         ["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"] = {
             {"@type", Type("envoy.extensions.upstreams.http.v3.HttpProtocolOptions")},
             {"explicit_http_config", {{"http2_protocol_options", Json::object()}}}};
  return cluster;
}

/// Where spans go when the proxy's configuration names a collector; null otherwise. The control
/// plane then only says which requests are traced.
Json TracingCluster(const Settings& settings) {
  const std::string address =
      kubeapi::StringAt(settings.proxy.raw, {"tracing", "zipkin", "address"});
  if (address.empty()) return nullptr;
  const base::Result<base::HostPort> at = base::HostPort::Parse(address, 9411);
  if (!at.ok()) {
    LOG_WARN("bootstrap", "tracing.zipkin.address: {}; nothing is traced", at.status().message());
    return nullptr;
  }
  Json cluster = Cluster("zipkin", "1s", SocketAddress(at->host, at->port));
  cluster["type"] = "STRICT_DNS";
  cluster["respect_dns_ttl"] = true;
  cluster["dns_lookup_family"] = OnlyV6(settings) ? "V6_ONLY" : "V4_PREFERRED";
  return cluster;
}

Json Tracing() {
  return {{"http",
           {{"name", "envoy.tracers.zipkin"},
            {"typed_config",
             {{"@type", Type("envoy.config.trace.v3.ZipkinConfig")},
              {"collector_cluster", "zipkin"},
              {"collector_endpoint", "/api/v2/spans"},
              {"collector_endpoint_version", "HTTP_JSON"},
              {"trace_id_128bit", true},
              {"shared_span_context", false}}}}}};
}

Json XdsCluster(const Settings& settings) {
  Json cluster = GrpcCluster("xds-grpc", XdsSocket(settings));
  // Each stream on a connection of its own, so that an agent that hangs up is noticed at once.
  cluster["typed_extension_protocol_options"]
         ["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]
         ["common_http_protocol_options"] = {{"max_requests_per_connection", 1}};
  Json thresholds = Json::array();
  for (const char* priority : {"DEFAULT", "HIGH"})
    thresholds.push_back({{"priority", priority},
                          {"max_connections", 100000},
                          {"max_pending_requests", 100000},
                          {"max_requests", 100000}});
  cluster["circuit_breakers"]["thresholds"] = std::move(thresholds);
  cluster["upstream_connection_options"]["tcp_keepalive"]["keepalive_time"] = 300;
  return cluster;
}

Json Compressor(const char* kind, const char* package, const char* message) {
  return {{"name", "envoy.filters.http.compressor"},
          {"typed_config",
           {{"@type", Type("envoy.extensions.filters.http.compressor.v3.Compressor")},
            {"compressor_library",
             {{"name", kind},
              {"typed_config",
               {{"@type", Type(fmt::format("envoy.extensions.compression.{}.compressor.v3.{}",
                                           package, message))}}}}}}}};
}

Json Listener(const std::string& name, Json address, const std::string& stat_prefix,
              const std::string& path, const std::string& cluster, Json filters) {
  filters.push_back(
      {{"name", "envoy.filters.http.router"},
       {"typed_config", {{"@type", Type("envoy.extensions.filters.http.router.v3.Router")}}}});
  const Json route = {{"match", {{"prefix", path}}}, {"route", {{"cluster", cluster}}}};
  const Json hosts =
      Json::array({{{"name", "backend"}, {"domains", {"*"}}, {"routes", Json::array({route})}}});
  const Json manager = {
      {"@type",
       Type("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager")},
      {"codec_type", "AUTO"},
      {"stat_prefix", stat_prefix},
      {"route_config", {{"virtual_hosts", hosts}}},
      {"http_filters", std::move(filters)}};
  const Json filter = {{"name", "envoy.filters.network.http_connection_manager"},
                       {"typed_config", manager}};
  return {{"name", name},
          {"address", std::move(address)},
          {"ignore_global_conn_limit", true},
          {"bypass_overload_manager", true},
          {"filter_chains", Json::array({{{"filters", Json::array({filter})}}})}};
}

Json StaticListeners(const Settings& settings) {
  Json compressors = Json::array();
  if (settings.proxy.stats_compression) {
    compressors.push_back(Compressor("envoy.compression.brotli.compressor", "brotli", "Brotli"));
    compressors.push_back(Compressor("envoy.compression.zstd.compressor", "zstd", "Zstd"));
    compressors.push_back(Compressor("envoy.compression.gzip.compressor", "gzip", "Gzip"));
  }
  const bool local = settings.env.GetBool("METRICS_LOCALHOST_ACCESS_ONLY", false);
  const std::string metrics_host = local ? Localhost(settings) : Wildcard(settings);
  const std::string any = Wildcard(settings);
  return Json::array({Listener(fmt::format("{}_{}", metrics_host, settings.envoy_prometheus_port),
                               SocketAddress(metrics_host, settings.envoy_prometheus_port), "stats",
                               "/stats/prometheus", "prometheus_stats", std::move(compressors)),
                      Listener(fmt::format("{}_{}", any, settings.envoy_status_port),
                               SocketAddress(any, settings.envoy_status_port), "agent",
                               "/healthz/ready", "agent", Json::array())});
}

int64_t ConnectionLimit(const Settings& settings) {
  const std::string text = settings.env.Get("ISTIO_META_GLOBAL_DOWNSTREAM_MAX_CONNECTIONS");
  base::Result<int64_t> limit = base::ParseInt(text);
  return limit.ok() && *limit > 0 ? *limit : 2147483647;
}

}  // namespace

std::string XdsSocket(const Settings& settings) { return settings.proxy.config_path + "/XDS"; }
std::string BootstrapPath(const Settings& settings) {
  return settings.proxy.config_path + "/envoy-rev.json";
}

base::Result<std::string> MakeBootstrap(const Settings& settings) {
  ASSIGN_OR_RETURN(Json node, MakeNode(settings), "bootstrap");
  const std::string local = Localhost(settings);
  const Json limit = {{"@type", Type("envoy.extensions.resource_monitors.downstream_connections.v3."
                                     "DownstreamConnectionsConfig")},
                      {"max_active_downstream_connections", ConnectionLimit(settings)}};
  Json bootstrap = {
      {"application_log_config",
       {{"log_format", {{"text_format", "%Y-%m-%dT%T.%fZ\t%l\tenvoy %n %g:%#\t%v\tthread=%t"}}}}},
      {"node", std::move(node)},
      {"layered_runtime", Runtime(settings)},
      {"stats_config",
       {{"use_all_default_tags", false},
        {"stats_tags", StatsTags()},
        {"stats_matcher", StatsMatcher(settings)}}},
      {"admin",
       {{"access_log",
         Json::array({{{"name", "envoy.access_loggers.file"},
                       {"typed_config",
                        {{"@type", Type("envoy.extensions.access_loggers.file.v3.FileAccessLog")},
                         {"path", "/dev/null"}}}}})},
        {"profile_path", "/var/lib/istio/data/envoy.prof"},
        {"address", SocketAddress(local, settings.proxy.admin_port)}}},
      {"dynamic_resources", DynamicResources(settings)},
      {"static_resources",
       {{"clusters",
         Json::array({Cluster("prometheus_stats", "0.250s",
                              SocketAddress(local, settings.proxy.admin_port)),
                      Cluster("agent", "0.250s", SocketAddress(local, settings.proxy.status_port)),
                      GrpcCluster("sds-grpc", kSdsSocket), XdsCluster(settings)})},
        {"listeners", StaticListeners(settings)}}},
      {"overload_manager",
       {{"resource_monitors",
         Json::array({{{"name", "envoy.resource_monitors.global_downstream_max_connections"},
                       {"typed_config", limit}}})}}},
      {"deferred_stat_options", {{"enable_deferred_creation_stats", true}}},
      {"bootstrap_extensions",
       Json::array(
           {{{"name", "envoy.bootstrap.internal_listener"},
             {"typed_config",
              {{"@type", Type("envoy.extensions.bootstrap.internal_listener.v3.InternalListener")},
               {"buffer_size_kb", 64}}}}})}};
  if (Json collector = TracingCluster(settings); !collector.is_null()) {
    bootstrap["static_resources"]["clusters"].push_back(std::move(collector));
    bootstrap["tracing"] = Tracing();
  }
  if (!settings.outlier_log_path.empty())
    bootstrap["cluster_manager"]["outlier_detection"]["event_log_path"] = settings.outlier_log_path;
  return bootstrap.dump(1, ' ', false, Json::error_handler_t::replace);
}

std::vector<std::string> EnvoyArguments(const Settings& settings,
                                        const std::string& bootstrap_path) {
  const auto drain =
      std::chrono::duration_cast<std::chrono::seconds>(settings.proxy.drain_duration).count();
  std::vector<std::string> arguments = {settings.proxy.binary_path,
                                        "-c",
                                        bootstrap_path,
                                        "--drain-time-s",
                                        fmt::to_string(drain),
                                        "--drain-strategy",
                                        "immediate",
                                        "--local-address-ip-version",
                                        OnlyV6(settings) ? "v6" : "v4",
                                        "--file-flush-interval-msec",
                                        "1000",
                                        "--disable-hot-restart",
                                        "--allow-unknown-static-fields",
                                        "-l",
                                        settings.log_level};
  if (!settings.component_log_level.empty()) {
    arguments.push_back("--component-log-level");
    arguments.push_back(settings.component_log_level);
  }
  if (settings.env.GetBool("ENVOY_SKIP_DEPRECATED_LOGS", true))
    arguments.push_back("--skip-deprecated-logs");
  if (settings.concurrency > 0) {
    arguments.push_back("--concurrency");
    arguments.push_back(fmt::to_string(settings.concurrency));
  }
  if (const std::string path = settings.env.Get("ISTIO_BOOTSTRAP_OVERRIDE"); !path.empty()) {
    if (base::Result<std::string> override_text = base::ReadFile(path); override_text.ok()) {
      arguments.push_back("--config-yaml");
      arguments.push_back(*override_text);
    }
  }
  return arguments;
}

}  // namespace isthmus::agent
