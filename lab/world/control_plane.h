#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "lab/world/lab_dirs.h"
#include "lab/world/lab_spec.h"
#include "lab/world/managed_process.h"

namespace isthmus::lab::world {

/// Which API server a lab runs: its own, or the real one from the folder KUBEBUILDER_ASSETS.
class ControlPlane {
 public:
  /// `assets` is empty for the lab's own. `program` is this program.
  ControlPlane(LabDirs dirs, std::string program, std::string assets)
      : dirs_(std::move(dirs)), program_(std::move(program)), assets_(std::move(assets)) {}

  bool real() const { return !assets_.empty(); }
  /// What must be there before the processes start (the real API server's certificates).
  base::Status Prepare(const LabSpec& lab, const ClusterSpec& cluster) const;
  /// The API server (and its store), to be started first.
  std::vector<ProcessSpec> Servers(const ClusterSpec& cluster,
                                   const std::string& network_namespace) const;
  /// Controllers and scheduler.
  std::vector<ProcessSpec> Controllers(const LabSpec& lab, const ClusterSpec& cluster,
                                       const std::string& network_namespace) const;
  /// Whether the API server has written its certificates and kubeconfigs.
  bool FilesReady(const ClusterSpec& cluster) const;
  std::string AdminKubeconfig(const ClusterSpec& cluster) const {
    return dirs_.data(cluster.name) + "/admin.kubeconfig";
  }
  /// A certificate for a node's kubelet API, from the cluster's authority: kubelet-<node>.{crt,key}
  /// in its pki.
  base::Status IssueKubeletCertificate(const ClusterSpec& cluster, const NodeSpec& node) const;

 private:
  ProcessSpec Own(const ClusterSpec& cluster, const std::string& role,
                  std::vector<std::string> args, const std::string& ns) const;
  ProcessSpec Asset(const ClusterSpec& cluster, const std::string& name,
                    std::vector<std::string> args, const std::string& ns) const;

  const LabDirs dirs_;
  const std::string program_;
  const std::string assets_;
};

/// A kubeconfig with one context called `name`.
std::string MakeKubeconfig(const std::string& name, const std::string& server,
                           const std::string& proxy_url, const std::string& ca_pem,
                           const std::string& certificate_pem, const std::string& key_pem);

}  // namespace isthmus::lab::world
