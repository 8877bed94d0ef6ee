#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "model/snapshot.h"
#include "translate/mesh_settings.h"

namespace isthmus::translate {

/// Which Telemetry objects hold for a workload, and what becomes of the mesh's settings by them. At
/// most one of each level counts, the oldest: of the root namespace, of the namespace, of the
/// workload. Immutable but for what SettingsFor() remembers; single-threaded.
class TelemetryIndex {
 public:
  TelemetryIndex(const model::Configs& configs, std::shared_ptr<const MeshSettings> mesh);
  /// Names the set of objects; empty: none.
  std::string NameFor(const std::string& ns, const model::Labels& labels) const;
  /// What that set says about spans, on the server's side of connections or the client's.
  std::optional<Tracer> TracerFor(const std::string& name, bool server) const;
  /// The mesh's settings with access logs and tracer as that set asks for them; `place` has the
  /// tracer's cluster and service name, and without a cluster nothing is traced. The mesh's own
  /// where nothing differs; equal arguments give one pointer.
  struct Place {
    std::string tracer_cluster;
    std::string service_name;
    auto operator<=>(const Place&) const = default;
  };
  std::shared_ptr<const MeshSettings> SettingsFor(const std::string& name, bool server,
                                                  const Place& place) const;

 private:
  using Object = config::Object<istio::telemetry::v1::Telemetry>;
  const std::shared_ptr<const MeshSettings> mesh_;
  std::map<std::string, std::vector<std::shared_ptr<const Object>>> namespaces_;  ///< Oldest first.
  using Levels = std::vector<const istio::telemetry::v1::Telemetry*>;
  Levels LevelsOf(const std::string& name) const;
  mutable std::map<std::tuple<std::string, bool, Place>, std::shared_ptr<const MeshSettings>>
      settings_;
};

}  // namespace isthmus::translate
