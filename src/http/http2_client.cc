#include <uv.h>

#include <algorithm>
#include <utility>

#include "http/client_connection.h"

namespace isthmus::http {
namespace {

constexpr uint32_t kNoError = 0, kRefusedStream = 7, kCancel = 8;

base::Status StatusOf(uint32_t error) {
  switch (error) {
    case kRefusedStream:
      return base::Error(base::Code::kUnavailable, "the server refused the stream");
    case kCancel:
      return base::Error(base::Code::kCancelled, "the server broke the stream off");
    case 11:
      return base::Error(base::Code::kResourceExhausted, "the server asks for calm");
    default:
      return base::Error(base::Code::kInternal, "the stream was ended with HTTP/2 error {}", error);
  }
}

class Http2ClientStream final : public Http2Stream, public ClientBackend {
 public:
  explicit Http2ClientStream(std::shared_ptr<ClientExchange> exchange,
                             ClientConnection::Owner& owner)
      : exchange_(std::move(exchange)), owner_(owner) {}

  void SendBody(base::Slice data, bool end) override {
    Http2Stream::SendBody(std::move(data), end);
  }
  void Abandon() override { Reset(kCancel); }
  size_t buffered() const override { return Http2Stream::buffered(); }
  void PauseBody(bool pause) override { Pause(pause); }

  void OnHead(Http2Head head) override {
    exchange_->OnHead(ResponseHead{head.status, std::move(head.headers)});
  }
  void OnTrailers(Headers trailers) override { exchange_->OnTrailers(std::move(trailers)); }
  void OnData(std::string_view data) override { exchange_->OnData(data); }
  void OnEnd() override { ended_ = true; }
  void OnDrained() override { exchange_->OnDrained(); }
  void OnStreamClosed(uint32_t error, const base::Status& session) override {
    exchange_->Detach();
    if (exchange_->done()) return;
    if (ended_) return exchange_->Finish({});
    const bool unprocessed = session.ok() && error == kRefusedStream;
    const bool broken = !session.ok() && session.code() != base::Code::kCancelled;
    if ((unprocessed || broken) && owner_.retry && exchange_->TryAgain(unprocessed))
      return owner_.retry(exchange_);
    if (!session.ok()) return exchange_->Finish(session);
    if (error == kNoError) {
      return exchange_->Finish(base::Error(base::Code::kUnavailable, "the answer was cut off"));
    }
    exchange_->Finish(StatusOf(error));
  }
  void OnDropped() override {}

 private:
  const std::shared_ptr<ClientExchange> exchange_;
  ClientConnection::Owner&
      owner_;  // Lives in the connection, which outlives its streams' being open.
  bool ended_ = false;
};

Http2Limits Limits() {
  Http2Limits limits;
  limits.stream_window = 1024 * 1024;
  limits.connection_window = 4 * 1024 * 1024;
  limits.max_header_bytes = 256 * 1024;
  return limits;
}

class Http2Client final : public Http2Session, public ClientConnection, public SocketHandler {
 public:
  Http2Client(base::Loop& loop, std::unique_ptr<Socket> socket, std::string authority, bool tls,
              Owner owner)
      : Http2Session(loop, *socket, false, Limits()),
        socket_(std::move(socket)),
        authority_(std::move(authority)),
        scheme_(tls ? "https" : "http"),
        owner_(std::move(owner)) {
    socket_->set_handler(this);
  }

  void Start(std::string early, Keepalive keepalive) {
    if (keepalive.silence > base::Duration::zero()) LookAfter(keepalive.silence, keepalive);
    // Our preface goes out, and what came early is read, from the loop.
    loop().Post([weak = weak_from_this(), early = std::move(early)] {
      const auto self = weak.lock();
      if (self == nullptr) return;
      if (early.empty()) return self->OnWritable();
      self->OnBytes(early);
    });
  }

  bool CanTake() const override { return CanOpen() && !owner_gone_; }
  void Take(std::shared_ptr<ClientExchange> exchange) override {
    Http2Head head;
    head.method = exchange->head.method;
    head.path = exchange->head.target;
    head.authority = exchange->head.authority.empty() ? authority_ : exchange->head.authority;
    head.scheme = scheme_;
    head.headers = exchange->head.headers;
    auto stream = std::make_shared<Http2ClientStream>(exchange, owner_);
    if (base::Status status = SubmitRequest(stream, head, exchange->bodyless()); !status.ok()) {
      loop().Post([exchange, status] { exchange->Finish(status); });
      return;
    }
    exchange->Attach(stream.get());
  }
  void Close(const base::Status& status) override {
    const auto self = shared_from_this();
    owner_gone_ = true;
    owner_ = {};
    Http2Session::Close(status);
    socket_closed_ = true;
    look_.Cancel();
  }

  void OnBytes(std::string_view bytes) override {
    const auto self = shared_from_this();
    if (!socket_closed_) Http2Session::OnBytes(bytes);
  }
  void OnEnd(base::Status status) override {
    if (status.ok())
      status = base::Error(base::Code::kUnavailable, "the server closed the connection");
    OnSessionEnd(std::move(status));
  }
  void OnWritable() override {
    const auto self = shared_from_this();
    if (!socket_closed_) Http2Session::OnWritable();
  }

 protected:
  void OnSessionEnd(base::Status status) override {
    const auto self = shared_from_this();
    if (std::exchange(over_, true)) return;
    if (status.ok())
      status = base::Error(base::Code::kUnavailable, "the server closed the connection");
    look_.Cancel();
    Http2Session::Close(status);
    // Read after the streams were told: one of them may have destroyed the client.
    if (const auto gone = owner_.gone) gone(this);
  }
  void OnChange() override {
    const auto ready = owner_.ready;
    if (ready) ready(this);
  }

 private:
  void LookAfter(base::Duration delay, Keepalive keepalive) {
    look_ = base::Timer::After(loop(), delay, [this, keepalive] { Look(keepalive); });
  }

  /// Pings a server that has been silent, or ends the connection when it does not answer.
  void Look(Keepalive keepalive) {
    const uint64_t now = uv_now(loop().uv()), heard = socket_->last_read();
    if (std::exchange(waiting_, false) && heard < pinged_at_) {
      OnSessionEnd(base::Error(base::Code::kUnavailable, "the server does not answer pings"));
      return;
    }
    const base::Duration rest = keepalive.silence - std::chrono::milliseconds(now - heard);
    if (rest > base::Duration::zero()) return LookAfter(rest, keepalive);
    // Without a request under way there is nothing to wait for.
    if (streams() == 0) return LookAfter(keepalive.silence, keepalive);
    waiting_ = true;
    pinged_at_ = now;
    Ping();
    LookAfter(keepalive.timeout, keepalive);
  }

  std::unique_ptr<Socket> socket_;
  const std::string authority_;
  const std::string scheme_;
  Owner owner_;
  base::Timer look_;
  uint64_t pinged_at_ = 0;
  bool waiting_ = false;  // For the answer to a ping.
  bool owner_gone_ = false, socket_closed_ = false, over_ = false;
};

}  // namespace

std::shared_ptr<ClientConnection> NewHttp2Connection(base::Loop& loop,
                                                     std::unique_ptr<Socket> socket,
                                                     std::string early, std::string authority,
                                                     bool tls, Keepalive keepalive,
                                                     ClientConnection::Owner owner) {
  auto client = std::make_shared<Http2Client>(loop, std::move(socket), std::move(authority), tls,
                                              std::move(owner));
  client->Start(std::move(early), keepalive);
  return client;
}

}  // namespace isthmus::http
