#pragma once

#include <map>
#include <memory>
#include <string>

#include "base/loop.h"
#include "base/metrics.h"
#include "ca/authority.h"
#include "registry/remote_secrets.h"

namespace isthmus::controlplane {

struct LedClustersOptions {
  std::string cluster_id;  ///< Ours.
  std::string ns;          ///< System namespace, here and there.
  std::string revision;    ///< As shown.
  std::string root_config_map;
};

/// Cares for remote clusters that have no control plane of their own: where the system namespace
/// names us in topology.istio.io/controlPlaneClusters, our roots go into every namespace, and our
/// CA bundle into the injection webhooks. The annotation may come and go at any time.
///
/// Has connections of its own, so that the registry may change its ones. Lives on its loop, which
/// metrics and authority outlive with it.
class LedClusters {
 public:
  LedClusters(base::Loop& loop, base::MetricRegistry& metrics, ca::Authority& authority,
              LedClustersOptions options);
  ~LedClusters();
  LedClusters(const LedClusters&) = delete;
  LedClusters& operator=(const LedClusters&) = delete;

  /// The clusters that remote secrets name now.
  void Set(const std::vector<registry::RemoteCluster>& clusters);
  /// Our roots may be others now.
  void BundleChanged();

 private:
  struct Led;

  base::Loop& loop_;
  base::MetricRegistry& metrics_;
  ca::Authority& authority_;
  const LedClustersOptions options_;
  std::map<std::string, std::unique_ptr<Led>> clusters_;
};

/// Whether a system namespace names the cluster as one whose control plane leads it.
bool NamesLeader(const kubeapi::Json& system_namespace, std::string_view cluster_id);

}  // namespace isthmus::controlplane
