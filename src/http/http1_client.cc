#include <fmt/format.h>
#include <http_parser.h>

#include <optional>
#include <utility>

#include "base/strings.h"
#include "http/client_connection.h"
#include "http/http1_text.h"
#include "http/stream_socket.h"

namespace isthmus::http {
namespace {

constexpr size_t kMaxHead = 256 * 1024;
constexpr size_t kMaxErrorBody = 64 * 1024;
constexpr int64_t kIdleSeconds = 60;

/// Reads HTTP/1.1 answers. Calls its listener from Execute(); the listener may make it stop by
/// Stop().
class ResponseParser {
 public:
  class Listener {
   public:
    virtual ~Listener() = default;
    virtual void OnHead(ResponseHead head) = 0;
    virtual void OnBody(std::string_view data) = 0;
    virtual void OnDone(Headers trailers) = 0;
  };

  explicit ResponseParser(Listener& listener) : listener_(listener) { Reset(); }

  /// For the next answer; `head_only` when the request was HEAD, `tunnel` when it was CONNECT.
  void Expect(bool head_only, bool tunnel) {
    head_only_ = head_only;
    tunnel_ = tunnel;
  }
  void Reset() {
    http_parser_init(&parser_, HTTP_RESPONSE);
    parser_.data = this;
    stopped_ = false;
  }
  void Stop() { stopped_ = true; }

  /// How many bytes were taken; fewer than given after Stop() and after an answer that switches
  /// protocols.
  base::Result<size_t> Execute(std::string_view bytes) {
    const size_t taken = http_parser_execute(&parser_, &Settings(), bytes.data(), bytes.size());
    if (stopped_ || parser_.upgrade) return taken;
    const auto error = HTTP_PARSER_ERRNO(&parser_);
    if (error == HPE_OK) return taken;
    return base::Error(base::Code::kUnavailable, "the server's answer is no HTTP/1.1: {}",
                       too_large_ ? "the header is too large" : http_errno_description(error));
  }
  bool keep_alive() const { return http_should_keep_alive(&parser_) != 0; }

 private:
  static ResponseParser& Self(http_parser* parser) {
    return *static_cast<ResponseParser*>(parser->data);
  }
  static int Begin(http_parser* parser) {
    ResponseParser& self = Self(parser);
    self.head_ = {};
    self.trailers_ = {};
    self.field_.clear();
    self.value_.clear();
    self.size_ = 0;
    self.in_value_ = self.head_done_ = false;
    return 0;
  }
  void FlushField() {
    if (!std::exchange(in_value_, false)) return;
    (head_done_ ? trailers_ : head_.headers).Add(field_, base::Trim(value_));
    field_.clear();
    value_.clear();
  }
  int Count(size_t size) {
    size_ += size;
    too_large_ = size_ > kMaxHead;
    return too_large_ ? 1 : 0;
  }
  static int Field(http_parser* parser, const char* data, size_t size) {
    ResponseParser& self = Self(parser);
    self.FlushField();
    self.field_.append(data, size);
    return self.Count(size + 32);
  }
  static int Value(http_parser* parser, const char* data, size_t size) {
    ResponseParser& self = Self(parser);
    self.in_value_ = true;
    self.value_.append(data, size);
    return self.Count(size);
  }
  bool interim() const {
    return parser_.status_code >= 100 && parser_.status_code < 200 && parser_.status_code != 101;
  }
  static int HeadDone(http_parser* parser) {
    ResponseParser& self = Self(parser);
    self.FlushField();
    self.head_done_ = true;
    if (self.interim()) return 0;
    self.head_.status = static_cast<int>(parser->status_code);
    self.listener_.OnHead(std::move(self.head_));
    if (self.stopped_) return -1;
    if (self.tunnel_ && parser->status_code / 100 == 2) return 2;
    return self.head_only_ ? 1 : 0;
  }
  static int Body(http_parser* parser, const char* data, size_t size) {
    ResponseParser& self = Self(parser);
    self.listener_.OnBody({data, size});
    return self.stopped_ ? 1 : 0;
  }
  static int Done(http_parser* parser) {
    ResponseParser& self = Self(parser);
    if (self.interim()) return 0;
    self.FlushField();
    self.listener_.OnDone(std::move(self.trailers_));
    return self.stopped_ ? 1 : 0;
  }
  static const http_parser_settings& Settings() {
    static const http_parser_settings settings = [] {
      http_parser_settings made;
      http_parser_settings_init(&made);
      made.on_message_begin = &Begin;
      made.on_header_field = &Field;
      made.on_header_value = &Value;
      made.on_headers_complete = &HeadDone;
      made.on_body = &Body;
      made.on_message_complete = &Done;
      return made;
    }();
    return settings;
  }

