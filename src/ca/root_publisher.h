#pragma once

#include <memory>
#include <string>

#include "base/loop.h"
#include "ca/authority.h"
#include "kubeclient/client.h"

namespace isthmus::ca {

/// Keeps config map istio-ca-root-cert, which every proxy mounts, equal to the authority's roots in
/// every namespace of a cluster: makes it in new namespaces, again when it was deleted, and
/// overwrites edits. Any number of replicas may do so, since all write the same. Lives on its loop;
/// client and authority outlive it.
class RootPublisher {
 public:
  RootPublisher(base::Loop& loop, kubeclient::Client& client, Authority& authority,
                std::string config_map = "istio-ca-root-cert");
  ~RootPublisher();
  RootPublisher(const RootPublisher&) = delete;
  RootPublisher& operator=(const RootPublisher&) = delete;

  /// Every namespace that is known has the current roots (or refuses them).
  bool settled() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace isthmus::ca
