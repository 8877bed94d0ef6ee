#include "rpc/server.h"

#include <utility>

#include "rpc/framing.h"

namespace isthmus::rpc {
namespace {

/// A call on an HTTP stream. The stream's callbacks keep it alive until the stream is closed; then
/// it lets go of the stream and of its user's callbacks, which breaks the circle.
class HttpServerCall final : public ServerCall,
                             public std::enable_shared_from_this<HttpServerCall> {
 public:
  HttpServerCall(std::shared_ptr<http::ServerStream> stream, std::string method, size_t limit)
      : stream_(std::move(stream)),
        peer_(stream_->peer()),
        metadata_(stream_->head().headers),
        method_(std::move(method)),
        reader_(limit) {}

  void Attach() {
    auto self = shared_from_this();
    stream_->OnBody([self](std::string_view data) { self->OnData(data); },
                    [self] { self->OnEnd(); });
    // The stream's callbacks go without being called when the server is destroyed; that is seen by
    // what they hold.
    std::shared_ptr<void> dropped(this, [weak = weak_from_this()](void*) {
      if (auto self = weak.lock()) self->Forget();
    });
    stream_->OnClose([self, dropped = std::move(dropped)] { self->Close(); });
  }

  const std::string& method() const override { return method_; }
  const http::Headers& metadata() const override { return metadata_; }
  const http::PeerInfo& peer() const override { return peer_; }

  void OnMessage(std::function<void(std::string_view)> message,
                 std::function<void()> half_close) override {
    user_->message = std::move(message);
    user_->half_close = std::move(half_close);
  }
  void OnClose(std::function<void()> callback) override { user_->close = std::move(callback); }

  void Send(std::vector<base::Slice> parts) override {
    if (stream_ == nullptr || finished_) return;
    SendHead();
    size_t size = 0;
    for (const base::Slice& part : parts) size += part.size();
    stream_->SendData(MessagePrefix(size));
    for (base::Slice& part : parts)
      if (stream_ != nullptr && !part.empty()) stream_->SendData(std::move(part));
  }

  void Finish(const base::Status& status) override {
    if (stream_ == nullptr || finished_) return;
    finished_ = true;
    http::Headers trailers;
    trailers.Add("grpc-status", std::to_string(static_cast<int>(status.code())));
    if (!status.ok()) trailers.Add("grpc-message", EncodeGrpcMessage(status.message()));
    if (head_sent_) {
      stream_->SendTrailers(trailers);
    } else {
      http::Headers head{{"content-type", "application/grpc"}};
      for (const auto& [name, value] : trailers.all()) head.Add(name, value);
      stream_->SendHeaders(200, head, true);
    }
  }

  size_t buffered() const override { return stream_ == nullptr ? 0 : stream_->buffered(); }
  void OnDrain(std::function<void()> callback) override {
    if (stream_ != nullptr) stream_->OnDrain(std::move(callback));
  }

 private:
  // The user's callbacks; shared with the one that runs, which may end the call.
  struct User {
    std::function<void(std::string_view)> message;
    std::function<void()> half_close, close;
  };

  void SendHead() {
    if (head_sent_) return;
    head_sent_ = true;
    stream_->SendHeaders(200, {{"content-type", "application/grpc"}});
  }

  void OnData(std::string_view data) {
    if (finished_) return;
    base::Status status = reader_.Feed(
        data,
        [user = user_](std::string_view message) {
          if (user->message) user->message(message);
        },
        [this] { return !finished_ && stream_ != nullptr; });
    if (!status.ok()) Finish(status);
  }

  void OnEnd() {
    if (finished_) return;
    if (reader_.partial())
      return Finish(base::Error(base::Code::kInternal, "the request ended inside a message"));
    const auto user = user_;
    if (user->half_close) user->half_close();
  }

  void Close() {
    const auto user = Forget();
    if (user->close) user->close();
  }
  /// Lets go of the stream and of what the user's callbacks hold, often the call itself.
  std::shared_ptr<User> Forget() {
    const auto keep = shared_from_this();
    stream_.reset();
    finished_ = true;
    return std::exchange(user_, std::make_shared<User>());
  }

  std::shared_ptr<http::ServerStream> stream_;
  const http::PeerInfo peer_;
  const http::Headers metadata_;
  const std::string method_;
  MessageReader reader_;
  bool head_sent_ = false;
  bool finished_ = false;
  std::shared_ptr<User> user_ = std::make_shared<User>();
};

}  // namespace

bool Router::IsGrpc(const http::RequestHead& head) {
  auto type = head.headers.Get("content-type");
  return type.has_value() && type->starts_with("application/grpc");
}

void Router::Serve(std::shared_ptr<http::ServerStream> stream) {
  if (stream->head().method != "POST" || !IsGrpc(stream->head())) {
    stream->Respond(415, "text/plain", "only gRPC requests are served here\n");
    return;
  }
  std::string method = stream->head().path();
  auto handler = handlers_.find(method);
  auto call = std::make_shared<HttpServerCall>(std::move(stream), method, max_message_bytes_);
  call->Attach();
  if (handler == handlers_.end()) {
    call->Finish(base::Error(base::Code::kUnimplemented, "unknown method {}", method));
    return;
  }
  handler->second(std::move(call));
}

}  // namespace isthmus::rpc
