#include "http/http2_session.h"

#include <nghttp2/nghttp2.h>
#include <uv.h>

#include <algorithm>
#include <charconv>
#include <utility>

namespace isthmus::http {
namespace {

// Bytes of frames that wait in the socket before no more are made.
constexpr size_t kSocketAhead = 128 * 1024;

std::string_view View(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

nghttp2_nv Field(std::string_view name, std::string_view value) {
  return {const_cast<uint8_t*>(reinterpret_cast<const uint8_t*>(name.data())),
          const_cast<uint8_t*>(reinterpret_cast<const uint8_t*>(value.data())), name.size(),
          value.size(), NGHTTP2_NV_FLAG_NONE};
}

// Fields that belong to one HTTP/1.1 connection and are errors in HTTP/2.
bool ConnectionField(std::string_view name) {
  return name == "connection" || name == "keep-alive" || name == "proxy-connection" ||
         name == "transfer-encoding" || name == "upgrade" || name == "host";
}

void AppendFields(std::vector<nghttp2_nv>& fields, const Headers& headers) {
  for (const auto& [name, value] : headers.all()) {
    const auto* name_data = reinterpret_cast<const uint8_t*>(name.data());
    const auto* value_data = reinterpret_cast<const uint8_t*>(value.data());
    if (ConnectionField(name) || name.empty() ||
        !nghttp2_check_header_name(name_data, name.size()) ||
        !nghttp2_check_header_value(value_data, value.size())) {
      continue;
    }
    fields.push_back(Field(name, value));
  }
}

}  // namespace

// What nghttp2 calls. `user_data` is the session; a stream's user data is the Http2Stream.
struct Http2Callbacks {
  static Http2Session& Session(void* user_data) { return *static_cast<Http2Session*>(user_data); }
  static Http2Stream* Stream(nghttp2_session* session, int32_t id) {
    return static_cast<Http2Stream*>(nghttp2_session_get_stream_user_data(session, id));
  }
  // A callback of a stream may close the session, which must not be used by nghttp2 after that.
  static int Go(const Http2Session& session) {
    return session.closed_ ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
  }

  static int BeginHeaders(nghttp2_session* ng, const nghttp2_frame* frame, void* user_data) {
    Http2Session& session = Session(user_data);
    Http2Stream* stream = Stream(ng, frame->hd.stream_id);
    if (stream == nullptr && session.server_ && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
      auto made = session.NewStream();
      stream = made.get();
      stream->session_ = &session;
      stream->id_ = frame->hd.stream_id;
      nghttp2_session_set_stream_user_data(ng, stream->id_, stream);
      session.streams_.emplace(stream->id_, std::move(made));
    }
    if (stream != nullptr) {
      stream->incoming_ = std::make_unique<Http2Head>();
      stream->incoming_size_ = 0;
    }
    return 0;
  }

