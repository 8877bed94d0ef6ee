#pragma once

#include <memory>
#include <string>

#include "base/loop.h"
#include "http/byte_stream.h"
#include "http/socket.h"

namespace isthmus::http {

/// A ByteStream on a Socket. Internal to http.
class StreamSocket final : public ByteStream {
 public:
  /// `initial` are bytes that came before; they are handed on first.
  StreamSocket(base::Loop& loop, std::unique_ptr<Socket> socket, std::string initial);
  ~StreamSocket() override;

  void OnData(std::function<void(std::string_view)> callback) override;
  void OnClose(std::function<void(base::Status)> callback) override;
  void Write(base::Slice bytes) override;
  void Finish() override;
  size_t buffered() const override;
  void OnDrain(std::function<void()> callback) override;
  void PauseReading(bool pause) override;

  /// Puts bytes behind `initial`, for an owner that learns of them just after it made the stream.
  std::function<void(std::string_view)> InitialAppender();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace isthmus::http
