#pragma once

#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "install/mesh_session.h"

namespace isthmus::install {

struct UpOptions {
  std::string root_directory;  ///< Where the common root is kept.
  base::Duration readiness_timeout = std::chrono::minutes(5);
};

/// Makes the clusters what the topology says: certificates of one root, remote secrets,
/// installation, gateways, exposure, workloads, configuration. Everything is applied as wanted
/// state, so a second run changes only what differs. Primaries go first, since remotes need their
/// addresses. The error names cluster, object and reason.
base::Status BringUp(MeshSession& session, const UpOptions& options, const base::Clock& clock);

/// What BringUp would do, as lines "cluster: create Deployment istio-system/istiod"; objects that
/// are as wanted are counted.
struct PlanLine {
  std::string cluster;
  enum class Action { kCreate, kChange, kRemove, kKeep } action = Action::kKeep;
  std::string object;
  std::string detail;  ///< For changes: the fields that differ.
};
base::Result<std::vector<PlanLine>> PlanUp(MeshSession& session);

/// Takes away what BringUp made: workloads, exposure, secrets, installation with everything of it,
/// in all clusters.
base::Status TakeDown(MeshSession& session);

}  // namespace isthmus::install
