#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "http/http2_session.h"
#include "http/server.h"
#include "http/socket.h"

namespace isthmus::http {

class ServerConnection;

/// How long a peer may stand still while it reads an answer or sends a request.
inline constexpr uint64_t kStallMs = 60 * 1000;

/// What a server's connections need of it; outlives the Server while one of its callbacks runs.
struct ServerShared {
  ServerShared(base::Loop& loop, ServerOptions options, Handler handler)
      : loop(loop), options(std::move(options)), handler(std::move(handler)) {}
  base::Loop& loop;
  const ServerOptions options;
  const Handler handler;
  /// Takes a connection out of the server's set; empty once the server has gone.
  std::function<void(ServerConnection*)> remove;
  bool shutting_down = false;
};

/// What speaks on an accepted connection: HTTP/1.1 or HTTP/2. Internal to http.
class ServerProtocol {
 public:
  virtual ~ServerProtocol() = default;
  virtual void OnBytes(std::string_view bytes) = 0;
  virtual void OnEnd(base::Status status) = 0;
  virtual void OnWritable() = 0;
  /// Finish what is under way, start nothing new.
  virtual void Shutdown() = 0;
  /// The server or the connection has gone. With `quiet`, streams are not told.
  virtual void Close(const base::Status& status, bool quiet) = 0;
  /// Asked about once a second; the reason to break the connection off, if there is one.
  virtual base::Status Tick(uint64_t now) = 0;
};

/// One accepted connection: finds out what it speaks, and holds socket and protocol. Owned by the
/// server's set, and by the stack while it runs.
class ServerConnection final : public SocketHandler,
                               public std::enable_shared_from_this<ServerConnection> {
 public:
  explicit ServerConnection(std::shared_ptr<ServerShared> shared);
  base::Status Accept(uv_stream_s* listener, std::unique_ptr<TlsSession> tls);

  void OnOpen() override;
  void OnBytes(std::string_view bytes) override;
  void OnEnd(base::Status status) override;
  void OnWritable() override;

  void Shutdown();
  /// Ends it at once.
  void Close(const base::Status& status, bool quiet = false);
  /// Sends what waits, then ends our direction and waits a little for the peer's end, so that what
  /// we sent is not lost to a reset.
  void Linger();
  void Tick(uint64_t now);
  /// For upgrades: the connection is no longer the server's.
  std::unique_ptr<Socket> TakeSocket();

  Socket& socket() { return *socket_; }
  base::Loop& loop() { return shared_->loop; }
  const std::shared_ptr<ServerShared>& shared() const { return shared_; }
  const std::shared_ptr<const PeerInfo>& peer() const { return peer_; }

 private:
  void Start(std::shared_ptr<ServerProtocol> protocol);

  const std::shared_ptr<ServerShared> shared_;
  std::unique_ptr<Socket> socket_;
  std::shared_ptr<ServerProtocol> protocol_;
  std::shared_ptr<const PeerInfo> peer_;
  std::string first_bytes_;  // While it is open which protocol they are.
  uint64_t deadline_ = 0;    // For what must be over by then: first bytes, or lingering. 0 is none.
  bool lingering_ = false;
};

std::shared_ptr<ServerProtocol> NewHttp1Server(ServerConnection& connection);
std::shared_ptr<ServerProtocol> NewHttp2Server(ServerConnection& connection);

}  // namespace isthmus::http
