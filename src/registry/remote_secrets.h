#pragma once

#include <map>
#include <string>
#include <vector>

#include "kubeapi/json.h"
#include "kubeclient/config.h"
#include "model/ids.h"

namespace isthmus::registry {

/// A cluster that a remote secret names.
struct RemoteCluster {
  model::ClusterId id;
  std::string secret;  ///< "<namespace>/<name>"
  std::string kubeconfig;
  kubeclient::RestConfig config;
};

/// Follows the Secrets labelled istio/multiCluster=true: each data key is a cluster, its value a
/// kubeconfig.
///
/// Garbage is reported and changes nothing: a bad kubeconfig is refused, and one that takes the
/// place of a good one leaves the good one in use. Of two Secrets that name one cluster the first
/// counts; when it goes the other takes its place. Pure; one owner.
class RemoteSecrets {
 public:
  /// `own` is never remote. `allowed` as in ParseKubeconfig.
  RemoteSecrets(model::ClusterId own, std::vector<std::string> allowed);

  struct Change {
    enum class What { kAdd, kUpdate, kRemove };
    What what;
    RemoteCluster cluster;
  };
  /// One Secret came or changed, or went (null).
  std::vector<Change> Apply(const std::string& key, const kubeapi::Json* now);

  /// Why keys are not in use, by "<namespace>/<name> <key>".
  const std::map<std::string, std::string>& errors() const { return errors_; }

 private:
  void ApplyKey(const std::string& secret, const std::string& cluster, std::string kubeconfig,
                std::vector<Change>& changes);
  void Refuse(const std::string& secret, const std::string& cluster, std::string reason);
  /// Puts another Secret's kubeconfig for the cluster in force; false when there is no good one.
  bool PutHeir(const std::string& cluster, std::vector<Change>& changes);

  const model::ClusterId own_;
  const std::vector<std::string> allowed_;
  std::map<std::string, RemoteCluster> clusters_;  ///< By cluster name.
  /// Kubeconfigs that wait because another Secret names the same cluster, by cluster and Secret.
  std::map<std::string, std::map<std::string, std::string>> waiting_;
  std::map<std::string, std::string> errors_;
};

}  // namespace isthmus::registry
