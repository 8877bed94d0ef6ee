#include "lab/node/container_log.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ctime>

namespace isthmus::lab::node {
namespace {
constexpr size_t kLongestLine = 16 * 1024;
}

std::string NowWithNanoseconds() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  tm parts{};
  gmtime_r(&now.tv_sec, &parts);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:09}Z", parts.tm_year + 1900,
                     parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
                     now.tv_nsec);
}

ContainerLog::ContainerLog(int folder_fd, std::string name, size_t max_bytes)
    : folder_fd_(folder_fd), name_(std::move(name)), max_bytes_(max_bytes) {
  Open();
}

ContainerLog::~ContainerLog() {
  Flush();
  if (fd_ >= 0) close(fd_);
}

void ContainerLog::Open() {
  fd_ = openat(folder_fd_, name_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
  struct stat info {};
  written_ = fd_ >= 0 && fstat(fd_, &info) == 0 ? static_cast<size_t>(info.st_size) : 0;
}

void ContainerLog::Emit(bool is_stderr, std::string_view text, bool full) {
  const std::string line = fmt::format("{} {} {} {}\n", NowWithNanoseconds(),
                                       is_stderr ? "stderr" : "stdout", full ? 'F' : 'P', text);
  if (fd_ >= 0 && write(fd_, line.data(), line.size()) > 0) written_ += line.size();
  if (written_ < max_bytes_) return;
  close(fd_);
  renameat(folder_fd_, name_.c_str(), folder_fd_, (name_ + ".1").c_str());
  Open();
}

void ContainerLog::Write(bool is_stderr, std::string_view bytes) {
  std::string& pending = pending_[is_stderr ? 1 : 0];
  while (!bytes.empty()) {
    const size_t end = bytes.find('\n');
    if (end != std::string_view::npos && pending.size() + end <= kLongestLine) {
      pending.append(bytes.substr(0, end));
      Emit(is_stderr, pending, true);
      pending.clear();
      bytes.remove_prefix(end + 1);
      continue;
    }
    const size_t room = kLongestLine - pending.size();
    pending.append(bytes.substr(0, room));
    bytes.remove_prefix(bytes.size() < room ? bytes.size() : room);
    if (pending.size() == kLongestLine) {
      Emit(is_stderr, pending, false);
      pending.clear();
    }
  }
}

void ContainerLog::Flush() {
  for (const bool is_stderr : {false, true}) {
    std::string& pending = pending_[is_stderr ? 1 : 0];
    if (!pending.empty()) Emit(is_stderr, pending, false);
    pending.clear();
  }
}

}  // namespace isthmus::lab::node
