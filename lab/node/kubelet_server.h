#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/loop.h"
#include "base/result.h"
#include "http/server.h"
#include "lab/node/pod.h"

namespace isthmus::lab::node {

struct KubeletServerOptions {
  std::string address;
  uint16_t port = 10250;
  std::string certificate_pem, key_pem;
  std::string client_ca_pem;  ///< Who may call: holders of a certificate of this authority.
};

/// The node's HTTPS API, as API servers call kubelets: logs, exec, attach, port-forward, pods,
/// health. Lives on the node's loop.
class KubeletServer {
 public:
  using FindPod = std::function<Pod*(std::string_view ns, std::string_view name)>;
  using AllPods = std::function<std::vector<const Pod*>()>;
  static base::Result<std::unique_ptr<KubeletServer>> Start(base::Loop& loop,
                                                            const KubeletServerOptions& options,
                                                            FindPod find, AllPods all);
  ~KubeletServer();
  KubeletServer(const KubeletServer&) = delete;
  KubeletServer& operator=(const KubeletServer&) = delete;
  uint16_t port() const;

 private:
  struct Impl;
  explicit KubeletServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace isthmus::lab::node
