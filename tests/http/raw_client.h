#pragma once

#include <memory>
#include <string>

#include "base/loop.h"
#include "http/socket.h"

namespace isthmus::http {

/// Sends bytes as they are given and keeps what comes back, so that tests can misbehave.
class RawClient final : public SocketHandler {
 public:
  RawClient(base::Loop& loop, uint16_t port)
      : loop_(loop), socket_(std::make_unique<Socket>(loop, this)) {
    socket_->Connect(base::SocketAddress::From("127.0.0.1", port).value());
  }
  void Send(std::string_view bytes) {
    if (socket_ == nullptr) return;
    socket_->WriteCopy(bytes);
    socket_->FlushSoon();
  }
  void Finish() { socket_->Finish(); }
  void Drop() { socket_.reset(); }
  void Pause(bool pause) { socket_->Pause(pause); }
  size_t unsent() const { return socket_->buffered(); }
  /// Runs until the answer holds `text`, or is closed.
  bool WaitFor(std::string_view text) {
    return loop_.RunUntil([&] { return received.find(text) != std::string::npos || closed; },
                          std::chrono::seconds(10)) &&
           received.find(text) != std::string::npos;
  }
  bool WaitForClose() {
    return loop_.RunUntil([&] { return closed; }, std::chrono::seconds(10));
  }

  void OnBytes(std::string_view bytes) override { received += bytes; }
  void OnEnd(base::Status) override { closed = true; }
  void OnWritable() override {}

  std::string received;
  bool closed = false;

 private:
  base::Loop& loop_;
  std::unique_ptr<Socket> socket_;
};

}  // namespace isthmus::http
