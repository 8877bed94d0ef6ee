#pragma once

#include <memory>
#include <string>

#include "base/loop.h"
#include "base/result.h"
#include "kubeclient/config.h"

namespace isthmus::kubeclient {

/// A real kube-apiserver with its etcd on loopback, from the folder that KUBEBUILDER_ASSETS names.
/// One for the whole test program; it is killed and its files are removed at the end. Null when the
/// variable is not set.
class RealCluster {
 public:
  static RealCluster* Get();
  ~RealCluster();

  /// As cluster administrator.
  RestConfig admin() const;
  /// The same as a kubeconfig file's text.
  std::string AdminKubeconfig() const;

 private:
  struct Impl;
  explicit RealCluster(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace isthmus::kubeclient
