#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "http/byte_stream.h"
#include "http/message.h"

namespace isthmus::http {

/// Messages over an upgraded connection (RFC 6455). Fragments are joined, pings answered; messages
/// over 16 MiB and broken frames close the connection with code 1002 or 1009. Lives on its stream's
/// loop; destroying it closes the connection.
class WebSocket {
 public:
  enum class Role { kClient, kServer };  ///< Clients mask what they send.
  WebSocket(std::unique_ptr<ByteStream> stream, Role role);
  ~WebSocket();
  WebSocket(const WebSocket&) = delete;
  WebSocket& operator=(const WebSocket&) = delete;

  /// Each whole message; `binary` tells it from text.
  void OnMessage(std::function<void(std::string_view payload, bool binary)> callback);
  /// Called once when it is over: OK after an orderly close.
  void OnClose(std::function<void(base::Status)> callback);
  void Send(std::string_view payload, bool binary = true);
  /// Says goodbye; the connection ends when that is sent.
  void Close(uint16_t code = 1000, std::string_view reason = {});
  size_t buffered() const;
  void OnDrain(std::function<void()> callback);
  void PauseReading(bool pause);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

/// Whether a request asks for a WebSocket.
bool WantsWebSocket(const RequestHead& head);
/// The first of `ours` that the client offers; empty when there is none.
std::string ChooseProtocol(const RequestHead& head, const std::vector<std::string>& ours);
/// Headers of the 101 answer to `head`.
Headers WebSocketAnswer(const RequestHead& head, std::string_view protocol);
/// The request that asks for a WebSocket, with a fresh key.
RequestHead WebSocketRequest(std::string target, const std::vector<std::string>& protocols);
/// Whether the 101 answer fits the request; the error says how it does not.
base::Status CheckWebSocketAnswer(const RequestHead& request, const ResponseHead& answer);

}  // namespace isthmus::http
