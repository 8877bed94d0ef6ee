#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "http/server.h"

namespace isthmus::lab::node {

/// More than this many bytes waiting for a slow client, and what writes them waits too.
inline constexpr size_t kMostUnsent = 1 << 20;

enum Channel : int { kStdin = 0, kStdout = 1, kStderr = 2, kError = 3, kResize = 4 };

struct RemoteRequest {
  bool in = false, out = false, err = false, tty = false;
};

/// The channels between an exec or attach and its client, whichever of the two protocols carries
/// them: SPDY/3.1 streams (kubectl before 1.31, and API servers), or WebSocket messages. Lives on
/// the server's loop.
class RemoteStreams {
 public:
  struct Events {
    std::function<void()> ready;  ///< The client has opened all its channels.
    std::function<void(Channel, std::string_view)> data;
    std::function<void(Channel)> ended;
    std::function<void()> closed;
    std::function<void()> drained;
  };

  /// Upgrades the request, or answers it with an error and gives null. Events come later, never
  /// inside.
  static std::unique_ptr<RemoteStreams> Accept(base::Loop& loop,
                                               const std::shared_ptr<http::ServerStream>& stream,
                                               const RemoteRequest& request, Events events);
  virtual ~RemoteStreams() = default;

  virtual void Send(Channel channel, std::string_view bytes) = 0;
  /// How it went, on the error channel, and the end of everything. `exit_code` counts when
  /// `message` is empty.
  virtual void Finish(int exit_code, const std::string& message) = 0;
  virtual size_t buffered() const = 0;
  virtual void PauseReading(bool pause) = 0;
};

/// The first of `ours` among the X-Stream-Protocol-Version headers; empty when there is none.
std::string ChooseStreamProtocol(const http::RequestHead& head,
                                 const std::vector<std::string>& ours);
bool WantsSpdy(const http::RequestHead& head);

}  // namespace isthmus::lab::node