  Listener& listener_;
  http_parser parser_;
  ResponseHead head_;
  Headers trailers_;
  std::string field_, value_;
  size_t size_ = 0;
  bool in_value_ = false, head_done_ = false, head_only_ = false, tunnel_ = false, stopped_ = false,
       too_large_ = false;
};

/// The request's first lines. Tells in `chunked` how the body is to be framed.
base::Result<std::string> RequestText(const RequestHead& head, std::string_view authority,
                                      bool bodyless, bool* chunked) {
  if (!IsToken(head.method) || head.target.empty() || !IsVisible(head.target) ||
      !IsVisible(head.authority)) {
    return base::Error(base::Code::kInvalidArgument,
                       "the request '{} {}' cannot be written as HTTP/1.1", head.method,
                       head.target);
  }
  Headers headers = head.headers;
  headers.Remove("host");
  headers.Remove("transfer-encoding");
  *chunked = false;
  if (!headers.Get("content-length")) {
    if (!bodyless) {
      headers.Add("transfer-encoding", "chunked");
      *chunked = true;
    } else if (head.method == "POST" || head.method == "PUT" || head.method == "PATCH") {
      headers.Add("content-length", "0");
    }
  }
  std::string text =
      fmt::format("{} {} HTTP/1.1\r\nhost: {}\r\n", head.method, head.target,
                  head.authority.empty() ? authority : std::string_view(head.authority));
  AppendHeaderLines(text, headers);
  text += "\r\n";
  return text;
}

/// One connection that carries one exchange after the other.
class Http1Connection final : public ClientConnection,
                              public SocketHandler,
                              public ClientBackend,
                              public ResponseParser::Listener,
                              public std::enable_shared_from_this<Http1Connection> {
 public:
  Http1Connection(base::Loop& loop, std::unique_ptr<Socket> socket, std::string authority,
                  Owner owner)
      : loop_(loop),
        socket_(std::move(socket)),
        authority_(std::move(authority)),
        owner_(std::move(owner)),
        parser_(*this) {
    socket_->set_handler(this);
  }

  // ---- as the client sees it ----
  bool CanTake() const override { return exchange_ == nullptr && !over_; }

  void Take(std::shared_ptr<ClientExchange> exchange) override {
    idle_.Cancel();
    exchange_ = std::move(exchange);
    answered_ = false;
    request_done_ = exchange_->bodyless();
    const auto text = RequestText(exchange_->head, authority_, request_done_, &chunked_);
    if (!text.ok()) {
      loop_.Post([weak = weak_from_this(), exchange = std::exchange(exchange_, nullptr),
                  status = text.status()] {
        exchange->Finish(status);
        const auto self = weak.lock();
        if (self && !self->over_ && self->owner_.ready) self->owner_.ready(self.get());
      });
      return;
    }
    parser_.Expect(exchange_->head.method == "HEAD", false);
    socket_->WriteCopy(*text);
    exchange_->Attach(this);
    socket_->FlushSoon();
  }

  void Close(const base::Status& status) override {
    const auto self = shared_from_this();
    over_ = true;
    owner_ = {};
    parser_.Stop();
    socket_.reset();
    if (const auto exchange = std::exchange(exchange_, nullptr)) exchange->Finish(status);
  }

  // ---- as the exchange sees it ----
  void SendBody(base::Slice data, bool end) override {
    if (over_ || request_done_) return;
    if (!data.empty()) {
      if (chunked_) socket_->WriteCopy(fmt::format("{:x}\r\n", data.size()));
      socket_->Write(std::move(data));
      if (chunked_) socket_->WriteCopy("\r\n");
    }
    if (end) {
      request_done_ = true;
      if (chunked_) socket_->WriteCopy("0\r\n\r\n");
    }
    socket_->FlushSoon();
  }
  void Abandon() override {
    // HTTP/1.1 knows no other way to end an exchange.
    over_ = true;
    parser_.Stop();
    loop_.Post([weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->Gone();
    });
  }
  size_t buffered() const override { return socket_ == nullptr ? 0 : socket_->buffered(); }
  void PauseBody(bool pause) override {
    if (socket_ != nullptr) socket_->Pause(pause);
  }

  // ---- as the socket sees it ----
  void OnBytes(std::string_view bytes) override {
    const auto self = shared_from_this();
    if (over_) return;
    if (exchange_ == nullptr)
      return Break(base::Error(base::Code::kUnavailable, "the server spoke unasked"));
    answered_ = true;
    while (!bytes.empty() && !over_ && exchange_ != nullptr) {
      const auto taken = parser_.Execute(bytes);
      if (over_) return;
      if (!taken.ok()) return Break(taken.status());
      if (unasked_switch_) {
        return Break(
            base::Error(base::Code::kUnavailable, "the server switched protocols unasked"));
      }
      bytes.remove_prefix(std::min(*taken, bytes.size()));
      if (*taken == 0) break;
    }
  }
  void OnEnd(base::Status status) override {
    const auto self = shared_from_this();
    if (over_) return;
    // The end of the connection may be the end of the body.
    if (status.ok() && exchange_ != nullptr && answered_) {
      const auto taken = parser_.Execute({});
      if (over_) return;
      status = taken.status();
    }
    if (status.ok())
      status = base::Error(base::Code::kUnavailable, "the server closed the connection");
    Break(std::move(status));
  }
  void OnWritable() override {
    if (const auto exchange = exchange_) exchange->OnDrained();
  }

  // ---- as the parser sees it ----
  void OnHead(ResponseHead head) override {
    const auto exchange = exchange_;
    unasked_switch_ = head.status == 101;
    if (exchange == nullptr || unasked_switch_) return parser_.Stop();
    exchange->OnHead(std::move(head));
  }
  void OnBody(std::string_view data) override {
    const auto exchange = exchange_;
    exchange->OnData(data);
  }
  void OnDone(Headers trailers) override {
    const auto exchange = exchange_;
    if (!trailers.all().empty()) exchange->OnTrailers(std::move(trailers));
    if (over_) return;
    exchange_ = nullptr;
    exchange->Detach();
    if (!request_done_ || !parser_.keep_alive()) {
      over_ = true;
      parser_.Stop();
      loop_.Post([weak = weak_from_this()] {
        if (const auto self = weak.lock()) self->Gone();
      });
    }
    exchange->Finish({});
    if (over_) return;
    used_before_ = true;
    if (socket_ != nullptr && exchange->paused()) socket_->Pause(false);
    idle_ = base::Timer::After(loop_, std::chrono::seconds(kIdleSeconds), [this] { Gone(); });
    if (const auto ready = owner_.ready) ready(this);
  }

 private:
  void Gone() {
    over_ = true;
    const auto self = shared_from_this();
    if (const auto gone = std::exchange(owner_.gone, nullptr)) gone(this);
  }
  void Break(base::Status status) {
    over_ = true;
    parser_.Stop();
    const auto exchange = std::exchange(exchange_, nullptr);
    const auto retry = owner_.retry;
    Gone();
    if (exchange == nullptr) return;
    exchange->Detach();
    // A connection that had lain idle may have been closed before the server saw the request.
    if (used_before_ && !answered_ && retry && exchange->TryAgain(false)) return retry(exchange);
    exchange->Finish(std::move(status));
  }

  base::Loop& loop_;
  std::unique_ptr<Socket> socket_;
  const std::string authority_;
  Owner owner_;
  ResponseParser parser_;
  std::shared_ptr<ClientExchange> exchange_;
  base::Timer idle_;
  bool over_ = false, chunked_ = false, request_done_ = false, answered_ = false;
  bool used_before_ = false, unasked_switch_ = false;
};

base::Code CodeOf(int status) {
  switch (status) {
    case 400:
      return base::Code::kInvalidArgument;
    case 401:
      return base::Code::kUnauthenticated;
    case 403:
      return base::Code::kPermissionDenied;
    case 404:
      return base::Code::kNotFound;
    case 429:
      return base::Code::kResourceExhausted;
    case 502:
    case 503:
    case 504:
      return base::Code::kUnavailable;
    default:
      return base::Code::kUnknown;
  }
}

/// A request whose connection is handed over. Keeps itself until it has answered or its handle has
/// gone.
class UpgradeAttempt final : public SocketHandler, public ResponseParser::Listener {
 public:
  UpgradeAttempt(base::Loop& loop, std::unique_ptr<Socket> socket,
                 std::function<void(UpgradeResult)> done)
      : loop_(loop), socket_(std::move(socket)), done_(std::move(done)), parser_(*this) {
    socket_->set_handler(this);
  }
  void Start(std::string early, const RequestHead& head) {
    bool chunked = false;
    const auto text = RequestText(head, head.authority, true, &chunked);
    if (!text.ok()) {
      loop_.Post([done = std::exchange(done_, nullptr), status = text.status()] { done(status); });
      return;
    }
    connect_ = head.method == "CONNECT";
    parser_.Expect(head.method == "HEAD", connect_);
    socket_->WriteCopy(*text);
    socket_->FlushSoon();
    if (early.empty()) return;
    socket_->Pause(true);
    early_ = base::Timer::After(loop_, base::Duration::zero(), [this, early = std::move(early)] {
      socket_->Pause(false);
      OnBytes(early);
    });
  }

