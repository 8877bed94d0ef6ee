#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/loop.h"
#include "base/result.h"
#include "base/slice.h"

struct uv_handle_s;

namespace isthmus::base {

/// How a child ended.
struct ExitStatus {
  int code = 0;
  int signal = 0;  ///< Not 0 when a signal ended it.
  bool ok() const { return code == 0 && signal == 0; }
  /// "exit code 3" or "signal 9 (Killed)".
  std::string text() const;
};

/// A child's standard input, output or error.
struct ChildStream {
  enum class Kind { kInherit, kNull, kDescriptor, kPipe };
  Kind kind = Kind::kInherit;
  int descriptor = -1;  ///< For kDescriptor; stays the caller's.
  /// For the output of kPipe: bytes as they come, then nothing at its end.
  std::function<void(std::string_view)> data;

  static ChildStream Null() { return {Kind::kNull, -1, nullptr}; }
  static ChildStream Descriptor(int fd) { return {Kind::kDescriptor, fd, nullptr}; }
  static ChildStream Pipe(std::function<void(std::string_view)> data = nullptr) {
    return {Kind::kPipe, -1, std::move(data)};
  }
};

struct ProcessOptions {
  std::vector<std::string> argv;  ///< argv[0] is looked up in PATH when it has no slash.
  std::optional<std::vector<std::string>> env;  ///< "NAME=value"; absent takes ours.
  std::string cwd;                              ///< Empty stays here.
  std::optional<uint32_t> uid;
  std::optional<uint32_t> gid;
  bool new_session = false;  ///< Its own session and process group, for KillGroup().
  ChildStream in = ChildStream::Null();
  ChildStream out;
  ChildStream err;
};

/// A child process. Lives on its loop. Destroying it kills the child (SIGKILL) if it still runs,
/// and no callback comes any more; its callbacks may destroy it.
class Process {
 public:
  /// `exited` is called once, after all output that the child itself wrote.
  static Result<std::unique_ptr<Process>> Start(Loop& loop, ProcessOptions options,
                                                std::function<void(ExitStatus)> exited);
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  int pid() const;
  bool running() const;
  /// Nothing happens when it has ended.
  void Kill(int signal);
  /// To its whole process group. REQUIRES: new_session.
  void KillGroup(int signal);
  /// For a piped input.
  void Write(Slice bytes);
  void CloseInput();
  /// Lets the child live on when this object goes.
  void Detach();

 private:
  struct State;
  friend class Loop;
  /// For children that outlive their object and then the loop.
  static void ClosedByLoop(uv_handle_s* handle);
  explicit Process(std::shared_ptr<State> state) : state_(std::move(state)) {}
  std::shared_ptr<State> state_;
};

/// The path of the file that this process runs, symbolic links followed; empty when it cannot be
/// told.
std::string ProgramFile();

/// Runs a program to its end and collects what it printed. `timeout` kills it; zero means none.
struct Output {
  ExitStatus exit;
  std::string out;
  std::string err;
};
void RunProcess(Loop& loop, ProcessOptions options, Duration timeout,
                std::function<void(Result<Output>)> done);

}  // namespace isthmus::base
