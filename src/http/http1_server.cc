#include <fmt/format.h>
#include <http_parser.h>
#include <uv.h>

#include <limits>
#include <optional>
#include <utility>

#include "base/strings.h"
#include "http/http1_text.h"
#include "http/server_connection.h"
#include "http/stream_socket.h"

namespace isthmus::http {
namespace {

// What a client may send ahead while a response is under way; then we stop reading.
constexpr size_t kMaxAhead = 64 * 1024;
// The rest of a request that nobody reads is taken and thrown away up to here.
constexpr size_t kMaxDiscard = 256 * 1024;
constexpr uint64_t kIdleMs = 180 * 1000;

class Http1Server;

/// One request and its answer. The connection keeps it until the exchange is over.
class Http1ServerStream final : public ServerStream,
                                public std::enable_shared_from_this<Http1ServerStream> {
 public:
  Http1ServerStream(Http1Server* server, RequestHead head, std::shared_ptr<const PeerInfo> peer)
      : server_(server), head_(std::move(head)), peer_(std::move(peer)) {}

  const RequestHead& head() const override { return head_; }
  const PeerInfo& peer() const override { return *peer_; }
  void OnBody(std::function<void(std::string_view)> data, std::function<void()> end) override;
  void OnClose(std::function<void()> callback) override { callbacks_->close = std::move(callback); }
  void SendHeaders(int status, const Headers& headers, bool end) override;
  void SendData(base::Slice data, bool end) override;
  void SendTrailers(const Headers& trailers) override;
  void Reset() override;
  size_t buffered() const override;
  void OnDrain(std::function<void()> callback) override { callbacks_->drain = std::move(callback); }
  void PauseBody(bool pause) override;
  std::unique_ptr<ByteStream> Upgrade(const Headers& headers) override;

  void Data(std::string_view data) {
    const auto callbacks = callbacks_;
    if (callbacks->data) callbacks->data(data);
  }
  void End() {
    const auto callbacks = callbacks_;
    if (callbacks->end) callbacks->end();
  }
  void Drained() {
    const auto callbacks = callbacks_;
    if (callbacks->drain) callbacks->drain();
  }
  void Detach(bool tell) {
    server_ = nullptr;
    const auto callbacks = std::exchange(callbacks_, std::make_shared<Callbacks>());
    if (tell && callbacks->close) callbacks->close();
  }

 private:
  friend class Http1Server;
  struct Callbacks {
    std::function<void(std::string_view)> data;
    std::function<void()> end, close, drain;
  };
  bool sends_body() const { return head_.method != "HEAD" && !bodyless_; }
  void EndResponse();

  Http1Server* server_;  // Null when the exchange is over.
  const RequestHead head_;
  const std::shared_ptr<const PeerInfo> peer_;
  std::shared_ptr<Callbacks> callbacks_ = std::make_shared<Callbacks>();
  bool http10_ = false, expects_continue_ = false;
  bool headers_sent_ = false, ended_ = false, chunked_ = false, bodyless_ = false;
  std::optional<uint64_t> length_left_;  // Of a declared content-length.
};

class Http1Server final : public ServerProtocol, public std::enable_shared_from_this<Http1Server> {
 public:
  explicit Http1Server(ServerConnection& connection)
      : loop_(connection.loop()), connection_(&connection) {
    http_parser_init(&parser_, HTTP_REQUEST);
    parser_.data = this;
    phase_since_ = now();
  }

  void OnBytes(std::string_view bytes) override;
  void OnEnd(base::Status status) override;
  void OnWritable() override;
  void Shutdown() override;
  void Close(const base::Status& status, bool quiet) override;
  base::Status Tick(uint64_t now) override;

 private:
  friend class Http1ServerStream;
  friend struct Http1Parsing;

  Socket& socket() { return connection_->socket(); }
  bool waiting() const { return stream_ != nullptr && request_done_; }
  void Process(std::string_view bytes);
  bool TakeHead();
  void Refuse(int status);
  void CloseSoon();
  void AdvanceSoon();
  void Advance();
  uint64_t now() const { return uv_now(loop_.uv()); }

