#pragma once

#include <string>
#include <string_view>

namespace isthmus::lab::node {

/// Writes what a container prints, in the line format of container runtimes:
///   2026-11-21T13:56:00.123456789Z stdout F text of the line
/// A line without its end yet is kept until the end comes or it reaches 16 KB ("P", partial). At
/// `max_bytes` the file is set aside as <path>.1 and begun anew, so that nothing grows without
/// bound.
class ContainerLog {
 public:
  explicit ContainerLog(int folder_fd, std::string name, size_t max_bytes = 20 << 20);
  ~ContainerLog();
  ContainerLog(const ContainerLog&) = delete;
  ContainerLog& operator=(const ContainerLog&) = delete;

  void Write(bool is_stderr, std::string_view bytes);
  /// Writes what is left of unfinished lines.
  void Flush();

 private:
  void Open();
  void Emit(bool is_stderr, std::string_view text, bool full);

  const int folder_fd_;  // Works after the root has changed, unlike a path.
  const std::string name_;
  const size_t max_bytes_;
  int fd_ = -1;
  size_t written_ = 0;
  std::string pending_[2];
};

/// "2026-11-21T13:56:00.123456789Z"
std::string NowWithNanoseconds();

}  // namespace isthmus::lab::node
