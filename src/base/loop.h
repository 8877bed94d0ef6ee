#pragma once

#include <chrono>
#include <functional>
#include <memory>

struct uv_loop_s;

namespace isthmus::base {

using Duration = std::chrono::nanoseconds;

/// The executor: one thread that waits for sockets, timers, children and signals and runs
/// callbacks.
///
/// Objects that take a Loop live on it: they are made, called and destroyed on its thread, and
/// their callbacks run there, so none of them needs a lock. Only Post() and Stop() may be called
/// from other threads. A program has one Loop for all of its work unless it says otherwise.
class Loop {
 public:
  Loop();
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  /// Runs callbacks until Stop().
  void Run();
  /// Makes Run() return after the current callback. Any thread.
  void Stop();
  /// Runs callbacks until `done()` holds or `timeout` has passed; tells whether it holds. For
  /// programs that do one thing after another, such as the CLI and tests. May not be nested in a
  /// callback.
  bool RunUntil(const std::function<bool()>& done, Duration timeout);

  /// Runs `task` on the loop's thread, soon, never inside this call. Any thread.
  void Post(std::function<void()> task);

  /// For base and http only.
  uv_loop_s* uv() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Calls back once or repeatedly after a time. Destroying it cancels; the callback may destroy it.
class Timer {
 public:
  Timer() = default;
  static Timer After(Loop& loop, Duration delay, std::function<void()> task);
  static Timer Every(Loop& loop, Duration period, std::function<void()> task);
  void Cancel() { handle_.reset(); }
  bool active() const { return handle_ != nullptr; }

 private:
  std::shared_ptr<void> handle_;
};

}  // namespace isthmus::base
