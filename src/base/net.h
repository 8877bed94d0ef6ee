#pragma once

#include <netinet/in.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/loop.h"
#include "base/result.h"

namespace isthmus::base {

bool IsIpAddress(std::string_view text);
bool IsIpv4Address(std::string_view text);

/// An IP address with a port. A value.
class SocketAddress {
 public:
  SocketAddress() = default;
  explicit SocketAddress(const sockaddr* address);
  /// `ip` is "10.0.0.1" or "::1", with or without brackets.
  static Result<SocketAddress> From(std::string_view ip, uint16_t port);
  /// "10.0.0.1:80" or "[::1]:80".
  static Result<SocketAddress> Parse(std::string_view text);

  std::string ip() const;
  uint16_t port() const;
  std::string text() const;
  bool is_v6() const { return storage_.ss_family == AF_INET6; }
  const sockaddr* raw() const { return reinterpret_cast<const sockaddr*>(&storage_); }
  bool operator==(const SocketAddress& other) const { return text() == other.text(); }

 private:
  sockaddr_storage storage_{};
};

/// Splits "host:port", "[::1]:port" or "host" (then `port` is `default_port`).
struct HostPort {
  std::string host;
  uint16_t port = 0;
  static Result<HostPort> Parse(std::string_view text, uint16_t default_port = 0);
  /// With brackets around an IPv6 address.
  std::string text() const;
};

/// Looks a host name up with the system's resolver, in a helper thread. An IP address gives itself.
/// `done` is called on the loop, never inside the call, with at least one address, unless the
/// returned handle is dropped before.
std::shared_ptr<void> Resolve(Loop& loop, const std::string& host, uint16_t port,
                              std::function<void(Result<std::vector<SocketAddress>>)> done);

/// A UDP port. Lives on its loop; the callback may destroy it.
class UdpSocket {
 public:
  using Callback = std::function<void(std::string_view datagram, const SocketAddress& from)>;
  /// Port 0 takes a free one.
  static Result<std::unique_ptr<UdpSocket>> Bind(Loop& loop, const SocketAddress& address,
                                                 Callback received);
  ~UdpSocket();
  UdpSocket(const UdpSocket&) = delete;
  UdpSocket& operator=(const UdpSocket&) = delete;

  SocketAddress local() const;
  /// Sends at once or not at all, as UDP may.
  Status Send(std::string_view datagram, const SocketAddress& to);

 private:
  struct State;
  explicit UdpSocket(State* state) : state_(state) {}
  State* state_;
};

}  // namespace isthmus::base