  void OnBytes(std::string_view bytes) override {
    if (!done_) return;
    const auto taken = parser_.Execute(bytes);
    if (!taken.ok()) return Finish(taken.status());
    if (accepted_) {
      auto stream = std::make_unique<StreamSocket>(loop_, std::move(socket_),
                                                   std::string(bytes.substr(*taken)));
      return Finish(
          std::make_pair(std::move(head_), std::unique_ptr<ByteStream>(std::move(stream))));
    }
    if (answered_) Refused();
  }
  void OnEnd(base::Status status) override {
    if (!done_) return;
    if (status.ok() && head_seen_) {
      parser_.Execute({}).status().ok();
      return Refused();
    }
    if (status.ok())
      status = base::Error(base::Code::kUnavailable, "the server closed the connection");
    Finish(std::move(status));
  }
  void OnWritable() override {}

  void OnHead(ResponseHead head) override {
    head_seen_ = true;
    head_ = std::move(head);
    accepted_ = head_.status == 101 || (connect_ && head_.status / 100 == 2);
  }
  void OnBody(std::string_view data) override {
    if (body_.size() + data.size() <= kMaxErrorBody) body_ += data;
  }
  void OnDone(Headers) override { answered_ = true; }

 private:
  void Refused() {
    Finish(base::Error(CodeOf(head_.status), "the server answered {}{}{}", head_.status,
                       body_.empty() ? "" : ": ", base::Trim(body_)));
  }
  void Finish(UpgradeResult result) {
    const auto done = std::exchange(done_, nullptr);
    done(std::move(result));  // May destroy this.
  }

  base::Loop& loop_;
  std::unique_ptr<Socket> socket_;
  std::function<void(UpgradeResult)> done_;
  ResponseParser parser_;
  base::Timer early_;
  ResponseHead head_;
  std::string body_;
  bool connect_ = false, head_seen_ = false, accepted_ = false, answered_ = false;
};

}  // namespace

std::shared_ptr<ClientConnection> NewHttp1Connection(base::Loop& loop,
                                                     std::unique_ptr<Socket> socket,
                                                     std::string early, std::string authority,
                                                     ClientConnection::Owner owner) {
  // A server has nothing to say before it is asked; what came early breaks the connection at the
  // first use.
  (void)early;
  return std::make_shared<Http1Connection>(loop, std::move(socket), std::move(authority),
                                           std::move(owner));
}

std::shared_ptr<void> StartUpgrade(base::Loop& loop, std::unique_ptr<Socket> socket,
                                   std::string early, RequestHead head,
                                   std::function<void(UpgradeResult)> done) {
  auto attempt = std::make_shared<UpgradeAttempt>(loop, std::move(socket), std::move(done));
  attempt->Start(std::move(early), head);
  return attempt;
}

}  // namespace isthmus::http
