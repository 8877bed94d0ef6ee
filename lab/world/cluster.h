#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/loop.h"
#include "base/result.h"
#include "kubeapi/json.h"
#include "kubeclient/client.h"
#include "kubeclient/informer.h"
#include "lab/world/control_plane.h"
#include "lab/world/lab_dirs.h"
#include "lab/world/lab_spec.h"
#include "lab/world/managed_process.h"
#include "lab/world/wan.h"

namespace isthmus::lab::world {

/// One cluster of the lab from its first process to the moment it is ready, and its processes after
/// that. The steps: API server, then (when it answers) controllers and nodes and the objects every
/// cluster has, until all nodes are ready. Lives on the supervisor's loop.
class Cluster {
 public:
  struct Shared {
    base::Loop& loop;
    const LabDirs& dirs;
    const LabSpec& lab;
    const Wan& wan;
    const ControlPlane& control_plane;
    std::string program;
    std::map<std::string, std::string> programs;  ///< Of the image table.
    std::vector<std::string> image_tables;
    std::string proxy_url;
  };
  Cluster(const Shared& shared, const ClusterSpec& spec,
          std::function<void(const std::string&)> progress,
          std::function<void(const base::Status&)> ready);
  ~Cluster();
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;

  base::Status Start();
  const ClusterSpec& spec() const { return spec_; }
  bool ready() const { return ready_; }
  /// Where the service of the ingress gateway is, once there is one.
  const std::string& ingress_address() const { return ingress_address_; }
  /// Gives every node the rules that the networks have for it now.
  base::Status RefreshNodes();
  void StopApiServer();
  void StartApiServer();
  kubeapi::Json Status() const;
  /// For the user: through the proxy.
  base::Result<std::string> OuterKubeconfig() const;

 private:
  struct Object {
    kubeapi::Resource resource;
    std::string name_space;
    kubeapi::Json body;
  };
  void Fail(const base::Status& status);
  void AwaitFiles();
  void AwaitApiServer();
  base::Status StartNodes();
  base::Status StartNode(const NodeSpec& node);
  std::string NodeConfig(const NodeSpec& node) const;
  base::Status WriteNodeOptions(const NodeSpec& node) const;
  base::Status WriteKubeconfig() const;
  base::Status ConnectApi();
  void CheckNodes();
  void CheckAccounts();
  void GiveUp();
  /// What a cluster has besides the API server's own objects.
  std::vector<Object> OwnObjects() const;
  void MakeObjects(size_t next);
  std::string MirrorPodNode() const;
  kubeapi::Json MirrorPod() const;
  void SetMirrorPodStatus();
  void WatchIngress();
  std::string FirstNs() const;

  const Shared shared_;
  const ClusterSpec& spec_;
  std::function<void(const std::string&)> progress_;
  std::function<void(const base::Status&)> on_ready_;
  std::vector<std::unique_ptr<ManagedProcess>> processes_;
  std::unique_ptr<kubeclient::Client> client_;
  std::unique_ptr<kubeclient::Informer> ingress_;
  std::string ingress_address_;
  bool objects_made_ = false, ready_ = false;
  base::Timer poll_, retry_object_, deadline_;
};

}  // namespace isthmus::lab::world
