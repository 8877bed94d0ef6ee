#include "lab/network/fd_stream.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace isthmus::lab::network {

FdStream::FdStream(base::Loop& loop, Fd fd, Events events)
    : loop_(loop), fd_(std::move(fd)), events_(std::move(events)) {
  fcntl(fd_.get(), F_SETFL, fcntl(fd_.get(), F_GETFL) | O_NONBLOCK);
  struct stat info {};
  is_socket_ = fstat(fd_.get(), &info) == 0 && S_ISSOCK(info.st_mode);
  PauseReading(false);
}

void FdStream::PauseReading(bool pause) {
  if (pause || ended_ || events_.data == nullptr) return reads_.Cancel();
  if (!reads_.active()) reads_ = FdWatch::Readable(loop_, fd_.get(), [this] { Read(); });
}

void FdStream::Read() {
  char buffer[32768];
  const ssize_t n = read(fd_.get(), buffer, sizeof buffer);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n > 0) {
    const auto data = events_.data;  // A copy: the callback may destroy this.
    return data({buffer, static_cast<size_t>(n)});
  }
  reads_.Cancel();
  ended_ = true;
  const auto end = events_.end;
  if (end) end();
}

void FdStream::Write(std::string_view bytes) {
  if (!fd_.valid() || finishing_) return;
  unsent_.append(bytes);
  Flush();
}

void FdStream::FinishWriting() {
  finishing_ = true;
  Flush();
}

void FdStream::Flush() {
  while (!unsent_.empty()) {
    const ssize_t n = is_socket_ ? send(fd_.get(), unsent_.data(), unsent_.size(), MSG_NOSIGNAL)
                                 : write(fd_.get(), unsent_.data(), unsent_.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == ENOTCONN || errno == EINPROGRESS)) {
      if (!writes_.active()) writes_ = FdWatch::Writable(loop_, fd_.get(), [this] { Flush(); });
      return;
    }
    if (n < 0) {
      unsent_.clear();  // Nobody reads any more; the reading side tells the end.
      break;
    }
    unsent_.erase(0, static_cast<size_t>(n));
  }
  const bool waited = writes_.active();
  writes_.Cancel();
  if (finishing_) {
    if (is_socket_)
      shutdown(fd_.get(), SHUT_WR);
    else if (events_.data == nullptr)
      fd_.Reset();
  }
  const auto drained = events_.drained;
  if (waited && drained) drained();
}

}  // namespace isthmus::lab::network
