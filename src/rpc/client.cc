#include "rpc/client.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

#include "rpc/framing.h"

namespace isthmus::rpc {
namespace {

// A server is believed more than a client, but not without end.
constexpr size_t kMaxMessage = size_t{512} << 20;

/// A call on a client stream. The stream's callbacks hold it weakly, so that the user's last
/// reference cancels the call.
class HttpClientCall final : public ClientCall,
                             public std::enable_shared_from_this<HttpClientCall> {
 public:
  explicit HttpClientCall(ClientCallEvents events)
      : events_(std::make_shared<ClientCallEvents>(std::move(events))), reader_(kMaxMessage) {}
  ~HttpClientCall() override {
    if (stream_ != nullptr) stream_->Cancel();
  }

  void Start(http::Client& client, std::string method, http::Headers metadata) {
    http::RequestHead head;
    head.method = "POST";
    head.target = std::move(method);
    head.headers = std::move(metadata);
    head.headers.Set("content-type", "application/grpc");
    head.headers.Set("te", "trailers");
    std::weak_ptr<HttpClientCall> weak = shared_from_this();
    http::ClientEvents events;
    events.head = [weak](http::ResponseHead response) {
      if (auto self = weak.lock()) self->OnHead(response);
    };
    events.data = [weak](std::string_view data) {
      if (auto self = weak.lock()) self->OnData(data);
    };
    events.trailers = [weak](http::Headers trailers) {
      if (auto self = weak.lock()) self->TakeStatus(trailers);
    };
    events.close = [weak](base::Status status) {
      if (auto self = weak.lock()) self->OnClosed(status);
    };
    stream_ = client.Open(std::move(head), false, std::move(events));
  }

  void Send(std::vector<base::Slice> parts) override {
    if (stream_ == nullptr) return;
    size_t size = 0;
    for (const base::Slice& part : parts) size += part.size();
    stream_->SendData(MessagePrefix(size));
    for (base::Slice& part : parts)
      if (stream_ != nullptr && !part.empty()) stream_->SendData(std::move(part));
  }
  void HalfClose() override {
    if (stream_ != nullptr) stream_->SendData(base::Slice(), true);
  }
  size_t buffered() const override { return stream_ == nullptr ? 0 : stream_->buffered(); }
  void OnDrain(std::function<void()> callback) override {
    if (stream_ != nullptr) stream_->OnDrain(std::move(callback));
  }

 private:
  void OnHead(const http::ResponseHead& response) {
    http_status_ = response.status;
    TakeStatus(response.headers);
  }

  void TakeStatus(const http::Headers& headers) {
    auto text = headers.Get("grpc-status");
    if (!text.has_value()) return;
    int code = -1;
    std::from_chars(text->data(), text->data() + text->size(), code);
    if (code < 0 || code > 16) code = static_cast<int>(base::Code::kUnknown);
    status_ = base::Status(static_cast<base::Code>(code),
                           DecodeGrpcMessage(headers.Get("grpc-message").value_or("")));
  }

  void OnData(std::string_view data) {
    // The caller holds one reference; without another the user has dropped the call.
    const std::weak_ptr<HttpClientCall> users = weak_from_this();
    base::Status status = reader_.Feed(
        data,
        [events = events_](std::string_view message) {
          if (events->message) events->message(message);
        },
        [this, &users] { return !closed_ && users.use_count() > 1; });
    if (!status.ok()) Close(status);
  }

  void OnClosed(const base::Status& transport) {
    if (status_.has_value()) return Close(*status_);
    if (transport.code() == base::Code::kCancelled) return Close(transport);
    if (!transport.ok()) return Close(base::Status(base::Code::kUnavailable, transport.message()));
    if (http_status_ != 200) return Close(StatusOfHttp(http_status_));
    Close(base::Error(base::Code::kInternal, "the answer ended without a gRPC status"));
  }

  void Close(base::Status status) {
    if (closed_) return;
    closed_ = true;
    auto keep = shared_from_this();
    stream_.reset();
    const auto events = std::exchange(events_, std::make_shared<ClientCallEvents>());
    if (events->close) events->close(std::move(status));
  }

  // Shared with the callback that runs, which may end the call.
  std::shared_ptr<ClientCallEvents> events_;
  MessageReader reader_;
  std::shared_ptr<http::ClientStream> stream_;
  std::optional<base::Status> status_;
  int http_status_ = 0;
  bool closed_ = false;
};

}  // namespace

std::shared_ptr<ClientCall> StartCall(http::Client& client, std::string method,
                                      http::Headers metadata, ClientCallEvents events) {
  auto call = std::make_shared<HttpClientCall>(std::move(events));
  call->Start(client, std::move(method), std::move(metadata));
  return call;
}

void UnaryCall(http::Client& client, std::string method, http::Headers metadata,
               std::string request, base::Duration timeout,
               std::function<void(base::Result<std::string>)> done) {
  // Kept alive by its own events until the call is over.
  struct Unary {
    std::shared_ptr<ClientCall> call;
    std::optional<std::string> answer;
    std::function<void(base::Result<std::string>)> done;
    base::Timer timer;
  };
  auto unary = std::make_shared<Unary>();
  unary->done = std::move(done);
  auto finish = [unary](base::Result<std::string> result) {
    if (!unary->done) return;
    auto done = std::move(unary->done);
    unary->done = nullptr;
    unary->timer.Cancel();
    auto call = std::move(unary->call);
    done(std::move(result));
  };
  ClientCallEvents events;
  events.message = [unary](std::string_view answer) { unary->answer = std::string(answer); };
  events.close = [unary, finish](base::Status status) {
    if (!status.ok()) return finish(status);
    if (!unary->answer.has_value())
      return finish(base::Error(base::Code::kInternal, "the call ended without an answer"));
    finish(std::move(*unary->answer));
  };
  if (timeout.count() > 0) {
    // At most eight digits (gRPC over HTTP/2), so in milliseconds.
    const auto ms = std::chrono::ceil<std::chrono::milliseconds>(timeout).count();
    metadata.Set("grpc-timeout", std::to_string(std::min<int64_t>(ms, 99999999)) + "m");
  }
  unary->call = StartCall(client, std::move(method), std::move(metadata), std::move(events));
  if (timeout.count() > 0)
    unary->timer = base::Timer::After(client.loop(), timeout, [finish] {
      finish(base::Error(base::Code::kDeadlineExceeded, "no answer in time"));
    });
  unary->call->Send({base::Slice(std::move(request))});
  if (unary->call) unary->call->HalfClose();
}

}  // namespace isthmus::rpc
