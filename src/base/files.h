#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/loop.h"
#include "base/result.h"

namespace isthmus::base {

/// The whole file. kNotFound when there is none; errors name the path.
Result<std::string> ReadFile(const std::string& path);

/// Replaces the file as one step: whoever reads it, also after a crash, sees the old content or the
/// new. The folder must exist.
Status WriteFile(const std::string& path, std::string_view content, int mode = 0644);

/// Makes the folder and those above it.
Status MakeDirs(const std::string& path, int mode = 0755);
bool Exists(const std::string& path);
/// Removes a file; OK when there is none.
Status RemoveFile(const std::string& path);
/// The names in a folder, sorted, without "." and "..".
Result<std::vector<std::string>> ListDir(const std::string& path);

/// Tells when one of some files appears, changes or goes, also when it is replaced through a
/// symbolic link as kubelets do with config maps and secrets. Calls back once for changes that come
/// together. The callback may destroy it.
class FileWatcher {
 public:
  FileWatcher(Loop& loop, std::vector<std::string> paths, std::function<void()> changed,
              Duration period = std::chrono::seconds(1));
  ~FileWatcher();
  FileWatcher(const FileWatcher&) = delete;
  FileWatcher& operator=(const FileWatcher&) = delete;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace isthmus::base