  static int Header(nghttp2_session* ng, const nghttp2_frame* frame, const uint8_t* name_data,
                    size_t name_size, const uint8_t* value_data, size_t value_size, uint8_t,
                    void* user_data) {
    Http2Session& session = Session(user_data);
    Http2Stream* stream = Stream(ng, frame->hd.stream_id);
    if (stream == nullptr || stream->incoming_ == nullptr) return 0;
    const std::string_view name = View(name_data, name_size);
    const std::string_view value = View(value_data, value_size);
    stream->incoming_size_ += name_size + value_size + 32;
    if (stream->incoming_size_ > session.limits_.max_header_bytes) {
      stream->incoming_.reset();
      return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    Http2Head& head = *stream->incoming_;
    if (name.empty() || name[0] != ':') {
      head.headers.Add(name, value);
    } else if (name == ":method") {
      head.method = value;
    } else if (name == ":path") {
      head.path = value;
    } else if (name == ":authority") {
      head.authority = value;
    } else if (name == ":scheme") {
      head.scheme = value;
    } else if (name == ":protocol") {
      head.protocol = value;
    } else if (name == ":status") {
      std::from_chars(value.data(), value.data() + value.size(), head.status);
    }
    return 0;
  }

  static int FrameReceived(nghttp2_session* ng, const nghttp2_frame* frame, void* user_data) {
    Http2Session& session = Session(user_data);
    if (frame->hd.type == NGHTTP2_GOAWAY) {
      session.going_away_ = true;
      session.OnChange();
      return Go(session);
    }
    if (frame->hd.type == NGHTTP2_SETTINGS && (frame->hd.flags & NGHTTP2_FLAG_ACK) == 0) {
      session.OnChange();
      return Go(session);
    }
    if (frame->hd.type == NGHTTP2_RST_STREAM && session.server_ && !session.ResetAllowed()) {
      // From here on nghttp2 ignores what comes.
      nghttp2_session_terminate_session(ng, NGHTTP2_ENHANCE_YOUR_CALM);
      session.Fail(
          base::Error(base::Code::kResourceExhausted, "the peer cancels too many streams"));
      return 0;
    }
    if (frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS) return 0;
    const auto it = session.streams_.find(frame->hd.stream_id);
    if (it == session.streams_.end() || Stream(ng, frame->hd.stream_id) == nullptr) return 0;
    const std::shared_ptr<Http2Stream> stream = it->second;
    if (frame->hd.type == NGHTTP2_HEADERS && stream->incoming_ != nullptr) Deliver(*stream);
    if (session.closed_) return NGHTTP2_ERR_CALLBACK_FAILURE;
    if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0 &&
        !std::exchange(stream->ended_in_, true)) {
      stream->OnEnd();
    }
    return Go(session);
  }

  static void Deliver(Http2Stream& stream) {
    const std::unique_ptr<Http2Head> head = std::move(stream.incoming_);
    if (head->status >= 100 && head->status < 200) return;  // 100 Continue and the like.
    if (std::exchange(stream.head_seen_, true)) {
      stream.OnTrailers(std::move(head->headers));
    } else {
      stream.OnHead(std::move(*head));
    }
  }

  static int Data(nghttp2_session* ng, uint8_t, int32_t id, const uint8_t* data, size_t size,
                  void* user_data) {
    Http2Session& session = Session(user_data);
    const auto it = session.streams_.find(id);
    if (it == session.streams_.end()) {
      nghttp2_session_consume(ng, id, size);
      return 0;
    }
    const std::shared_ptr<Http2Stream> stream = it->second;
    stream->OnData(View(data, size));
    if (session.closed_) return NGHTTP2_ERR_CALLBACK_FAILURE;
    // A paused stream does not hold up the others: the connection's window is granted again at
    // once.
    nghttp2_session_consume_connection(ng, size);
    if (stream->paused_) {
      stream->unconsumed_ += size;
    } else {
      nghttp2_session_consume_stream(ng, id, size);
    }
    return 0;
  }

  static int FrameSent(nghttp2_session* ng, const nghttp2_frame* frame, void* user_data) {
    if (frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS) return 0;
    if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) return 0;
    Http2Stream* stream = Stream(ng, frame->hd.stream_id);
    if (stream == nullptr) return 0;
    stream->ended_out_ = true;
    // The answer is complete, the rest of the request is of no interest (RFC 9113, 8.1).
    if (Session(user_data).server_ && !stream->ended_in_) {
      nghttp2_submit_rst_stream(ng, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_NO_ERROR);
    }
    return 0;
  }

  static int StreamClosed(nghttp2_session* ng, int32_t id, uint32_t error, void* user_data) {
    Http2Session& session = Session(user_data);
    const auto it = session.streams_.find(id);
    if (it == session.streams_.end()) return 0;
    const std::shared_ptr<Http2Stream> stream = std::move(it->second);
    session.streams_.erase(it);
    nghttp2_session_set_stream_user_data(ng, id, nullptr);
    stream->session_ = nullptr;
    stream->body_.clear();
    stream->body_size_ = 0;
    stream->OnStreamClosed(error, {});
    if (session.closed_) return NGHTTP2_ERR_CALLBACK_FAILURE;
    session.OnChange();
    return Go(session);
  }

