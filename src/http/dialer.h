#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/loop.h"
#include "base/net.h"
#include "http/socket.h"
#include "http/tls_session.h"

namespace isthmus::http {

/// Where a connection leads, and through what.
struct Route {
  std::string unix_path;  ///< When not empty, all but `tls` is ignored.
  base::HostPort target;
  base::HostPort proxy;  ///< Speaks CONNECT; without a host, the way is direct.
  std::string proxy_authorization;
  TlsClientContext* tls = nullptr;  ///< Null is plaintext. Must outlive the dialling.
  bool http1_only = false;
  std::string local_ip;                                ///< Empty: any.
  base::Duration lost_after = base::Duration::zero();  ///< As ClientOptions has it.
};

/// An open connection with bytes that came early.
struct Dialed {
  std::unique_ptr<Socket> socket;
  std::string early;
};

/// Looks up, connects, asks the proxy, and shakes hands; then calls back once, never inside the
/// constructor. Destroying it gives up silently. Internal to http.
///
/// An address that keeps silent is left for the next one after a second, then two, then four; the
/// same one again if there is no other, since behind the address of a Service each connection may
/// lead to another endpoint.
class Dialer final : public SocketHandler {
 public:
  /// The callback takes the socket over and must set its handler at once.
  Dialer(base::Loop& loop, Route route, base::Duration timeout,
         std::function<void(base::Result<Dialed>)> done);
  ~Dialer() override;

  void OnOpen() override;
  void OnBytes(std::string_view bytes) override;
  void OnEnd(base::Status status) override;
  void OnWritable() override {}

 private:
  void Found(base::Result<std::vector<base::SocketAddress>> addresses);
  void TryNext();
  void Tunnelled();
  void Fail(base::Status status);
  void Succeed();
  const base::HostPort& next_hop() const {
    return route_.proxy.host.empty() ? route_.target : route_.proxy;
  }

  base::Loop& loop_;
  const Route route_;
  std::function<void(base::Result<Dialed>)> done_;
  std::shared_ptr<void> lookup_;
  std::vector<base::SocketAddress> addresses_;
  size_t attempts_ = 0;
  base::Duration patience_ = std::chrono::seconds(1);
  base::Timer attempt_timer_;
  std::unique_ptr<Socket> socket_;
  base::Timer timer_;
  enum class Step { kConnecting, kTunnelling, kHandshaking } step_ = Step::kConnecting;
  std::string received_;
};

}  // namespace isthmus::http
