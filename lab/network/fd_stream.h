#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/loop.h"
#include "lab/network/fd.h"
#include "lab/network/fd_watch.h"

namespace isthmus::lab::network {

/// Bytes in and out of a pipe, a terminal or a socket, without blocking. Lives on its loop; its
/// callbacks may destroy it.
class FdStream {
 public:
  struct Events {
    std::function<void(std::string_view)> data;  ///< Null: it is not read.
    std::function<void()> end;                   ///< Once: no more data, or it broke.
    std::function<void()> drained;               ///< Everything written was taken.
  };
  FdStream(base::Loop& loop, Fd fd, Events events);
  FdStream(const FdStream&) = delete;
  FdStream& operator=(const FdStream&) = delete;

  void Write(std::string_view bytes);
  /// Closes the writing side when all is written.
  void FinishWriting();
  void PauseReading(bool pause);
  size_t buffered() const { return unsent_.size(); }
  int fd() const { return fd_.get(); }

 private:
  void Read();
  void Flush();

  base::Loop& loop_;
  Fd fd_;
  Events events_;
  FdWatch reads_, writes_;
  std::string unsent_;
  bool finishing_ = false, ended_ = false, is_socket_ = false;
};

}  // namespace isthmus::lab::network
