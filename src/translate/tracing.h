#pragma once

#include <optional>
#include <string>
#include <vector>

#include "model/snapshot.h"
#include "translate/mesh_settings.h"

namespace istio::telemetry::v1 {
class Telemetry;
}
namespace envoy::extensions::filters::network::http_connection_manager::v3 {
class HttpConnectionManager;
}

namespace isthmus::translate {

struct SidecarScope;

/// What the mesh configuration and the Telemetry objects (those of the mesh first) say about spans
/// on one side of connections; nothing when none are reported. `cluster` and `service_name` are
/// left empty.
std::optional<Tracer> TracerOf(const istio::mesh::v1alpha1::MeshConfig* mesh,
                               const std::vector<const istio::telemetry::v1::Telemetry*>& levels,
                               bool server);

/// The cluster by which a proxy of `ns` reaches the tracer's collector; empty when it sees no such
/// service. Envoy refuses a tracer whose cluster is not there.
std::string TracerCluster(const model::Snapshot& snapshot, const SidecarScope* sidecar,
                          const std::string& ns, const Tracer& tracer);
/// "app.namespace", as spans name a workload.
std::string TracedAs(const model::Labels& labels, const std::string& workload,
                     const std::string& ns);

void WriteTracing(
    const Tracer& tracer, bool router,
    envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager*
        manager);

}  // namespace isthmus::translate
