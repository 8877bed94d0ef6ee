#include "http/stream_socket.h"

#include <optional>
#include <utility>

namespace isthmus::http {

// Reading is off until there is somebody to read to. Callbacks are copied before they are called:
// they may destroy the stream, or set another.
struct StreamSocket::State : SocketHandler, std::enable_shared_from_this<State> {
  explicit State(base::Loop& loop) : loop(loop) {}

  base::Loop& loop;
  std::unique_ptr<Socket> socket;
  std::string initial;
  std::shared_ptr<std::function<void(std::string_view)>> data;
  std::function<void(base::Status)> close;
  std::function<void()> drain;
  std::optional<base::Status> closed;  // Kept until somebody asks.
  bool close_told = false, paused = false, deliver_posted = false, gone = false;

  void OnBytes(std::string_view bytes) override {
    const auto self = shared_from_this();
    if (data == nullptr || paused || !initial.empty()) {
      initial += bytes;
      return;
    }
    const auto call = data;
    (*call)(bytes);
  }
  void OnEnd(base::Status status) override {
    const auto self = shared_from_this();
    if (!closed) closed = std::move(status);
    TellClosed();
  }
  void OnWritable() override {
    const auto self = shared_from_this();
    if (const auto call = drain) call();
  }

  void TellClosed() {
    if (!closed || close_told || gone || !close || !initial.empty()) return;
    close_told = true;
    const auto call = std::exchange(close, nullptr);
    call(*closed);
  }

  /// Hands on what waits, soon.
  void DeliverSoon() {
    if (std::exchange(deliver_posted, true)) return;
    loop.Post([weak = weak_from_this()] {
      const auto self = weak.lock();
      if (!self || self->gone) return;
      self->deliver_posted = false;
      if (self->data != nullptr && !self->paused) {
        if (!self->initial.empty()) {
          const auto call = self->data;
          const std::string bytes = std::exchange(self->initial, {});
          (*call)(bytes);
        }
        if (!self->gone && self->socket != nullptr) self->socket->Pause(self->paused);
      }
      self->TellClosed();
    });
  }
};

StreamSocket::StreamSocket(base::Loop& loop, std::unique_ptr<Socket> socket, std::string initial)
    : state_(std::make_shared<State>(loop)) {
  state_->initial = std::move(initial);
  state_->socket = std::move(socket);
  state_->socket->set_handler(state_.get());
  state_->socket->Pause(true);
}

StreamSocket::~StreamSocket() {
  state_->gone = true;
  state_->socket.reset();
  state_->data.reset();
  // Destroyed soon: one of them may be running.
  state_->loop.Post([close = std::move(state_->close), drain = std::move(state_->drain)] {});
}

void StreamSocket::OnData(std::function<void(std::string_view)> callback) {
  state_->data = std::make_shared<std::function<void(std::string_view)>>(std::move(callback));
  state_->DeliverSoon();
}

void StreamSocket::OnClose(std::function<void(base::Status)> callback) {
  state_->close = std::move(callback);
  state_->DeliverSoon();
}

void StreamSocket::Write(base::Slice bytes) {
  state_->socket->Write(std::move(bytes));
  state_->socket->FlushSoon();
}

void StreamSocket::Finish() { state_->socket->Finish(); }
size_t StreamSocket::buffered() const { return state_->socket->buffered(); }
void StreamSocket::OnDrain(std::function<void()> callback) { state_->drain = std::move(callback); }

void StreamSocket::PauseReading(bool pause) {
  state_->paused = pause;
  if (pause) {
    state_->socket->Pause(true);
  } else {
    state_->DeliverSoon();
  }
}

std::function<void(std::string_view)> StreamSocket::InitialAppender() {
  return [weak = std::weak_ptr(state_)](std::string_view bytes) {
    if (const auto state = weak.lock()) {
      state->initial += bytes;
      state->DeliverSoon();
    }
  };
}

}  // namespace isthmus::http
