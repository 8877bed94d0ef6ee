#include "lab/network/fd_watch.h"

#include <sys/epoll.h>
#include <unistd.h>
#include <uv.h>

namespace isthmus::lab::network {
namespace {

// One watch: a duplicate of the descriptor, because libuv allows one poll handle a descriptor and a
// container's terminal is both read and written.
struct Watch {
  uv_poll_t poll;
  int fd = -1;
  std::function<void()> task;
};

void OnEvent(uv_poll_t* poll, int /*status*/, int /*events*/) {
  // An error (the other end has gone) counts as ready: the owner's read or write then tells which.
  auto task = static_cast<Watch*>(poll->data)->task;
  task();
}

void OnClosed(uv_handle_t* handle) {
  auto* watch = static_cast<Watch*>(handle->data);
  ::close(watch->fd);
  delete watch;
}

}  // namespace

FdWatch FdWatch::Start(base::Loop& loop, int fd, int events, std::function<void()> task) {
  auto* watch = new Watch;
  watch->fd = ::dup(fd);
  watch->task = std::move(task);
  watch->poll.data = watch;
  FdWatch result;
  if (uv_poll_init(loop.uv(), &watch->poll, watch->fd) != 0) {
    ::close(watch->fd);
    delete watch;
    return result;
  }
  uv_poll_start(&watch->poll, events, OnEvent);
  result.handle_ = std::shared_ptr<void>(watch, [](void* pointer) {
    auto* dead = static_cast<Watch*>(pointer);
    uv_poll_stop(&dead->poll);
    uv_close(reinterpret_cast<uv_handle_t*>(&dead->poll), OnClosed);
  });
  return result;
}

FdWatch FdWatch::Readable(base::Loop& loop, int fd, std::function<void()> task) {
  return Start(loop, fd, UV_READABLE | UV_DISCONNECT, std::move(task));
}

FdWatch FdWatch::Writable(base::Loop& loop, int fd, std::function<void()> task) {
  return Start(loop, fd, UV_WRITABLE, std::move(task));
}

}  // namespace isthmus::lab::network
