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

/// One request and its answer, over HTTP/1.1 or HTTP/2 alike. Lives on the server's loop. The
/// handler keeps it alive by its shared_ptr; after OnClose it may be called still, to no effect.
class ServerStream {
 public:
  virtual ~ServerStream() = default;
  virtual const RequestHead& head() const = 0;
  virtual const PeerInfo& peer() const = 0;

  /// The body in pieces as they come, then `end`. Set both inside the handler.
  virtual void OnBody(std::function<void(std::string_view)> data, std::function<void()> end) = 0;
  /// Called once when the exchange is over or the client has gone.
  virtual void OnClose(std::function<void()> callback) = 0;

  virtual void SendHeaders(int status, const Headers& headers, bool end = false) = 0;
  virtual void SendData(base::Slice data, bool end = false) = 0;
  virtual void SendTrailers(const Headers& trailers) = 0;
  /// Breaks the exchange off (RST_STREAM, or closing the connection).
  virtual void Reset() = 0;
  /// Body bytes that the peer has not been sent yet, for back-pressure.
  virtual size_t buffered() const = 0;
  virtual void OnDrain(std::function<void()> callback) = 0;
  /// Stops granting the client more body bytes until false is given.
  virtual void PauseBody(bool pause) = 0;

  /// HTTP/1.1 only: answers 101 (to CONNECT: 200) with `headers` and hands the raw connection over,
  /// now or later; OnClose is not called any more. Null when the request cannot be upgraded
  /// (HTTP/2, no Upgrade header, or a body).
  virtual std::unique_ptr<ByteStream> Upgrade(const Headers& headers) = 0;

  /// Reads the whole body (at most `limit` bytes, else answers 413), then calls `done`.
  void ReadBody(size_t limit, std::function<void(std::string)> done);
  /// Answers with status, content-type and body, and ends.
  void Respond(int status, std::string_view content_type, std::string body);
};

using Handler = std::function<void(std::shared_ptr<ServerStream>)>;

struct ServerOptions {
  std::string address = "127.0.0.1";  ///< An IP address, or "unix:/path".
  uint16_t port = 0;                  ///< 0 takes a free one.
  std::optional<TlsServerOptions> tls;
  uint32_t max_concurrent_streams = 1000;  ///< Of one HTTP/2 connection.
  size_t max_header_bytes = 64 * 1024;
  /// A connection that sends nothing at all for so long before its first request is closed.
  base::Duration handshake_timeout = std::chrono::seconds(15);
  /// HTTP/2 pings to idle clients; zero sends none.
  base::Duration keepalive = std::chrono::seconds(30);
};

/// An HTTP/1.1 and HTTP/2 server on one address: with TLS by ALPN, in plaintext by prior knowledge
/// (the HTTP/2 preface) or HTTP/1.1. Lives on its loop; destroying it closes every connection and
/// tells no stream. Callbacks may destroy it.
class Server {
 public:
  Server(base::Loop& loop, ServerOptions options, Handler handler);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  /// Opens the port. The error names address and port, and says when the port is in use.
  base::Status Start();
  uint16_t port() const;
  /// Takes no more connections, sends GOAWAY, and closes when the streams have ended or `grace` is
  /// over.
  void Shutdown(base::Duration grace, std::function<void()> done);
  size_t connections() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace isthmus::http
