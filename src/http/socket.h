#pragma once

#include <deque>
#include <memory>
#include <string>
#include <string_view>

#include "base/loop.h"
#include "base/net.h"
#include "base/result.h"
#include "base/slice.h"
#include "http/tls.h"

struct uv_stream_s;

namespace isthmus::http {

class TlsSession;

/// What a Socket tells its owner. Each of these may destroy the socket.
class SocketHandler {
 public:
  virtual ~SocketHandler() = default;
  /// Connected, and the handshake is over; once.
  virtual void OnOpen() {}
  virtual void OnBytes(std::string_view bytes) = 0;
  /// The peer sends no more (OK, at most once), or the connection is broken and of no use any more
  /// (an error, at most once, the last call of all).
  virtual void OnEnd(base::Status status) = 0;
  /// All that was written has been taken by the kernel.
  virtual void OnWritable() = 0;
};

/// A TCP or unix connection, with TLS or without. Internal to http.
///
/// Never calls its handler inside a call of the handler's: Write() only queues. Flush() may be
/// called from the handler's own callbacks or posted tasks. Lives on its loop; destroying it closes
/// at once.
class Socket {
 public:
  Socket(base::Loop& loop, SocketHandler* handler);
  ~Socket();
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  /// Takes a connection from a listening handle, then calls OnOpen() (after the handshake).
  base::Status Accept(uv_stream_s* listener, std::unique_ptr<TlsSession> tls);
  /// From `local_ip` when it is given.
  void Connect(const base::SocketAddress& address, const std::string& local_ip = {});
  void ConnectUnix(const std::string& path);
  /// Breaks an open TCP connection when the other end has acknowledged nothing for so long.
  void LoseAfter(base::Duration silence);
  /// Starts TLS on an open connection. OnOpen() is called again when the handshake is over.
  void StartTls(std::unique_ptr<TlsSession> tls);

  void set_handler(SocketHandler* handler);

  void Write(base::Slice bytes);
  void WriteCopy(std::string_view bytes);
  /// Sends what the kernel takes now, the rest as it can. Does not call the handler.
  void Flush();
  /// Flush() soon, once, however often it is asked.
  void FlushSoon();
  /// Ends our direction when all is written.
  void Finish();
  bool finished() const;
  void Pause(bool pause);
  size_t buffered() const;
  /// Milliseconds of the loop's clock at which bytes last came in, or went out.
  uint64_t last_read() const;
  uint64_t last_write() const;

  const PeerInfo& peer() const;
  /// "h2", "http/1.1" or empty.
  std::string_view alpn() const;

 private:
  struct State;
  State* state_;
};

}  // namespace isthmus::http
