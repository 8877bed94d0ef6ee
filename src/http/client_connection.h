#pragma once

#include <functional>
#include <memory>
#include <string>

#include "http/client_exchange.h"
#include "http/http2_session.h"
#include "http/socket.h"

namespace isthmus::http {

/// A client's connection as its client sees it. Internal to http.
class ClientConnection {
 public:
  /// What a connection tells its client. Set once; emptied by Close().
  struct Owner {
    /// May take (more) exchanges now.
    std::function<void(ClientConnection*)> ready;
    /// Of no use any more; the client lets go of it.
    std::function<void(ClientConnection*)> gone;
    /// An exchange that did not reach the server, to be sent on another connection.
    std::function<void(std::shared_ptr<ClientExchange>)> retry;
  };
  virtual ~ClientConnection() = default;
  virtual bool CanTake() const = 0;
  virtual void Take(std::shared_ptr<ClientExchange> exchange) = 0;
  /// Ends it and its exchanges with `status`.
  virtual void Close(const base::Status& status) = 0;
};

/// When pings are sent, and how long an answer is waited for, as ClientOptions has it.
struct Keepalive {
  base::Duration silence, timeout;
};

std::shared_ptr<ClientConnection> NewHttp1Connection(base::Loop& loop,
                                                     std::unique_ptr<Socket> socket,
                                                     std::string early, std::string authority,
                                                     ClientConnection::Owner owner);
std::shared_ptr<ClientConnection> NewHttp2Connection(base::Loop& loop,
                                                     std::unique_ptr<Socket> socket,
                                                     std::string early, std::string authority,
                                                     bool tls, Keepalive keepalive,
                                                     ClientConnection::Owner owner);

using UpgradeResult = base::Result<std::pair<ResponseHead, std::unique_ptr<ByteStream>>>;
/// Sends `head` on the socket and hands it over after 101 (or 200 to CONNECT). The handle gives up
/// silently when it is dropped.
std::shared_ptr<void> StartUpgrade(base::Loop& loop, std::unique_ptr<Socket> socket,
                                   std::string early, RequestHead head,
                                   std::function<void(UpgradeResult)> done);

}  // namespace isthmus::http
