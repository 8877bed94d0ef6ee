#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/slice.h"
#include "http/client.h"

namespace isthmus::rpc {

/// One gRPC call on the client's side. Lives on the client's loop; dropping it cancels the call,
/// and none of its events is called any more.
class ClientCall {
 public:
  virtual ~ClientCall() = default;
  virtual void Send(std::vector<base::Slice> parts) = 0;
  /// No more messages from us.
  virtual void HalfClose() = 0;
  virtual size_t buffered() const = 0;
  /// Called each time buffered() falls to zero.
  virtual void OnDrain(std::function<void()> callback) = 0;
};

struct ClientCallEvents {
  std::function<void(std::string_view)> message;
  /// Called once with the call's gRPC status, or kUnavailable when the connection failed.
  std::function<void(base::Status)> close;
};

/// Starts a streaming call. `metadata` is sent as request headers.
std::shared_ptr<ClientCall> StartCall(http::Client& client, std::string method,
                                      http::Headers metadata, ClientCallEvents events);

/// One message to the server, one back. `timeout` is told to the server too; zero means none.
void UnaryCall(http::Client& client, std::string method, http::Headers metadata,
               std::string request, base::Duration timeout,
               std::function<void(base::Result<std::string>)> done);

}  // namespace isthmus::rpc
