#include "translate/telemetry.h"

#include <algorithm>

#include "base/strings.h"
#include "istio/mesh/v1alpha1/config.pb.h"
#include "istio/telemetry/v1/telemetry.pb.h"
#include "translate/access_log.h"
#include "translate/proxy_class.h"
#include "translate/tracing.h"

namespace isthmus::translate {
namespace {

namespace telemetry = istio::telemetry::v1;

bool Holds(telemetry::WorkloadMode mode, bool server) {
  return mode == telemetry::CLIENT_AND_SERVER || (mode == telemetry::SERVER) == server;
}

/// What the levels say about access logs, one after the other.
struct Logging {
  std::vector<std::string> providers;
  bool own_providers = false;  ///< Some level names them; else the mesh's hold.
  bool disabled = false;
  std::string filter;

  void Apply(const telemetry::Telemetry& spec, bool server) {
    bool first = true;
    for (const telemetry::AccessLogging& entry : spec.access_logging()) {
      if (!Holds(entry.match().mode(), server)) continue;
      if (entry.providers_size() > 0) {
        // A level replaces those above it; its own entries add up.
        if (first) providers.clear();
        first = false;
        own_providers = true;
        for (const auto& provider : entry.providers()) providers.push_back(provider.name());
      }
      if (entry.has_disabled()) disabled = entry.disabled().value();
      if (entry.has_filter()) filter = entry.filter().expression();
    }
  }
};

}  // namespace

TelemetryIndex::TelemetryIndex(const model::Configs& configs,
                               std::shared_ptr<const MeshSettings> mesh)
    : mesh_(std::move(mesh)) {
  if (configs.telemetries == nullptr) return;
  for (const auto& object : *configs.telemetries) {
    // Those attached to objects of the Gateway API are not about workloads.
    if (object->spec.has_target_ref() || object->spec.target_refs_size() > 0) continue;
    namespaces_[object->meta.ns].push_back(object);
  }
}

std::string TelemetryIndex::NameFor(const std::string& ns, const model::Labels& labels) const {
  std::string name;
  auto add = [&](const std::string& from, bool selecting) {
    auto found = namespaces_.find(from);
    if (found == namespaces_.end()) return;
    for (const auto& object : found->second) {
      const auto& selector = object->spec.selector().match_labels();
      if (selecting == selector.empty() || (selecting && !SelectsMap(selector, labels))) continue;
      name += from + "/" + object->meta.name + ";";
      return;
    }
  };
  add(mesh_->root_namespace, false);
  if (ns != mesh_->root_namespace) add(ns, false);
  add(ns, true);
  return name;
}

TelemetryIndex::Levels TelemetryIndex::LevelsOf(const std::string& name) const {
  Levels levels;
  for (std::string_view part : base::Split(name, ';')) {
    const auto [ns, object_name] = base::Cut(part, "/");
    auto space = namespaces_.find(std::string(ns));
    if (space == namespaces_.end()) continue;
    for (const auto& object : space->second)
      if (object->meta.name == object_name) levels.push_back(&object->spec);
  }
  return levels;
}

std::optional<Tracer> TelemetryIndex::TracerFor(const std::string& name, bool server) const {
  return TracerOf(mesh_->source.get(), LevelsOf(name), server);
}

std::shared_ptr<const MeshSettings> TelemetryIndex::SettingsFor(const std::string& name,
                                                                bool server,
                                                                const Place& place) const {
  if (name.empty() && place.tracer_cluster.empty()) return mesh_;
  auto [found, fresh] = settings_.try_emplace({name, server, place});
  if (!fresh) return found->second;
  const Levels levels = LevelsOf(name);
  Logging logging;
  for (const telemetry::Telemetry* level : levels) logging.Apply(*level, server);
  std::vector<AccessLog> logs = logging.own_providers
                                    ? AccessLogsOf(mesh_->source.get(), logging.providers)
                                    : mesh_->access_logs;
  if (logging.disabled) logs.clear();
  if (!logging.filter.empty())
    for (AccessLog& log : logs) log.filter = logging.filter;
  std::optional<Tracer> tracer;
  if (!place.tracer_cluster.empty()) tracer = TracerOf(mesh_->source.get(), levels, server);
  if (tracer.has_value()) {
    tracer->cluster = place.tracer_cluster;
    tracer->service_name = place.service_name;
  }
  if (logs == mesh_->access_logs && !tracer.has_value()) {
    found->second = mesh_;
  } else {
    auto own = std::make_shared<MeshSettings>(*mesh_);
    own->access_logs = std::move(logs);
    own->tracer = std::move(tracer);
    found->second = std::move(own);
  }
  return found->second;
}

}  // namespace isthmus::translate
