#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/slice.h"

namespace isthmus::rpc {

/// Cuts gRPC messages out of a stream of body bytes: a flag byte, a length of four bytes, the
/// message. A message that arrives in one piece is handed on without copying it. Not thread-safe;
/// belongs to one call.
class MessageReader {
 public:
  explicit MessageReader(size_t limit) : limit_(limit) {}

  /// Calls `message` for each message that is whole now. The error (too large: kResourceExhausted,
  /// compressed: kUnimplemented) ends the stream; nothing more may be fed then. `message` may
  /// destroy the reader's owner when it makes `alive` return false.
  base::Status Feed(std::string_view bytes, const std::function<void(std::string_view)>& message,
                    const std::function<bool()>& alive);
  /// Whether the stream ended inside a message.
  bool partial() const { return !buffer_.empty(); }

 private:
  const size_t limit_;
  std::string buffer_;  // The beginning of a message whose rest has not come.
};

/// The five bytes before a message of `size` bytes, uncompressed.
base::Slice MessagePrefix(size_t size);

/// grpc-message is percent-encoded (gRPC over HTTP/2): all but printable ASCII, and '%'.
std::string EncodeGrpcMessage(std::string_view text);
std::string DecodeGrpcMessage(std::string_view text);

/// The status that an HTTP answer without grpc-status stands for.
base::Status StatusOfHttp(int http_status);

}  // namespace isthmus::rpc
