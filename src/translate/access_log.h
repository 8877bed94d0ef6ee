#pragma once

#include "translate/mesh_settings.h"

namespace envoy::config::accesslog::v3 {
class AccessLog;
}

namespace isthmus::translate {

/// The mesh's access log file. REQUIRES: mesh.access_log_file is set.
void WriteAccessLog(const MeshSettings& mesh, envoy::config::accesslog::v3::AccessLog* log);

}  // namespace isthmus::translate