  static ssize_t ReadBody(nghttp2_session* ng, int32_t id, uint8_t*, size_t length, uint32_t* flags,
                          nghttp2_data_source* source, void*) {
    auto* stream = static_cast<Http2Stream*>(source->ptr);
    const size_t size = std::min(length, stream->body_size_);
    if (size == 0 && !stream->end_) {
      stream->deferred_ = true;
      return NGHTTP2_ERR_DEFERRED;
    }
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (size == stream->body_size_ && stream->end_) {
      *flags |= NGHTTP2_DATA_FLAG_EOF;
      if (stream->trailers_) {
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        std::vector<nghttp2_nv> fields;
        AppendFields(fields, *stream->trailers_);
        nghttp2_submit_trailer(ng, id, fields.data(), fields.size());
      }
    }
    return static_cast<ssize_t>(size);
  }

  static int SendData(nghttp2_session*, nghttp2_frame* frame, const uint8_t* header, size_t length,
                      nghttp2_data_source* source, void* user_data) {
    Http2Session& session = Session(user_data);
    if (session.socket_.buffered() >= kSocketAhead) return NGHTTP2_ERR_WOULDBLOCK;
    auto* stream = static_cast<Http2Stream*>(source->ptr);
    session.socket_.WriteCopy(View(header, 9));
    const size_t padding = frame->data.padlen;
    if (padding > 0) session.socket_.WriteCopy(std::string(1, static_cast<char>(padding - 1)));
    const bool had = stream->body_size_ > 0;
    while (length > 0) {
      base::Slice& front = stream->body_.front();
      const size_t part = std::min(length, front.size());
      // Small pieces are copied: cheaper than a vector of their own.
      if (part <= 256) {
        session.socket_.WriteCopy(front.view().substr(0, part));
      } else {
        session.socket_.Write(front.Sub(0, part));
      }
      stream->body_size_ -= part;
      length -= part;
      if (part == front.size()) {
        stream->body_.pop_front();
      } else {
        front = front.Sub(part);
      }
    }
    if (padding > 1) session.socket_.WriteCopy(std::string(padding - 1, '\0'));
    if (had && stream->body_size_ == 0) session.drained_.push_back(stream->id_);
    return 0;
  }

