#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/loop.h"
#include "base/net.h"
#include "base/result.h"
#include "http/byte_stream.h"

namespace isthmus::http {

/// Opens a plain connection, from `local_ip` when it is given. `done` is called once, never inside
/// the call; dropping the handle gives up silently.
std::shared_ptr<void> DialTcp(base::Loop& loop, base::HostPort target, base::Duration timeout,
                              std::function<void(base::Result<std::unique_ptr<ByteStream>>)> done,
                              const std::string& local_ip = {});
std::shared_ptr<void> DialUnix(base::Loop& loop, const std::string& path, base::Duration timeout,
                               std::function<void(base::Result<std::unique_ptr<ByteStream>>)> done);

/// A port that hands out plain connections. Destroying it closes the port, not the connections.
class TcpListener {
 public:
  /// `peer` is "10.0.0.1:4711".
  using Callback = std::function<void(std::unique_ptr<ByteStream> stream, const std::string& peer)>;
  /// `address` is an IP address or "unix:/path"; port 0 takes a free one.
  static base::Result<std::unique_ptr<TcpListener>> Listen(base::Loop& loop,
                                                           const std::string& address,
                                                           uint16_t port, Callback accepted);
  virtual ~TcpListener() = default;
  virtual uint16_t port() const = 0;
};

/// Passes bytes between two streams both ways with back-pressure, and ends of each direction on
/// their own. Owns both; `done` is called once when both directions have ended or one side broke.
/// Dropping the handle closes both silently.
std::shared_ptr<void> Splice(base::Loop& loop, std::unique_ptr<ByteStream> a,
                             std::unique_ptr<ByteStream> b, std::function<void(base::Status)> done);

}  // namespace isthmus::http
