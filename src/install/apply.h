#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/loop.h"
#include "base/result.h"
#include "install/cluster_access.h"
#include "install/owned_objects.h"
#include "install/render.h"

namespace isthmus::install {

/// Told as the work goes on; lines are ready to print.
using ProgressLine = std::function<void(std::string_view line)>;

struct ApplyOptions {
  base::Duration readiness_timeout = std::chrono::minutes(5);  ///< For each component.
  bool prune = true;
  bool wait =
      true;  ///< Whether each component is waited for before the next; definitions always are.
};

/// Installs: namespace, then component after component (gateways side by side), each applied at
/// once and waited for, then removes what this owner no longer renders. The error names the
/// component and each object that is not ready, with why.
base::Status Apply(ClusterAccess cluster, const Installation& installation,
                   const std::vector<Component>& components, const ApplyOptions& options,
                   const ProgressLine& progress);

/// What this owner applied before and does not render any more. An unnamed installation owns what
/// is labelled "unknown": it never takes another's gateway away.
base::Result<std::vector<Owned>> SurplusOf(ClusterAccess& cluster, const Installation& installation,
                                           const std::vector<Component>& components);
/// Deletes what SurplusOf() finds.
base::Status Prune(ClusterAccess& cluster, const Installation& installation,
                   const std::vector<Component>& components);

/// The objects of a component as they are applied: with the labels by which they are found again,
/// and with what the running control plane has taken over (the failure policy of its validating
/// webhook).
base::Result<std::vector<Json>> AsApplied(ClusterAccess& cluster, const Installation& installation,
                                          const Component& component);

/// Waits for all Deployments among `objects`; the error lists those that are not ready, with why.
base::Status WaitReady(ClusterAccess& cluster, const std::vector<Json>& objects,
                       base::Duration timeout);

/// Why a Deployment is not ready, or "" when it is: its newest replica set, its pods' reasons.
base::Result<std::string> WhyNotReady(ClusterAccess& cluster, const std::string& ns,
                                      const std::string& name);

struct UninstallOptions {
  bool purge = false;
  std::string owner_name;  ///< Only objects of this owner; empty for any.
  std::string owner_ns;
  std::string revision;
  bool dry_run = false;
};

/// Deletes what install applied, found by its labels, and tells each object. Objects already gone
/// are no error.
base::Status Uninstall(ClusterAccess cluster, const UninstallOptions& options,
                       const ProgressLine& progress);

}  // namespace isthmus::install
