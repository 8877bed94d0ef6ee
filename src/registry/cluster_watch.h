#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/loop.h"
#include "base/result.h"
#include "config/kinds.h"
#include "kubeclient/client.h"
#include "kubeclient/informer.h"
#include "registry/cluster_state.h"

namespace isthmus::registry {

/// Watches one API server and hands every object to its owner. Keeps none. Kinds that the mesh can
/// do without (Secrets, WorkloadEntries, the ConfigMap) may be forbidden to the account. Lives on
/// its loop.
class ClusterWatch {
 public:
  struct Options {
    std::string system_namespace = "istio-system";
    std::string mesh_config_map = "istio";
    bool config_cluster = false;  ///< Also the Istio kinds and the remote secrets.
  };
  struct Events {
    std::function<void(Watched, const std::string& key, const Json*)> object;
    /// Config cluster only.
    std::function<void(const config::Kind&, const std::string& key, const Json*)> config;
    std::function<void(const std::string& key, const Json*)> remote_secret;
    /// The ConfigMap of the mesh, or null when there is none.
    std::function<void(const Json*)> mesh_config;
    /// Every kind has been listed once.
    std::function<void()> synced;
    /// The API server failed, once for all kinds, or answers for all of them again (OK).
    std::function<void(const base::Status&)> health;
  };
  ClusterWatch(base::Loop& loop, kubeclient::Client& client, Options options, Events events);
  ~ClusterWatch();
  ClusterWatch(const ClusterWatch&) = delete;
  ClusterWatch& operator=(const ClusterWatch&) = delete;

  bool synced() const;
  /// How long some watch has been without its server; zero when all are well.
  base::Duration stale_for() const;

 private:
  enum class Need { kRequired, kOptional };
  struct Source {
    std::unique_ptr<kubeclient::Informer> informer;
    bool counted = false;  ///< As synced.
    bool failing = false;
  };
  void Watch(Need need, kubeclient::Resource resource, std::string ns,
             kubeclient::ListOptions options,
             std::function<void(const std::string&, const Json*)> changed);
  void Count(Source& source);
  void OnHealth(Source& source, Need need, const std::string& plural, const base::Status& status);

  base::Loop& loop_;
  kubeclient::Client& client_;
  const Events events_;
  std::vector<std::unique_ptr<Source>> sources_;
  size_t waiting_ = 0;
  size_t failing_ = 0;
  std::chrono::steady_clock::time_point failing_since_;
};

}  // namespace isthmus::registry
