#include "translate/tracing.h"

#include <algorithm>
#include <map>

#include "envoy/config/trace/v3/opentelemetry.pb.h"
#include "envoy/config/trace/v3/zipkin.pb.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb.h"
#include "istio/mesh/v1alpha1/config.pb.h"
#include "istio/mesh/v1alpha1/proxy.pb.h"
#include "istio/networking/v1/sidecar.pb.h"
#include "istio/telemetry/v1/telemetry.pb.h"
#include "translate/names.h"
#include "translate/pack.h"
#include "translate/sidecar_scope.h"

namespace isthmus::translate {
namespace {

namespace telemetry = istio::telemetry::v1;
using envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
using istio::mesh::v1alpha1::MeshConfig;

std::string HostOf(const std::string& service) { return service.substr(service.find('/') + 1); }

/// What a provider says of where spans go; false for kinds that stock Envoy or we do not have.
bool ReadProvider(const MeshConfig& mesh, const std::string& name, Tracer* tracer) {
  for (const auto& provider : mesh.extension_providers()) {
    if (provider.name() != name) continue;
    if (provider.has_zipkin()) {
      tracer->kind = Tracer::Kind::kZipkin;
      tracer->service = provider.zipkin().service();
      tracer->port = static_cast<int>(provider.zipkin().port());
      tracer->path = provider.zipkin().path().empty() ? "/api/v2/spans" : provider.zipkin().path();
      tracer->short_ids = provider.zipkin().enable_64bit_trace_id();
      tracer->max_path_length = static_cast<int>(provider.zipkin().max_tag_length());
      return true;
    }
    if (provider.has_opentelemetry()) {
      const auto& http = provider.opentelemetry().http();
      if (provider.opentelemetry().has_http())
        tracer->path = http.path().empty() ? "/v1/traces" : http.path();
      tracer->kind = Tracer::Kind::kOpenTelemetry;
      tracer->service = provider.opentelemetry().service();
      tracer->port = static_cast<int>(provider.opentelemetry().port());
      tracer->max_path_length = static_cast<int>(provider.opentelemetry().max_tag_length());
      return true;
    }
    return false;
  }
  return false;
}

void ReadTags(const telemetry::Tracing& from, Tracer* tracer) {
  std::map<std::string, Tracer::Tag> tags;
  for (const Tracer::Tag& tag : tracer->tags) tags[tag.name] = tag;
  for (const auto& [name, tag] : from.custom_tags()) {
    if (tag.has_literal())
      tags[name] = {name, Tracer::Tag::Source::kLiteral, tag.literal().value(), ""};
    if (tag.has_environment())
      tags[name] = {name, Tracer::Tag::Source::kEnvironment, tag.environment().name(),
                    tag.environment().default_value()};
    if (tag.has_header())
      tags[name] = {name, Tracer::Tag::Source::kHeader, tag.header().name(),
                    tag.header().default_value()};
  }
  tracer->tags.clear();
  for (auto& [name, tag] : tags) tracer->tags.push_back(std::move(tag));
}

/// The collector that the proxy's bootstrap names (defaultConfig.tracing), of which each proxy
/// knows for itself: the tracer has no service then.
constexpr char kBootstrapCluster[] = "zipkin";

void WriteProvider(const Tracer& tracer, HttpConnectionManager::Tracing* tracing) {
  // Envoy then takes the bootstrap's; proxies that have none there report nothing.
  if (tracer.service.empty()) return;
  auto* provider = tracing->mutable_provider();
  if (tracer.kind == Tracer::Kind::kZipkin) {
    envoy::config::trace::v3::ZipkinConfig config;
    config.set_collector_cluster(tracer.cluster);
    config.set_collector_endpoint(tracer.path);
    config.set_collector_endpoint_version(envoy::config::trace::v3::ZipkinConfig::HTTP_JSON);
    config.set_collector_hostname(HostOf(tracer.service));
    config.set_trace_id_128bit(!tracer.short_ids);
    config.mutable_shared_span_context()->set_value(false);
    provider->set_name("envoy.tracers.zipkin");
    Pack(config, provider->mutable_typed_config());
    return;
  }
  envoy::config::trace::v3::OpenTelemetryConfig config;
  if (tracer.path.empty()) {
    config.mutable_grpc_service()->mutable_envoy_grpc()->set_cluster_name(tracer.cluster);
    config.mutable_grpc_service()->mutable_envoy_grpc()->set_authority(HostOf(tracer.service));
  } else {
    auto* uri = config.mutable_http_service()->mutable_http_uri();
    uri->set_uri("http://" + HostOf(tracer.service) + ":" + std::to_string(tracer.port) +
                 tracer.path);
    uri->set_cluster(tracer.cluster);
    uri->mutable_timeout()->set_seconds(10);
  }
  config.set_service_name(tracer.service_name);
  provider->set_name("envoy.tracers.opentelemetry");
  Pack(config, provider->mutable_typed_config());
}

}  // namespace

std::optional<Tracer> TracerOf(const MeshConfig* mesh,
                               const std::vector<const telemetry::Telemetry*>& levels,
                               bool server) {
  if (mesh == nullptr) return std::nullopt;
  Tracer tracer;
  std::string provider;
  if (mesh->default_providers().tracing_size() > 0) provider = mesh->default_providers().tracing(0);
  bool disabled = !mesh->enable_tracing();
  const auto& defaults = mesh->default_config().tracing();
  if (defaults.sampling() > 0) tracer.sampling = defaults.sampling();
  for (const telemetry::Telemetry* level : levels) {
    for (const telemetry::Tracing& from : level->tracing()) {
      const auto mode = from.match().mode();
      if (mode != telemetry::CLIENT_AND_SERVER && (mode == telemetry::SERVER) != server) continue;
      if (from.providers_size() > 0) {
        provider = from.providers(0).name();
        disabled = false;
      }
      if (from.has_random_sampling_percentage())
        tracer.sampling = from.random_sampling_percentage().value();
      if (from.has_disable_span_reporting()) disabled = from.disable_span_reporting().value();
      ReadTags(from, &tracer);
      break;  // Only the first of a level counts.
    }
  }
  const bool of_bootstrap = provider.empty() && !defaults.zipkin().address().empty();
  if (disabled || (!of_bootstrap && !ReadProvider(*mesh, provider, &tracer))) return std::nullopt;
  tracer.sampling = std::clamp(tracer.sampling, 0.0, 100.0);
  return tracer;
}

std::string TracerCluster(const model::Snapshot& snapshot, const SidecarScope* sidecar,
                          const std::string& ns, const Tracer& tracer) {
  if (tracer.service.empty()) return kBootstrapCluster;
  const std::string host = HostOf(tracer.service);
  const std::string of = host.size() == tracer.service.size()
                             ? ""
                             : tracer.service.substr(0, tracer.service.find('/'));
  if (snapshot.services == nullptr) return "";
  auto found = snapshot.services->find(host);
  if (found == snapshot.services->end()) return "";
  for (const auto& one : found->second) {
    const model::Port* port = one->FindPort(tracer.port);
    if (!of.empty() && one->ns != of) continue;
    if (port == nullptr || port->protocol == model::Protocol::kUdp || !one->export_to.VisibleIn(ns))
      continue;
    if (one->resolution == model::Resolution::kAlias ||
        one->resolution == model::Resolution::kDynamicDns)
      continue;
    if (sidecar != nullptr && !sidecar->Admits(ns, one->ns, host)) continue;
    return OutboundName(tracer.port, "", host);
  }
  return "";
}

std::string TracedAs(const model::Labels& labels, const std::string& workload,
                     const std::string& ns) {
  auto app = labels.find("app");
  return (app == labels.end() || app->second.empty() ? workload : app->second) + "." + ns;
}

void WriteTracing(const Tracer& tracer, bool router, HttpConnectionManager* manager) {
  auto* tracing = manager->mutable_tracing();
  tracing->mutable_client_sampling()->set_value(100);
  tracing->mutable_random_sampling()->set_value(tracer.sampling);
  tracing->mutable_overall_sampling()->set_value(100);
  if (tracer.max_path_length > 0)
    tracing->mutable_max_path_tag_length()->set_value(
        static_cast<uint32_t>(tracer.max_path_length));
  if (router) tracing->mutable_spawn_upstream_span()->set_value(true);
  for (const Tracer::Tag& tag : tracer.tags) {
    auto* custom = tracing->add_custom_tags();
    custom->set_tag(tag.name);
    switch (tag.source) {
      case Tracer::Tag::Source::kLiteral:
        custom->mutable_literal()->set_value(tag.value);
        break;
      case Tracer::Tag::Source::kEnvironment:
        custom->mutable_environment()->set_name(tag.value);
        custom->mutable_environment()->set_default_value(tag.fallback);
        break;
      case Tracer::Tag::Source::kHeader:
        custom->mutable_request_header()->set_name(tag.value);
        custom->mutable_request_header()->set_default_value(tag.fallback);
        break;
    }
  }
  WriteProvider(tracer, tracing);
}

}  // namespace isthmus::translate
