#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/loop.h"
#include "base/result.h"

namespace isthmus::lab::world {

/// Where a connection is to go: an address as seen from inside a namespace.
struct Target {
  std::string network_namespace;
  std::string address;
  uint16_t port = 0;
};

/// The ways from the machine's loopback into the lab. Their outgoing sockets are made inside a
/// namespace of the lab, so that nothing of the machine's own network is used or changed. Live on
/// their loop.

/// A CONNECT proxy (kubectl's proxy-url). `resolve` says where a host may lead; an error is
/// answered with 403.
class ConnectProxy {
 public:
  using Resolve = std::function<base::Result<Target>(const std::string& host, uint16_t port)>;
  ConnectProxy(base::Loop& loop, uint16_t port, Resolve resolve);
  ~ConnectProxy();
  base::Status Start();
  uint16_t port() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// A TCP port on 127.0.0.1 that leads to one target, asked for at each connection.
class PortForward {
 public:
  using Resolve = std::function<base::Result<Target>()>;
  PortForward(base::Loop& loop, uint16_t port, Resolve resolve);
  ~PortForward();
  base::Status Start();
  uint16_t port() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace isthmus::lab::world
