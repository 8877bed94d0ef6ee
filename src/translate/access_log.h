#pragma once

#include <google/protobuf/repeated_ptr_field.h>

#include <string>
#include <vector>

#include "translate/mesh_settings.h"

namespace envoy::config::accesslog::v3 {
class AccessLog;
}

namespace isthmus::translate {

/// What the mesh configuration asks for: its default providers, else its access log file.
std::vector<AccessLog> DefaultAccessLogs(const istio::mesh::v1alpha1::MeshConfig& mesh);
/// The logs of providers by name. Unknown names, and providers that are no files, give none; `mesh`
/// may be null.
std::vector<AccessLog> AccessLogsOf(const istio::mesh::v1alpha1::MeshConfig* mesh,
                                    const std::vector<std::string>& providers);

/// Writes all logs of a side.
void WriteAccessLogs(
    const MeshSettings& mesh,
    google::protobuf::RepeatedPtrField<envoy::config::accesslog::v3::AccessLog>* logs);

}  // namespace isthmus::translate