  static nghttp2_session_callbacks* All() {
    static nghttp2_session_callbacks* const callbacks = [] {
      nghttp2_session_callbacks* made = nullptr;
      nghttp2_session_callbacks_new(&made);
      nghttp2_session_callbacks_set_on_begin_headers_callback(made, &BeginHeaders);
      nghttp2_session_callbacks_set_on_header_callback(made, &Header);
      nghttp2_session_callbacks_set_on_frame_recv_callback(made, &FrameReceived);
      nghttp2_session_callbacks_set_on_data_chunk_recv_callback(made, &Data);
      nghttp2_session_callbacks_set_on_frame_send_callback(made, &FrameSent);
      nghttp2_session_callbacks_set_on_stream_close_callback(made, &StreamClosed);
      nghttp2_session_callbacks_set_send_data_callback(made, &SendData);
      return made;
    }();
    return callbacks;
  }
};

namespace {

nghttp2_data_provider BodyProvider(Http2Stream& stream) {
  nghttp2_data_provider provider{};
  provider.source.ptr = &stream;
  provider.read_callback = &Http2Callbacks::ReadBody;
  return provider;
}

}  // namespace

void Http2Stream::SendBody(base::Slice data, bool end) {
  if (session_ == nullptr || end_) return;
  body_size_ += data.size();
  if (!data.empty()) body_.push_back(std::move(data));
  end_ = end;
  session_->ResumeBody(*this);
}

void Http2Stream::SendTrailers(const Headers& trailers) {
  if (session_ == nullptr || end_) return;
  trailers_ = trailers;
  SendBody({}, true);
}

void Http2Stream::Reset(uint32_t error) {
  if (session_ == nullptr) return;
  // The body stays: nghttp2 may be half way through one of its frames.
  nghttp2_submit_rst_stream(session_->session_, NGHTTP2_FLAG_NONE, id_, error);
  session_->SchedulePump();
}

void Http2Stream::Pause(bool pause) {
  paused_ = pause;
  if (pause || session_ == nullptr || unconsumed_ == 0) return;
  nghttp2_session_consume_stream(session_->session_, id_, std::exchange(unconsumed_, 0));
  session_->SchedulePump();
}

Http2Session::Http2Session(base::Loop& loop, Socket& socket, bool server, Http2Limits limits)
    : loop_(loop), socket_(socket), server_(server), limits_(limits), resets_(limits.reset_burst) {
  nghttp2_option* option = nullptr;
  nghttp2_option_new(&option);
  nghttp2_option_set_no_auto_window_update(option, 1);
  nghttp2_option_set_no_closed_streams(option, 1);
  nghttp2_option_set_max_send_header_block_length(option, 1024 * 1024);
  // Our own count tells the client why; nghttp2's stays as a second line.
  nghttp2_option_set_stream_reset_rate_limit(option, limits.reset_burst * 2, limits.reset_rate * 2);
  if (server) {
    nghttp2_session_server_new2(&session_, Http2Callbacks::All(), this, option);
  } else {
    nghttp2_session_client_new2(&session_, Http2Callbacks::All(), this, option);
  }
  nghttp2_option_del(option);
  std::vector<nghttp2_settings_entry> settings = {
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, static_cast<uint32_t>(limits.stream_window)},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, static_cast<uint32_t>(limits.max_header_bytes)},
  };
  if (server) {
    settings.push_back({NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, limits.max_concurrent_streams});
  } else {
    settings.push_back({NGHTTP2_SETTINGS_ENABLE_PUSH, 0});
  }
  nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings.data(), settings.size());
  nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0, limits.connection_window);
}

Http2Session::~Http2Session() { nghttp2_session_del(session_); }

void Http2Session::OnBytes(std::string_view bytes) {
  if (closed_) return;
  const auto self = shared_from_this();
  in_nghttp2_ = true;
  const ssize_t taken = nghttp2_session_mem_recv(
      session_, reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  in_nghttp2_ = false;
  if (closed_) return;
  if (taken < 0) {
    Pump();
    return Fail(base::Error(base::Code::kUnavailable, "HTTP/2: {}",
                            nghttp2_strerror(static_cast<int>(taken))));
  }
  Pump();
}

void Http2Session::SchedulePump() {
  if (closed_ || in_nghttp2_ || std::exchange(pump_scheduled_, true)) return;
  loop_.Post([weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->Pump();
  });
}

void Http2Session::Pump() {
  pump_scheduled_ = false;
  if (closed_ || in_nghttp2_) return;
  const auto self = shared_from_this();
  bool made = true;
  while (!closed_ && made && socket_.buffered() < kSocketAhead) {
    const size_t before = socket_.buffered();
    in_nghttp2_ = true;
    const uint8_t* data = nullptr;
    ssize_t size = 0;
    while (!closed_ && socket_.buffered() < kSocketAhead &&
           (size = nghttp2_session_mem_send(session_, &data)) > 0) {
      socket_.WriteCopy(View(data, static_cast<size_t>(size)));
    }
    in_nghttp2_ = false;
    if (closed_) return;
    if (size < 0) {
      return Fail(base::Error(base::Code::kInternal, "HTTP/2: {}",
                              nghttp2_strerror(static_cast<int>(size))));
    }
    made = socket_.buffered() > before;
    socket_.Flush();
  }
  for (const int32_t id : std::exchange(drained_, {})) {
    const auto it = streams_.find(id);
    if (it == streams_.end() || it->second->body_size_ > 0) continue;
    const std::shared_ptr<Http2Stream> stream = it->second;
    stream->OnDrained();
    if (closed_) return;
  }
  const bool over =
      nghttp2_session_want_read(session_) == 0 && nghttp2_session_want_write(session_) == 0;
  if ((over || (going_away_ && streams_.empty())) && socket_.buffered() == 0) Fail({});
}

void Http2Session::Fail(base::Status status) {
  if (std::exchange(end_posted_, true)) return;
  loop_.Post([weak = weak_from_this(), status = std::move(status)] {
    const auto self = weak.lock();
    if (self && !self->closed_) self->OnSessionEnd(status);
  });
}

void Http2Session::Close(const base::Status& status, bool quiet) {
  if (std::exchange(closed_, true)) return;
  const auto self = shared_from_this();
  const auto streams = std::exchange(streams_, {});
  for (const auto& [id, stream] : streams) {
    stream->session_ = nullptr;
    stream->body_.clear();
    stream->body_size_ = 0;
  }
  for (const auto& [id, stream] : streams) {
    if (quiet) {
      stream->OnDropped();
    } else {
      stream->OnStreamClosed(NGHTTP2_CANCEL, status);
    }
  }
}

void Http2Session::GoAway(uint32_t error) {
  if (closed_) return;
  going_away_ = true;
  nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE,
                        nghttp2_session_get_last_proc_stream_id(session_), error, nullptr, 0);
  SchedulePump();
}

