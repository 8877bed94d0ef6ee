#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/loop.h"
#include "base/result.h"
#include "kubeclient/client.h"

namespace isthmus::kubeclient {

struct ForwardTarget {
  std::string ns;
  std::string pod;
  uint16_t port = 0;
};

/// A port of this machine that leads to a port of a pod, by the API server's portforward over
/// WebSocket: one WebSocket for each connection. Lives on the client's loop; destroying it closes
/// the port and all connections.
class PodForward {
 public:
  /// Port 0 takes a free one. `failed` is told why a connection could not be made, or what the node
  /// says of it.
  static base::Result<std::unique_ptr<PodForward>> Listen(
      base::Loop& loop, Client& client, ForwardTarget target, const std::string& address,
      uint16_t port, std::function<void(const std::string&)> failed);
  ~PodForward();
  PodForward(const PodForward&) = delete;
  PodForward& operator=(const PodForward&) = delete;
  uint16_t port() const;

 private:
  struct Impl;
  explicit PodForward(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace isthmus::kubeclient
