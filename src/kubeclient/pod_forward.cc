#include "kubeclient/pod_forward.h"

#include <fmt/format.h>

#include <set>

#include "http/tcp.h"
#include "http/websocket.h"
#include "kubeapi/resources.h"

namespace isthmus::kubeclient {
namespace {

using base::Result;
using base::Status;

/// Channels of the first (and only) port that is asked for. The first message of each is the port's
/// number.
enum ForwardChannel : char { kData = 0, kError = 1 };

/// More than this unsent on one side stops reading on the other.
constexpr size_t kMaxBuffered = 1 << 20;

/// One connection: what a local client says goes to the pod, and back.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(std::unique_ptr<http::ByteStream> local,
             std::function<void(const std::string&)> failed, std::function<void(Connection*)> over)
      : local_(std::move(local)), failed_(std::move(failed)), over_(std::move(over)) {}

  void Start(Client& client, const ForwardTarget& target) {
    local_->OnData([weak = weak_from_this()](std::string_view bytes) {
      if (auto self = weak.lock()) self->FromLocal(bytes);
    });
    local_->OnClose([weak = weak_from_this()](const Status&) {
      if (auto self = weak.lock()) self->End();
    });
    const std::string path = fmt::format(
        "{}/portforward?ports={}",
        kubeapi::kPods.Path(http::UrlEncode(target.ns), http::UrlEncode(target.pod)), target.port);
    http::RequestHead head = http::WebSocketRequest(path, {"v4.channel.k8s.io"});
    client.Upgrade(head, [weak = weak_from_this(), head](auto upgraded) {
      auto self = weak.lock();
      if (self == nullptr) return;
      if (!upgraded.ok()) return self->Fail(upgraded.status());
      if (const Status answer = http::CheckWebSocketAnswer(head, upgraded->first); !answer.ok())
        return self->Fail(answer);
      self->Attach(std::move(upgraded->second));
    });
  }

 private:
  void Attach(std::unique_ptr<http::ByteStream> stream) {
    remote_ = std::make_unique<http::WebSocket>(std::move(stream), http::WebSocket::Role::kClient);
    remote_->OnMessage([weak = weak_from_this()](std::string_view message, bool) {
      if (auto self = weak.lock()) self->FromPod(message);
    });
    remote_->OnClose([weak = weak_from_this()](const Status&) {
      if (auto self = weak.lock()) self->End();
    });
    remote_->OnDrain([weak = weak_from_this()] {
      if (auto self = weak.lock()) self->local_->PauseReading(false);
    });
    local_->OnDrain([weak = weak_from_this()] {
      if (auto self = weak.lock(); self && self->remote_) self->remote_->PauseReading(false);
    });
    if (!early_.empty()) FromLocal(std::exchange(early_, ""));
  }

  void FromLocal(std::string_view bytes) {
    if (remote_ == nullptr) {
      early_ += bytes;
      if (early_.size() > kMaxBuffered) local_->PauseReading(true);
      return;
    }
    std::string message(1, kData);
    message += bytes;
    remote_->Send(message);
    if (remote_->buffered() > kMaxBuffered) local_->PauseReading(true);
  }

  void FromPod(std::string_view message) {
    if (message.empty() || message[0] < kData || message[0] > kError) return;
    const char channel = message[0];
    message.remove_prefix(1);
    if (!std::exchange(opened_[static_cast<size_t>(channel)], true)) return;
    if (channel == kError) return Fail(Status(base::Code::kUnavailable, std::string(message)));
    local_->Write(base::Slice::Copy(message));
    if (local_->buffered() > kMaxBuffered) remote_->PauseReading(true);
  }

  void Fail(const Status& status) {
    failed_(status.message());
    End();
  }

  /// Both ends close when one does.
  void End() {
    if (ended_) return;
    ended_ = true;
    local_->Finish();
    if (remote_) remote_->Close();
    over_(this);
  }

  std::unique_ptr<http::ByteStream> local_;
  std::unique_ptr<http::WebSocket> remote_;
  std::string early_;  ///< What came before the way to the pod was open.
  bool opened_[2] = {false, false};
  bool ended_ = false;
  std::function<void(const std::string&)> failed_;
  std::function<void(Connection*)> over_;
};

}  // namespace

struct PodForward::Impl : std::enable_shared_from_this<PodForward::Impl> {
  Impl(base::Loop& l, Client& c, ForwardTarget t, std::function<void(const std::string&)> f)
      : loop(l), client(c), target(std::move(t)), failed(std::move(f)) {}

  void Accept(std::unique_ptr<http::ByteStream> stream) {
    auto connection = std::make_shared<Connection>(
        std::move(stream), failed, [weak = weak_from_this()](Connection* over) {
          auto self = weak.lock();
          if (self == nullptr) return;
          // Not inside its own callback.
          self->loop.Post([weak, over] {
            auto owner = weak.lock();
            if (owner == nullptr) return;
            std::erase_if(owner->connections,
                          [over](const auto& one) { return one.get() == over; });
          });
        });
    connections.insert(connection);
    connection->Start(client, target);
  }

  base::Loop& loop;
  Client& client;
  const ForwardTarget target;
  const std::function<void(const std::string&)> failed;
  std::unique_ptr<http::TcpListener> listener;
  std::set<std::shared_ptr<Connection>> connections;
};

Result<std::unique_ptr<PodForward>> PodForward::Listen(
    base::Loop& loop, Client& client, ForwardTarget target, const std::string& address,
    uint16_t port, std::function<void(const std::string&)> failed) {
  auto impl = std::make_shared<Impl>(loop, client, std::move(target), std::move(failed));
  ASSIGN_OR_RETURN(
      impl->listener,
      http::TcpListener::Listen(loop, address, port,
                                [weak = std::weak_ptr<Impl>(impl)](
                                    std::unique_ptr<http::ByteStream> stream, const std::string&) {
                                  if (auto self = weak.lock()) self->Accept(std::move(stream));
                                }),
      "listening");
  return std::unique_ptr<PodForward>(new PodForward(std::move(impl)));
}

PodForward::PodForward(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
PodForward::~PodForward() = default;
uint16_t PodForward::port() const { return impl_->listener->port(); }

}  // namespace isthmus::kubeclient
