#pragma once

#include <functional>
#include <string_view>

#include "base/result.h"
#include "base/slice.h"

namespace isthmus::http {

/// A two-way stream of bytes after the HTTP exchange is over: an upgraded connection (101), a
/// CONNECT tunnel, or a plain connection. Lives on its loop. Destroying it closes the connection.
class ByteStream {
 public:
  virtual ~ByteStream() = default;
  /// Bytes as they come. Called never inside On...().
  virtual void OnData(std::function<void(std::string_view)> callback) = 0;
  /// Called once when the peer sends no more (OK) or the connection broke (an error). After OK the
  /// peer may still read: writes go on until Finish(), or until the stream is destroyed.
  virtual void OnClose(std::function<void(base::Status)> callback) = 0;
  virtual void Write(base::Slice bytes) = 0;
  /// No more writes; our side closes when what was written is sent. Bytes of the peer still come.
  virtual void Finish() = 0;
  /// Bytes taken by Write() that the socket has not taken yet.
  virtual size_t buffered() const = 0;
  /// Called each time buffered() falls to zero.
  virtual void OnDrain(std::function<void()> callback) = 0;
  /// Stops and resumes reading, for back-pressure.
  virtual void PauseReading(bool pause) = 0;
};

}  // namespace isthmus::http