  base::Loop& loop_;
  ServerConnection* connection_;  // Null when it is over.
  http_parser parser_;
  std::shared_ptr<Http1ServerStream> stream_;
  std::string input_;  // Came while an exchange was under way.
  // The head that arrives.
  std::string url_, field_, value_;
  Headers headers_;
  size_t head_size_ = 0;
  bool in_value_ = false, trailers_ = false;
  // The exchange.
  bool request_done_ = false, response_done_ = false, keep_alive_ = false, close_after_ = false;
  bool refused_ = false, advance_posted_ = false, paused_ = false, shutting_down_ = false;
  bool in_head_ = true;  // Also before the first request.
  size_t discarded_ = 0;
  uint64_t phase_since_ = 0;
  std::function<void(std::string_view)>
      upgraded_;  // Takes the bytes that belong to the upgraded connection.
};

struct Http1Parsing {
  static Http1Server& Self(http_parser* parser) { return *static_cast<Http1Server*>(parser->data); }

  static int Begin(http_parser* parser) {
    Http1Server& self = Self(parser);
    self.url_.clear();
    self.field_.clear();
    self.value_.clear();
    self.headers_ = {};
    self.head_size_ = 0;
    self.in_value_ = self.trailers_ = false;
    self.in_head_ = true;
    self.phase_since_ = self.now();
    return 0;
  }
  // Counts what a head takes in memory.
  static bool Count(Http1Server& self, size_t size) {
    self.head_size_ += size;
    if (self.head_size_ <= self.connection_->shared()->options.max_header_bytes) return true;
    if (self.stream_ == nullptr) self.Refuse(431);
    return false;
  }
  static int Url(http_parser* parser, const char* data, size_t size) {
    Http1Server& self = Self(parser);
    if (!Count(self, size)) return 1;
    self.url_.append(data, size);
    return 0;
  }
  static void FlushField(Http1Server& self) {
    if (self.in_value_ && !self.trailers_) self.headers_.Add(self.field_, base::Trim(self.value_));
    if (self.in_value_) self.field_.clear(), self.value_.clear();
    self.in_value_ = false;
  }
  static int Field(http_parser* parser, const char* data, size_t size) {
    Http1Server& self = Self(parser);
    FlushField(self);
    if (!Count(self, size + 32)) return 1;
    self.field_.append(data, size);
    return 0;
  }
  static int Value(http_parser* parser, const char* data, size_t size) {
    Http1Server& self = Self(parser);
    if (!Count(self, size)) return 1;
    self.in_value_ = true;
    self.value_.append(data, size);
    return 0;
  }
  static int HeadersDone(http_parser* parser) {
    Http1Server& self = Self(parser);
    FlushField(self);
    self.trailers_ = true;
    self.in_head_ = false;
    // 0 goes on; the value 1 would mean "no body" to the parser.
    return self.TakeHead() ? 0 : -1;
  }
  static int Body(http_parser* parser, const char* data, size_t size) {
    Http1Server& self = Self(parser);
    if (self.response_done_) {
      self.discarded_ += size;
      return self.discarded_ > kMaxDiscard ? 1 : 0;
    }
    const auto stream = self.stream_;
    stream->Data({data, size});
    return self.connection_ == nullptr ? 1 : 0;
  }
  static int Done(http_parser* parser) {
    Http1Server& self = Self(parser);
    self.request_done_ = true;
    self.phase_since_ = self.now();
    http_parser_pause(parser, 1);
    const auto stream = self.stream_;
    if (!self.response_done_) stream->End();
    return self.connection_ == nullptr ? 1 : 0;
  }
  static const http_parser_settings& All() {
    static const http_parser_settings settings = [] {
      http_parser_settings made;
      http_parser_settings_init(&made);
      made.on_message_begin = &Begin;
      made.on_url = &Url;
      made.on_header_field = &Field;
      made.on_header_value = &Value;
      made.on_headers_complete = &HeadersDone;
      made.on_body = &Body;
      made.on_message_complete = &Done;
      return made;
    }();
    return settings;
  }
};

void Http1Server::OnBytes(std::string_view bytes) {
  const auto self = shared_from_this();
  if (connection_ == nullptr || refused_) return;
  if (waiting()) {
    input_ += bytes;
    if (input_.size() >= kMaxAhead) socket().Pause(true);
    return;
  }
  if (input_.empty()) return Process(bytes);
  input_ += bytes;
  const std::string all = std::exchange(input_, {});
  Process(all);
}

void Http1Server::Process(std::string_view bytes) {
  while (!bytes.empty() && connection_ != nullptr && !refused_ && !waiting()) {
    http_parser_pause(&parser_, 0);
    const size_t taken =
        http_parser_execute(&parser_, &Http1Parsing::All(), bytes.data(), bytes.size());
    if (upgraded_) {
      const auto append = std::exchange(upgraded_, nullptr);
      return append(bytes.substr(taken));
    }
    if (connection_ == nullptr || refused_) return;
    const bool good =
        HTTP_PARSER_ERRNO(&parser_) == HPE_OK || HTTP_PARSER_ERRNO(&parser_) == HPE_PAUSED;
    if (!good || (taken < bytes.size() && !request_done_)) {
      // Half a request's body that nobody wants, or no HTTP at all.
      if (stream_ != nullptr) return CloseSoon();
      return Refuse(HTTP_PARSER_ERRNO(&parser_) == HPE_HEADER_OVERFLOW ? 431 : 400);
    }
    bytes.remove_prefix(taken);
    if (request_done_ && response_done_) Advance();
  }
  if (connection_ == nullptr || refused_) return;
  input_ = bytes;
}

// What http_parser lets pass and others may read differently, which is how requests are smuggled.
bool AcceptableHeaders(const Headers& headers) {
  size_t hosts = 0;
  for (const auto& [name, value] : headers.all()) {
    if (!IsToken(name) || !IsFieldValue(value)) return false;
    if (name == "host") ++hosts;
    if (name == "transfer-encoding" && !base::EqualsIgnoreCase(value, "chunked")) return false;
  }
  return hosts <= 1;
}

bool Http1Server::TakeHead() {
  if (parser_.http_major != 1) {
    Refuse(505);
    return false;
  }
  if (!AcceptableHeaders(headers_) || !IsVisible(url_)) {
    Refuse(400);
    return false;
  }
  RequestHead head;
  head.method = http_method_str(static_cast<http_method>(parser_.method));
  head.target = std::exchange(url_, {});
  head.headers = std::exchange(headers_, {});
  if (const auto host = head.headers.Get("host")) head.authority = *host;
  if (head.method == "CONNECT") {
    head.authority = head.target;
  } else if (const size_t scheme = head.target.find("://");
             scheme != std::string::npos && head.target[0] != '/') {
    // The absolute form, which clients send to proxies.
    const size_t path = head.target.find('/', scheme + 3);
    head.authority =
        head.target.substr(scheme + 3, path == std::string::npos ? path : path - scheme - 3);
    head.target = path == std::string::npos ? "/" : head.target.substr(path);
  }
  request_done_ = response_done_ = close_after_ = false;
  discarded_ = 0;
  keep_alive_ = http_should_keep_alive(&parser_) != 0 && !shutting_down_;
  stream_ = std::make_shared<Http1ServerStream>(this, std::move(head), connection_->peer());
  stream_->http10_ = parser_.http_major < 1 || (parser_.http_major == 1 && parser_.http_minor == 0);
  stream_->expects_continue_ =
      !stream_->http10_ &&
      base::EqualsIgnoreCase(stream_->head_.headers.Get("expect").value_or(""), "100-continue");
  const auto shared = connection_->shared();
  const auto stream = stream_;
  shared->handler(stream);
  return connection_ != nullptr || upgraded_ != nullptr;
}

void Http1Server::Refuse(int status) {
  if (std::exchange(refused_, true)) return;
  const char* reason = http_status_str(static_cast<http_status>(status));
  socket().WriteCopy(fmt::format("HTTP/1.1 {} {}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
                                 status, reason));
  connection_->Linger();
}

// The connection ends when what was written is out.
void Http1Server::CloseSoon() {
  refused_ = true;
  if (const auto stream = std::exchange(stream_, nullptr)) stream->Detach(true);
  if (connection_ != nullptr) connection_->Linger();
}

void Http1Server::AdvanceSoon() {
  if (std::exchange(advance_posted_, true)) return;
  loop_.Post([weak = weak_from_this()] {
    const auto self = weak.lock();
    if (!self || self->connection_ == nullptr) return;
    self->advance_posted_ = false;
    self->Advance();
  });
}

void Http1Server::Advance() {
  if (connection_ == nullptr || refused_ || stream_ == nullptr || !response_done_) return;
  if (!keep_alive_ || close_after_) return CloseSoon();
  if (!request_done_) return;  // The rest is read and thrown away.
  const auto stream = std::exchange(stream_, nullptr);
  request_done_ = response_done_ = false;
  phase_since_ = now();
  stream->Detach(true);
  if (connection_ == nullptr) return;
  if (std::exchange(paused_, false) || input_.size() >= kMaxAhead) socket().Pause(false);
  if (shutting_down_) return connection_->Linger();
  if (!input_.empty()) {
    // Posted, so that a long pipeline does not recurse.
    loop_.Post([weak = weak_from_this()] {
      const auto self = weak.lock();
      if (!self || self->connection_ == nullptr || self->waiting()) return;
      const std::string bytes = std::exchange(self->input_, {});
      if (!bytes.empty()) self->Process(bytes);
    });
  }
}

void Http1Server::OnEnd(base::Status status) {
  const auto self = shared_from_this();
  if (connection_ == nullptr) return;
  if (status.ok() && response_done_) return CloseSoon();
  connection_->Close(status);
}

void Http1Server::OnWritable() {
  const auto self = shared_from_this();
  if (const auto stream = stream_) stream->Drained();
}

void Http1Server::Shutdown() {
  if (connection_ == nullptr) return;
  shutting_down_ = true;
  keep_alive_ = false;
  if (stream_ == nullptr && !refused_) {
    refused_ = true;
    connection_->Linger();
  }
}

void Http1Server::Close(const base::Status&, bool quiet) {
  const auto self = shared_from_this();
  connection_ = nullptr;
  if (const auto stream = std::exchange(stream_, nullptr)) stream->Detach(!quiet);
}

base::Status Http1Server::Tick(uint64_t now) {
  if (connection_ == nullptr) return {};
  const auto slow = [](std::string_view what) {
    return base::Error(base::Code::kDeadlineExceeded, "the client was too slow with {}", what);
  };
  if (socket().buffered() > 0) {
    return now - socket().last_write() > kStallMs ? slow("reading the response") : base::Status();
  }
  if (stream_ != nullptr) {
    const bool stalled = !request_done_ && !paused_ && now - socket().last_read() > kStallMs;
    return stalled ? slow("its request body") : base::Status();
  }
  const auto limit = std::chrono::duration_cast<std::chrono::milliseconds>(
      connection_->shared()->options.handshake_timeout);
  if (in_head_ && limit.count() > 0 && now - phase_since_ > static_cast<uint64_t>(limit.count())) {
    return slow("its request");
  }
  if (now - phase_since_ > kIdleMs) return slow("its next request");
  return {};
}

// ---- the exchange ----

void Http1ServerStream::OnBody(std::function<void(std::string_view)> data,
                               std::function<void()> end) {
  callbacks_->data = std::move(data);
  callbacks_->end = std::move(end);
  if (server_ == nullptr || headers_sent_ || !std::exchange(expects_continue_, false)) return;
  server_->socket().WriteCopy("HTTP/1.1 100 Continue\r\n\r\n");
  server_->socket().FlushSoon();
}

void Http1ServerStream::SendHeaders(int status, const Headers& headers, bool end) {
  if (server_ == nullptr || std::exchange(headers_sent_, true)) return;
  bodyless_ = status == 204 || status == 304 || (status >= 100 && status < 200);
  std::string text =
      fmt::format("HTTP/1.1 {} {}\r\n", status, http_status_str(static_cast<http_status>(status)));
  Headers sent = headers;
  sent.Remove("transfer-encoding");
  if (const auto connection = sent.Get("connection"); connection && ListHas(*connection, "close")) {
    server_->keep_alive_ = false;
  }
  sent.Remove("connection");
  if (bodyless_) {
    sent.Remove("content-length");
  } else if (const auto length = sent.Get("content-length")) {
    const auto parsed = base::ParseInt(*length);
    if (parsed.ok() && parsed.value() >= 0) length_left_ = static_cast<uint64_t>(parsed.value());
  } else if (end && head_.method != "HEAD") {
    sent.Add("content-length", "0");
    length_left_ = 0;
  } else if (!http10_) {
    sent.Add("transfer-encoding", "chunked");
    chunked_ = true;
  } else {
    server_->keep_alive_ = false;  // The end of the body is the end of the connection.
  }
  // A client that waits for leave to send its body may send it or not: only a new connection is
  // sure.
  if (expects_continue_) server_->keep_alive_ = false;
  if (!server_->keep_alive_) {
    sent.Add("connection", "close");
  } else if (http10_) {
    sent.Add("connection", "keep-alive");
  }
  AppendHeaderLines(text, sent);
  text += "\r\n";
  server_->socket().WriteCopy(text);
  server_->socket().FlushSoon();
  if (end) EndResponse();
}

void Http1ServerStream::SendData(base::Slice data, bool end) {
  if (server_ == nullptr || ended_) return;
  if (!headers_sent_) SendHeaders(200, {}, false);
  Socket& socket = server_->socket();
  if (length_left_ && data.size() > *length_left_) data = data.Sub(0, *length_left_);
  if (sends_body() && !data.empty()) {
    if (chunked_) socket.WriteCopy(fmt::format("{:x}\r\n", data.size()));
    if (length_left_) *length_left_ -= data.size();
    if (data.size() <= 256) {
      socket.WriteCopy(data.view());
    } else {
      socket.Write(std::move(data));
    }
    if (chunked_) socket.WriteCopy("\r\n");
    socket.FlushSoon();
  }
  if (!end) return;
  if (chunked_ && sends_body()) socket.WriteCopy("0\r\n\r\n");
  EndResponse();
}

void Http1ServerStream::SendTrailers(const Headers& trailers) {
  if (server_ == nullptr || ended_) return;
  if (!headers_sent_) SendHeaders(200, {}, false);
  if (!chunked_ || !sends_body()) return SendData({}, true);
  std::string text = "0\r\n";
  AppendHeaderLines(text, trailers);
  text += "\r\n";
  server_->socket().WriteCopy(text);
  EndResponse();
}

void Http1ServerStream::EndResponse() {
  if (std::exchange(ended_, true)) return;
  // A body shorter than it was said to be can only be told by breaking off.
  if (length_left_ && *length_left_ > 0 && sends_body()) server_->close_after_ = true;
  server_->response_done_ = true;
  server_->phase_since_ = server_->now();
  server_->socket().FlushSoon();
  server_->AdvanceSoon();
}

void Http1ServerStream::Reset() {
  if (server_ == nullptr) return;
  server_->loop_.Post([weak = server_->weak_from_this(), stream = shared_from_this()] {
    const auto server = weak.lock();
    if (server && server->connection_ != nullptr && server->stream_ == stream)
      server->connection_->Close({});
  });
}

size_t Http1ServerStream::buffered() const {
  return server_ == nullptr ? 0 : server_->socket().buffered();
}

void Http1ServerStream::PauseBody(bool pause) {
  if (server_ == nullptr) return;
  server_->paused_ = pause;
  server_->socket().Pause(pause);
}

std::unique_ptr<ByteStream> Http1ServerStream::Upgrade(const Headers& headers) {
  if (server_ == nullptr || headers_sent_ || http10_) return nullptr;
  Http1Server& server = *server_;
  // A request with a body of its own has not ended where the upgraded bytes would begin.
  if (server.parser_.upgrade == 0 ||
      (!server.request_done_ && head_.headers.Get("transfer-encoding")))
    return nullptr;
  if (const auto length = head_.headers.Get("content-length"); length && *length != "0")
    return nullptr;
  std::string text = head_.method == "CONNECT" ? "HTTP/1.1 200 Connection established\r\n"
                                               : "HTTP/1.1 101 Switching Protocols\r\n";
  AppendHeaderLines(text, headers);
  text += "\r\n";
  server.socket().WriteCopy(text);
  headers_sent_ = ended_ = true;
  const bool inside_parser = !server.request_done_;
  auto stream = std::make_unique<StreamSocket>(server.loop_, server.connection_->TakeSocket(),
                                               std::exchange(server.input_, {}));
  stream->Write({});
  if (inside_parser) server.upgraded_ = stream->InitialAppender();
  server.connection_ = nullptr;
  server_ = nullptr;
  // The exchange is over without OnClose; what the callbacks hold goes soon, for one of them may be
  // running.
  server.loop_.Post([callbacks = std::exchange(callbacks_, std::make_shared<Callbacks>())] {});
  return stream;
}

}  // namespace

std::shared_ptr<ServerProtocol> NewHttp1Server(ServerConnection& connection) {
  return std::make_shared<Http1Server>(connection);
}

}  // namespace isthmus::http
