#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/loop.h"
#include "base/result.h"
#include "base/slice.h"
#include "http/byte_stream.h"
#include "http/message.h"
#include "http/tls.h"

namespace isthmus::http {

struct ClientOptions {
  /// "http://host:port", "https://host:port", or "unix:/path" (plaintext). No path.
  std::string url;
  std::optional<TlsClientOptions> tls;  ///< For https; defaults check nothing, so give roots.
  /// "http://host:port" of a CONNECT proxy; empty goes directly.
  std::string proxy_url;
  /// Speaks HTTP/2 without ALPN over plaintext (gRPC). With TLS, ALPN decides.
  bool http2_prior_knowledge = false;
  base::Duration connect_timeout = std::chrono::seconds(10);
  /// Where connections come from, an IP address; empty lets the kernel choose.
  std::string local_ip;
  /// A connection whose other end acknowledges nothing for so long is broken: the kernel asks an
  /// idle one from half of the time on. In whole seconds, two at least. An end that takes no more
  /// bytes for so long counts as lost too, so zero, the default, asks only after a minute,
  /// and what is upgraded never has one.
  base::Duration lost_after = base::Duration::zero();
  /// HTTP/2 pings to a server that is silent while requests are under way; zero sends none. They
  /// reach the server itself, where the kernel asks the next machine on the way.
  base::Duration keepalive = std::chrono::seconds(30);
  /// A server that answers a ping with nothing for so long is gone.
  base::Duration keepalive_timeout = std::chrono::seconds(10);
  /// HTTP/1.1 connections at a time; further requests wait.
  size_t max_http1_connections = 256;
};

/// A request under way. Lives on the client's loop. Dropping the last reference cancels it, and
/// none of its events is called any more; Cancel() still calls close.
class ClientStream {
 public:
  virtual ~ClientStream() = default;
  virtual void SendData(base::Slice data, bool end = false) = 0;
  virtual void Cancel() = 0;
  virtual size_t buffered() const = 0;
  virtual void OnDrain(std::function<void()> callback) = 0;
  virtual void PauseBody(bool pause) = 0;
};

/// What happens on a ClientStream, in order: head once, data any number, trailers at most once,
/// close once (OK when the response was complete). Only close is certain.
struct ClientEvents {
  std::function<void(ResponseHead)> head;
  std::function<void(std::string_view)> data;
  std::function<void(Headers)> trailers;
  std::function<void(base::Status)> close;
};

/// An HTTP client of one server. Keeps one HTTP/2 connection, or a few HTTP/1.1 ones, and opens
/// them again as needed. Lives on its loop; destroying it closes all with kCancelled.
class Client {
 public:
  Client(base::Loop& loop, ClientOptions options);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  base::Loop& loop() const;

  /// Starts a request; with `end`, it has no body. No event comes inside this call. A request that
  /// surely did not reach the server is sent again on a new connection.
  std::shared_ptr<ClientStream> Open(RequestHead head, bool end, ClientEvents events);

  /// One whole request and response. `timeout` covers all of it; zero means none. `done` gets
  /// kCancelled when the client is destroyed before.
  void Fetch(Request request, base::Duration timeout,
             std::function<void(base::Result<Response>)> done);

  /// HTTP/1.1 on a connection of its own: sends the request (with Connection and Upgrade headers as
  /// given), and hands the raw stream over on 101, or on 200 to CONNECT; otherwise an error that
  /// carries the answer's body.
  void Upgrade(
      RequestHead head,
      std::function<void(base::Result<std::pair<ResponseHead, std::unique_ptr<ByteStream>>>)> done);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace isthmus::http
