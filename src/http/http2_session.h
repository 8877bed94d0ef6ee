#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/loop.h"
#include "base/result.h"
#include "base/slice.h"
#include "http/message.h"
#include "http/socket.h"

struct nghttp2_session;

namespace isthmus::http {

class Http2Session;

/// A header block as HTTP/2 has it.
struct Http2Head {
  std::string method, path, authority, scheme, protocol;  // Requests.
  int status = 0;                                         // Responses.
  Headers headers;
};

/// One HTTP/2 stream with its outgoing body. Internal to http. The session keeps it until it is
/// closed; after that `session` is null and all calls do nothing.
class Http2Stream {
 public:
  virtual ~Http2Stream() = default;

  // What the peer does. Called while the session reads; nothing is called after OnStreamClosed().
  virtual void OnHead(Http2Head head) = 0;
  virtual void OnTrailers(Headers trailers) = 0;
  virtual void OnData(std::string_view data) = 0;
  /// The peer has ended its side.
  virtual void OnEnd() = 0;
  /// buffered() has fallen to zero.
  virtual void OnDrained() = 0;
  /// Over, with an HTTP/2 error code (0 is an orderly end), or with the session's error.
  virtual void OnStreamClosed(uint32_t error, const base::Status& session) = 0;
  /// The owner of everything has gone: forget the callbacks, tell nobody.
  virtual void OnDropped() = 0;

  void SendBody(base::Slice data, bool end);
  void SendTrailers(const Headers& trailers);
  void Reset(uint32_t error);
  size_t buffered() const { return body_size_; }
  void Pause(bool pause);
  bool closed() const { return session_ == nullptr; }
  int32_t id() const { return id_; }

 protected:
  Http2Session* session() const { return session_; }

 private:
  friend class Http2Session;
  friend struct Http2Callbacks;

  Http2Session* session_ = nullptr;
  int32_t id_ = 0;
  std::deque<base::Slice> body_;
  size_t body_size_ = 0;
  bool end_ = false;       // No more body after what is there.
  bool deferred_ = false;  // nghttp2 waits for resume_data.
  bool has_body_ = false;  // A data provider was given.
  bool ended_in_ = false, ended_out_ = false;
  bool paused_ = false;
  size_t unconsumed_ = 0;  // Received while paused, not yet granted again.
  std::optional<Headers> trailers_;
  std::unique_ptr<Http2Head> incoming_;  // The header block that arrives.
  size_t incoming_size_ = 0;
  bool head_seen_ = false;
};

struct Http2Limits {
  uint32_t max_concurrent_streams = 1000;
  size_t max_header_bytes = 64 * 1024;
  int32_t stream_window = 64 * 1024;
  int32_t connection_window = 1024 * 1024;
  /// Streams that a peer may cancel in a burst, and each second after it.
  uint32_t reset_burst = 1000;
  uint32_t reset_rate = 100;
};

/// One HTTP/2 connection, of either side, on a Socket that others own. Internal to http.
///
/// Frames are made when the socket has room, never ahead: what waits is the streams' shared slices.
/// Callbacks of streams run from OnBytes() and from posted tasks, never inside a stream's own call.
class Http2Session : public std::enable_shared_from_this<Http2Session> {
 public:
  virtual ~Http2Session();
  Http2Session(const Http2Session&) = delete;
  Http2Session& operator=(const Http2Session&) = delete;

  // From the socket's owner.
  void OnBytes(std::string_view bytes);
  void OnWritable() { Pump(); }
  /// Ends all streams with `status`; with `quiet` without telling them. The session is of no use
  /// after it.
  void Close(const base::Status& status, bool quiet = false);

  /// Sends GOAWAY; streams that are open go on.
  void GoAway(uint32_t error = 0);
  void Ping();
  size_t streams() const { return streams_.size(); }
  /// Streams that may still be opened here.
  bool CanOpen() const;
  bool going_away() const { return going_away_; }
  bool closed() const { return closed_; }

 protected:
  Http2Session(base::Loop& loop, Socket& socket, bool server, Http2Limits limits);
  /// For servers: the peer opens a stream.
  virtual std::shared_ptr<Http2Stream> NewStream() { return nullptr; }
  /// The session is over (error, or GOAWAY and all streams done); the socket may be closed. Posted.
  virtual void OnSessionEnd(base::Status status) = 0;
  /// A stream has been closed, or the peer's settings or GOAWAY changed what may be opened.
  virtual void OnChange() {}

  base::Status SubmitRequest(std::shared_ptr<Http2Stream> stream, const Http2Head& head, bool end);
  void SubmitResponse(Http2Stream& stream, int status, const Headers& headers, bool end);
  void SubmitInterim(Http2Stream& stream, int status);
  base::Loop& loop() { return loop_; }

 private:
  friend class Http2Stream;
  friend struct Http2Callbacks;

  void SchedulePump();
  void Pump();
  void Fail(base::Status status);
  void ResumeBody(Http2Stream& stream);
  bool ResetAllowed();

  base::Loop& loop_;
  Socket& socket_;
  const bool server_;
  const Http2Limits limits_;
  nghttp2_session* session_ = nullptr;
  std::unordered_map<int32_t, std::shared_ptr<Http2Stream>> streams_;
  std::vector<int32_t> drained_;
  bool pump_scheduled_ = false, in_nghttp2_ = false, closed_ = false, going_away_ = false,
       end_posted_ = false;
  double resets_ = 0;
  uint64_t resets_at_ = 0;
};

}  // namespace isthmus::http
