#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/slice.h"
#include "http/server.h"

namespace isthmus::rpc {

/// One gRPC call on the server's side, unary or streaming. Lives on the server's loop.
class ServerCall {
 public:
  virtual ~ServerCall() = default;
  /// "/istio.v1.auth.IstioCertificateService/CreateCertificate".
  virtual const std::string& method() const = 0;
  /// Request metadata as HTTP headers (lower-case names).
  virtual const http::Headers& metadata() const = 0;
  virtual const http::PeerInfo& peer() const = 0;

  /// Each request message, whole; then `half_close` when the client sends no more. Set both in the
  /// handler.
  virtual void OnMessage(std::function<void(std::string_view)> message,
                         std::function<void()> half_close) = 0;
  /// Called once when the call is over, whoever ended it.
  virtual void OnClose(std::function<void()> callback) = 0;

  /// Sends one message made of `parts` in order, without copying them.
  virtual void Send(std::vector<base::Slice> parts) = 0;
  /// Ends the call with a gRPC status.
  virtual void Finish(const base::Status& status) = 0;
  /// Message bytes that have not been sent yet; a push waits until it is zero.
  virtual size_t buffered() const = 0;
  virtual void OnDrain(std::function<void()> callback) = 0;
};

using CallHandler = std::function<void(std::shared_ptr<ServerCall>)>;

/// Leads gRPC requests that arrive at an http::Server to their handlers by method path.
/// An unknown method is answered UNIMPLEMENTED. A message over `max_message_bytes` ends its call
/// with RESOURCE_EXHAUSTED. Compressed messages are accepted when `grpc-encoding` is identity only.
class Router {
 public:
  explicit Router(size_t max_message_bytes = 4 << 20) : max_message_bytes_(max_message_bytes) {}
  void Add(std::string method, CallHandler handler) {
    handlers_[std::move(method)] = std::move(handler);
  }
  /// Whether the request is gRPC (content-type application/grpc...).
  static bool IsGrpc(const http::RequestHead& head);
  void Serve(std::shared_ptr<http::ServerStream> stream);

 private:
  size_t max_message_bytes_;
  std::map<std::string, CallHandler, std::less<>> handlers_;
};

}  // namespace isthmus::rpc
