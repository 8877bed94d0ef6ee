#include <uv.h>

#include <utility>

#include "http/server_connection.h"

namespace isthmus::http {
namespace {

constexpr uint32_t kHttp2Cancel = 8;

class Http2ServerStream final : public ServerStream,
                                public Http2Stream,
                                public std::enable_shared_from_this<Http2ServerStream> {
 public:
  Http2ServerStream(std::shared_ptr<const ServerShared> shared,
                    std::shared_ptr<const PeerInfo> peer);

  // As the handler sees it.
  const RequestHead& head() const override { return head_; }
  const PeerInfo& peer() const override { return *peer_; }
  void OnBody(std::function<void(std::string_view)> data, std::function<void()> end) override;
  void OnClose(std::function<void()> callback) override { callbacks_->close = std::move(callback); }
  void SendHeaders(int status, const Headers& headers, bool end) override;
  void SendData(base::Slice data, bool end) override;
  void SendTrailers(const Headers& trailers) override;
  void Reset() override { Http2Stream::Reset(kHttp2Cancel); }
  size_t buffered() const override { return Http2Stream::buffered(); }
  void OnDrain(std::function<void()> callback) override { callbacks_->drain = std::move(callback); }
  void PauseBody(bool pause) override { Pause(pause); }
  std::unique_ptr<ByteStream> Upgrade(const Headers&) override { return nullptr; }

  // As the session sees it.
  void OnHead(Http2Head head) override;
  void OnTrailers(Headers) override {}
  void OnData(std::string_view data) override;
  void OnEnd() override;
  void OnDrained() override;
  void OnStreamClosed(uint32_t error, const base::Status& session) override;
  void OnDropped() override { callbacks_ = std::make_shared<Callbacks>(); }

 private:
  // Shared, so that a callback which ends the stream does not destroy itself.
  struct Callbacks {
    std::function<void(std::string_view)> data;
    std::function<void()> end, close, drain;
  };

  const std::shared_ptr<const ServerShared> shared_;
  const std::shared_ptr<const PeerInfo> peer_;
  RequestHead head_;
  std::shared_ptr<Callbacks> callbacks_ = std::make_shared<Callbacks>();
  bool headers_sent_ = false;
  bool expects_continue_ = false;
};

class Http2Server final : public Http2Session, public ServerProtocol {
 public:
  explicit Http2Server(ServerConnection& connection, Http2Limits limits)
      : Http2Session(connection.loop(), connection.socket(), true, limits),
        connection_(&connection) {}

  void OnBytes(std::string_view bytes) override { Http2Session::OnBytes(bytes); }
  void OnEnd(base::Status status) override {
    if (connection_ != nullptr) connection_->Close(status);
  }
  void OnWritable() override { Http2Session::OnWritable(); }
  void Shutdown() override { GoAway(); }
  void Close(const base::Status& status, bool quiet) override {
    connection_ = nullptr;
    Http2Session::Close(status, quiet);
  }
  base::Status Tick(uint64_t now) override;

  using Http2Session::SubmitInterim;
  using Http2Session::SubmitResponse;

 protected:
  std::shared_ptr<Http2Stream> NewStream() override {
    return std::make_shared<Http2ServerStream>(connection_->shared(), connection_->peer());
  }
  void OnSessionEnd(base::Status status) override {
    if (connection_ == nullptr) return;
    if (!status.ok()) return connection_->Close(status);
    connection_->Linger();
  }

 private:
  ServerConnection* connection_;
  uint64_t pinged_at_ = 0;
};

Http2ServerStream::Http2ServerStream(std::shared_ptr<const ServerShared> shared,
                                     std::shared_ptr<const PeerInfo> peer)
    : shared_(std::move(shared)), peer_(std::move(peer)) {}

void Http2ServerStream::OnHead(Http2Head head) {
  head_.method = std::move(head.method);
  head_.target = std::move(head.path);
  head_.authority = std::move(head.authority);
  if (const auto host = head.headers.Get("host"); host && head_.authority.empty())
    head_.authority = *host;
  head_.headers = std::move(head.headers);
  expects_continue_ = head_.headers.Get("expect") == "100-continue";
  shared_->handler(shared_from_this());
}

void Http2ServerStream::OnBody(std::function<void(std::string_view)> data,
                               std::function<void()> end) {
  callbacks_->data = std::move(data);
  callbacks_->end = std::move(end);
  if (session() == nullptr || headers_sent_ || !std::exchange(expects_continue_, false)) return;
  static_cast<Http2Server*>(session())->SubmitInterim(*this, 100);
}

void Http2ServerStream::SendHeaders(int status, const Headers& headers, bool end) {
  if (session() == nullptr || std::exchange(headers_sent_, true)) return;
  static_cast<Http2Server*>(session())->SubmitResponse(*this, status, headers,
                                                       end || head_.method == "HEAD");
}

void Http2ServerStream::SendData(base::Slice data, bool end) {
  if (!headers_sent_) SendHeaders(200, {}, false);
  SendBody(std::move(data), end);
}

void Http2ServerStream::SendTrailers(const Headers& trailers) {
  if (!headers_sent_) SendHeaders(200, {}, false);
  Http2Stream::SendTrailers(trailers);
}

void Http2ServerStream::OnData(std::string_view data) {
  const auto callbacks = callbacks_;
  if (callbacks->data) callbacks->data(data);
}

void Http2ServerStream::OnEnd() {
  const auto callbacks = callbacks_;
  if (callbacks->end) callbacks->end();
}

void Http2ServerStream::OnDrained() {
  const auto callbacks = callbacks_;
  if (callbacks->drain) callbacks->drain();
}

void Http2ServerStream::OnStreamClosed(uint32_t, const base::Status&) {
  // Lets go of what the callbacks hold, often the stream itself.
  const auto callbacks = std::exchange(callbacks_, std::make_shared<Callbacks>());
  if (callbacks->close) callbacks->close();
}

base::Status Http2Server::Tick(uint64_t now) {
  const auto period = std::chrono::duration_cast<std::chrono::milliseconds>(
      connection_->shared()->options.keepalive);
  if (period.count() <= 0) return {};
  const uint64_t heard = connection_->socket().last_read();
  if (pinged_at_ > heard) {
    if (now - pinged_at_ < static_cast<uint64_t>(period.count())) return {};
    return base::Error(base::Code::kUnavailable, "the client does not answer pings");
  }
  if (now - heard >= static_cast<uint64_t>(period.count())) {
    pinged_at_ = now;
    Ping();
  }
  return {};
}

}  // namespace

std::shared_ptr<ServerProtocol> NewHttp2Server(ServerConnection& connection) {
  Http2Limits limits;
  limits.max_concurrent_streams = connection.shared()->options.max_concurrent_streams;
  limits.max_header_bytes = connection.shared()->options.max_header_bytes;
  return std::make_shared<Http2Server>(connection, limits);
}

}  // namespace isthmus::http
