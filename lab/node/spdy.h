#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "http/byte_stream.h"

namespace isthmus::lab::node {

using SpdyHeaders = std::vector<std::pair<std::string, std::string>>;

/// The server's side of SPDY/3.1 framing as Kubernetes uses it for exec and port-forward: streams
/// that the client opens, data both ways, ends, resets and pings; no flow control, as in
/// Kubernetes' own library. Lives on its stream's loop; destroying it closes the connection.
class SpdySession {
 public:
  struct Events {
    /// The client opened a stream; answer with Accept() or Reset().
    std::function<void(uint32_t id, const SpdyHeaders& headers)> opened;
    std::function<void(uint32_t id, std::string_view bytes)> data;
    std::function<void(uint32_t id)> ended;  ///< The client sends no more on it, or reset it.
    std::function<void(base::Status)> closed;
  };

  SpdySession(std::unique_ptr<http::ByteStream> connection, Events events);
  ~SpdySession();
  SpdySession(const SpdySession&) = delete;
  SpdySession& operator=(const SpdySession&) = delete;

  void Accept(uint32_t id);
  void Send(uint32_t id, std::string_view bytes, bool end = false);
  void Reset(uint32_t id);
  /// Says goodbye and closes when everything is sent.
  void Finish();
  size_t buffered() const;
  void OnDrain(std::function<void()> callback);
  void PauseReading(bool pause);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

/// Header blocks of SPDY/3: a zlib stream for the whole connection, primed with the dictionary of
/// the protocol.
class SpdyHeaderCodec {
 public:
  SpdyHeaderCodec();
  ~SpdyHeaderCodec();
  SpdyHeaderCodec(const SpdyHeaderCodec&) = delete;
  SpdyHeaderCodec& operator=(const SpdyHeaderCodec&) = delete;
  std::string Encode(const SpdyHeaders& headers);
  /// Refuses blocks that grow over 64 KB.
  base::Result<SpdyHeaders> Decode(std::string_view block);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace isthmus::lab::node
