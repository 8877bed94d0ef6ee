#pragma once

#include <functional>
#include <memory>

#include "base/loop.h"

namespace isthmus::lab::network {

/// Calls back each time a file descriptor can be read (or written) without blocking. For what base
/// does not know: pidfds, pipes of containers, terminals, UDP sockets of a namespace. It does not
/// own the descriptor, which must stay open as long as the watch. Lives on its loop; the callback
/// may destroy it.
class FdWatch {
 public:
  FdWatch() = default;
  static FdWatch Readable(base::Loop& loop, int fd, std::function<void()> task);
  static FdWatch Writable(base::Loop& loop, int fd, std::function<void()> task);
  void Cancel() { handle_.reset(); }
  bool active() const { return handle_ != nullptr; }

 private:
  static FdWatch Start(base::Loop& loop, int fd, int events, std::function<void()> task);
  std::shared_ptr<void> handle_;
};

}  // namespace isthmus::lab::network
