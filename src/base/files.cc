#include "base/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

namespace isthmus::base {
namespace {

Status FileError(std::string_view doing, std::string_view path, int error) {
  return Error(CodeOfErrno(error, Code::kUnknown), "{} {}: {}", doing, path, std::strerror(error));
}

/// Closes the descriptor when it goes.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

int WriteAll(int fd, std::string_view content) {
  while (!content.empty()) {
    const ssize_t written = ::write(fd, content.data(), content.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      return errno;
    }
    content.remove_prefix(static_cast<size_t>(written));
  }
  return 0;
}

std::string FolderOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

Result<std::string> ReadFile(const std::string& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return FileError("reading", path, errno);
  std::string content;
  struct stat info {};
  if (::fstat(file.get(), &info) == 0 && info.st_size > 0) {
    content.reserve(static_cast<size_t>(info.st_size) + 1);
  }
  char buffer[16384];
  while (true) {
    const ssize_t count = ::read(file.get(), buffer, sizeof buffer);
    if (count < 0) {
      if (errno == EINTR) continue;
      return FileError("reading", path, errno);
    }
    if (count == 0) return content;
    content.append(buffer, static_cast<size_t>(count));
  }
}

Status WriteFile(const std::string& path, std::string_view content, int mode) {
  std::string temporary = path + ".XXXXXX";
  const Descriptor file(::mkostemp(temporary.data(), O_CLOEXEC));
  if (file.get() < 0) return FileError("writing", path, errno);
  int error = WriteAll(file.get(), content);
  if (error == 0 && ::fchmod(file.get(), static_cast<mode_t>(mode)) != 0) error = errno;
  if (error == 0 && ::fsync(file.get()) != 0) error = errno;
  if (error == 0 && ::rename(temporary.c_str(), path.c_str()) != 0) error = errno;
  if (error != 0) {
    ::unlink(temporary.c_str());
    return FileError("writing", path, error);
  }
  // The new name is durable once the folder is; a file system that cannot sync folders is none of
  // ours.
  const Descriptor folder(::open(FolderOf(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.get() >= 0) ::fsync(folder.get());
  return {};
}

Status MakeDirs(const std::string& path, int mode) {
  for (size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
    const std::string part = path.substr(0, end);
    if (::mkdir(part.c_str(), static_cast<mode_t>(mode)) != 0) {
      const int error = errno;
      struct stat info {};
      if (::stat(part.c_str(), &info) != 0) return FileError("making folder", part, error);
      if (!S_ISDIR(info.st_mode)) {
        return Error(Code::kAlreadyExists, "making folder {}: {} is a file", path, part);
      }
    }
    if (end == std::string::npos) return {};
  }
}

bool Exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

Status RemoveFile(const std::string& path) {
  if (::unlink(path.c_str()) == 0 || errno == ENOENT) return {};
  return FileError("removing", path, errno);
}

Result<std::vector<std::string>> ListDir(const std::string& path) {
  std::error_code error;
  std::vector<std::string> names;
  for (std::filesystem::directory_iterator it(path, error), end; !error && it != end;
       it.increment(error)) {
    names.push_back(it->path().filename().string());
  }
  if (error) return FileError("listing", path, error.value());
  std::sort(names.begin(), names.end());
  return names;
}

namespace {

/// What stat() tells of one file; differs whenever the file was replaced or written.
struct Mark {
  bool exists = false;
  dev_t device = 0;
  ino_t inode = 0;
  off_t size = 0;
  int64_t changed_s = 0, changed_ns = 0, modified_s = 0, modified_ns = 0;
  bool operator==(const Mark&) const = default;
};

std::vector<Mark> MarksOf(const std::vector<std::string>& paths) {
  std::vector<Mark> marks;
  marks.reserve(paths.size());
  for (const std::string& path : paths) {
    struct stat info {};
    Mark mark;
    if (::stat(path.c_str(), &info) == 0) {
      mark = {true,
              info.st_dev,
              info.st_ino,
              info.st_size,
              info.st_ctim.tv_sec,
              info.st_ctim.tv_nsec,
              info.st_mtim.tv_sec,
              info.st_mtim.tv_nsec};
    }
    marks.push_back(mark);
  }
  return marks;
}

}  // namespace

// Asked by stat() rather than by inotify: it follows links, sees network file systems, needs no
// watch descriptors, and costs a few microseconds a second.
struct FileWatcher::State {
  std::vector<std::string> paths;
  std::function<void()> changed;
  std::vector<Mark> marks;
  Timer timer;
};

FileWatcher::FileWatcher(Loop& loop, std::vector<std::string> paths, std::function<void()> changed,
                         Duration period)
    : state_(std::make_shared<State>()) {
  state_->paths = std::move(paths);
  state_->changed = std::move(changed);
  state_->marks = MarksOf(state_->paths);
  state_->timer = Timer::Every(loop, period, [weak = std::weak_ptr(state_)] {
    const auto state = weak.lock();
    if (!state) return;
    auto marks = MarksOf(state->paths);
    if (marks == state->marks) return;
    state->marks = std::move(marks);
    state->changed();
  });
}

FileWatcher::~FileWatcher() = default;

}  // namespace isthmus::base