void Http2Session::Ping() {
  if (closed_) return;
  nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, nullptr);
  SchedulePump();
}

bool Http2Session::CanOpen() const {
  return !closed_ && !going_away_ && !end_posted_ &&
         nghttp2_session_check_request_allowed(session_) != 0 &&
         streams_.size() <
             nghttp2_session_get_remote_settings(session_, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
}

bool Http2Session::ResetAllowed() {
  const uint64_t now = uv_now(loop_.uv());
  if (resets_at_ != 0) resets_ += static_cast<double>(now - resets_at_) / 1000 * limits_.reset_rate;
  resets_at_ = now;
  resets_ = std::min<double>(resets_, limits_.reset_burst);
  resets_ -= 1;
  return resets_ >= 0;
}

base::Status Http2Session::SubmitRequest(std::shared_ptr<Http2Stream> stream, const Http2Head& head,
                                         bool end) {
  std::vector<nghttp2_nv> fields = {Field(":method", head.method), Field(":scheme", head.scheme),
                                    Field(":authority", head.authority), Field(":path", head.path)};
  AppendFields(fields, head.headers);
  nghttp2_data_provider provider = BodyProvider(*stream);
  const int32_t id = nghttp2_submit_request(session_, nullptr, fields.data(), fields.size(),
                                            end ? nullptr : &provider, stream.get());
  if (id < 0) return base::Error(base::Code::kUnavailable, "HTTP/2: {}", nghttp2_strerror(id));
  stream->session_ = this;
  stream->id_ = id;
  stream->has_body_ = !end;
  stream->end_ = end;
  streams_.emplace(id, std::move(stream));
  SchedulePump();
  return {};
}

void Http2Session::SubmitResponse(Http2Stream& stream, int status, const Headers& headers,
                                  bool end) {
  const std::string code = std::to_string(status);
  std::vector<nghttp2_nv> fields = {Field(":status", code)};
  AppendFields(fields, headers);
  nghttp2_data_provider provider = BodyProvider(stream);
  nghttp2_submit_response(session_, stream.id_, fields.data(), fields.size(),
                          end ? nullptr : &provider);
  stream.has_body_ = !end;
  stream.end_ = end;
  SchedulePump();
}

void Http2Session::SubmitInterim(Http2Stream& stream, int status) {
  const std::string code = std::to_string(status);
  const nghttp2_nv field = Field(":status", code);
  nghttp2_submit_headers(session_, NGHTTP2_FLAG_NONE, stream.id_, nullptr, &field, 1, nullptr);
  SchedulePump();
}

void Http2Session::ResumeBody(Http2Stream& stream) {
  if (std::exchange(stream.deferred_, false)) nghttp2_session_resume_data(session_, stream.id_);
  SchedulePump();
}

}  // namespace isthmus::http
