#include "base/loop.h"

#include <uv.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "base/process.h"

namespace isthmus::base {
namespace {

uint64_t ToMilliseconds(Duration duration) {
  if (duration <= Duration::zero()) return 0;
  // Rounded up: a timer may be late, never early.
  return static_cast<uint64_t>(std::chrono::ceil<std::chrono::milliseconds>(duration).count());
}

}  // namespace

struct Loop::Impl {
  uv_loop_t loop;
  uv_async_t wake;
  uv_idle_t
      busy;  // Active while local tasks wait: keeps the loop from sleeping, without a system call.
  uv_prepare_t before_wait;                        // Active in RunUntil().
  std::vector<std::function<void()>> local_tasks;  // Touched by the loop's thread only.
  std::atomic<std::thread::id> thread;             // Who is in Run(), if anyone.
  std::atomic<bool> stop{false};
  std::mutex mutex;
  std::vector<std::function<void()>> tasks;  // Guarded by mutex.

  std::vector<std::function<void()>> TakeTasks() {
    std::lock_guard lock(mutex);
    return std::exchange(tasks, {});
  }

  // Tasks that are posted by these tasks run in the next round, so that sockets get their turn.
  static void RunAll(std::vector<std::function<void()>> tasks) {
    for (auto& task : tasks) {
      task();
      task = nullptr;  // What it holds goes before the next task runs.
    }
  }
  void RunTasks() {
    RunAll(TakeTasks());
    if (stop) uv_stop(&loop);
  }
  void RunLocalTasks() {
    RunAll(std::exchange(local_tasks, {}));
    if (local_tasks.empty()) uv_idle_stop(&busy);
  }
  bool DropTasks() { return !TakeTasks().empty() || !std::exchange(local_tasks, {}).empty(); }
};

namespace {

/// Says, for its scope, that this thread runs the loop.
class Running {
 public:
  explicit Running(std::atomic<std::thread::id>& thread) : thread_(thread), before_(thread.load()) {
    thread_ = std::this_thread::get_id();
  }
  ~Running() { thread_ = before_; }

 private:
  std::atomic<std::thread::id>& thread_;
  const std::thread::id before_;
};

}  // namespace

Loop::Loop() : impl_(std::make_unique<Impl>()) {
  // A peer that has gone shows as EPIPE; the signal would end the program. Children get the default
  // back.
  std::signal(SIGPIPE, SIG_IGN);
  if (uv_loop_init(&impl_->loop) != 0) std::abort();  // Out of memory or file descriptors at start.
  impl_->loop.data = impl_.get();
  impl_->wake.data = impl_.get();
  const int error = uv_async_init(&impl_->loop, &impl_->wake, [](uv_async_t* handle) {
    static_cast<Impl*>(handle->data)->RunTasks();
  });
  if (error != 0) std::abort();
  uv_idle_init(&impl_->loop, &impl_->busy);
  impl_->busy.data = impl_.get();
  uv_prepare_init(&impl_->loop, &impl_->before_wait);
}

Loop::~Loop() {
  // A task that never ran may own streams; they close their handles now, and may post again.
  while (impl_->DropTasks()) {
  }
  uv_close(reinterpret_cast<uv_handle_t*>(&impl_->wake), nullptr);
  uv_close(reinterpret_cast<uv_handle_t*>(&impl_->busy), nullptr);
  uv_close(reinterpret_cast<uv_handle_t*>(&impl_->before_wait), nullptr);
  // Handles whose owner has gone finish closing; a handle that still has an owner is closed under
  // it.
  uv_walk(
      &impl_->loop,
      [](uv_handle_t* handle, void*) {
        if (uv_is_closing(handle)) return;
        uv_close(handle, handle->type == UV_PROCESS ? &Process::ClosedByLoop : nullptr);
      },
      nullptr);
  while (uv_loop_close(&impl_->loop) == UV_EBUSY) uv_run(&impl_->loop, UV_RUN_ONCE);
  while (impl_->DropTasks()) {
  }
}

void Loop::Run() {
  const Running running(impl_->thread);
  uv_run(&impl_->loop, UV_RUN_DEFAULT);
  impl_->stop = false;
}

void Loop::Stop() {
  impl_->stop = true;
  uv_async_send(&impl_->wake);
}

bool Loop::RunUntil(const std::function<bool()>& done, Duration timeout) {
  const Running running(impl_->thread);
  bool late = false, holds = false;
  const Timer timer = Timer::After(*this, timeout, [&late] { late = true; });
  std::function<bool()> over = [&] { return (holds = holds || done()) || late || impl_->stop; };
  // A round runs timers and posted tasks first and then waits; there may be nothing to wait for.
  impl_->before_wait.data = &over;
  uv_prepare_start(&impl_->before_wait, [](uv_prepare_t* handle) {
    if ((*static_cast<std::function<bool()>*>(handle->data))()) uv_stop(handle->loop);
  });
  while (!over()) uv_run(&impl_->loop, UV_RUN_ONCE);
  uv_prepare_stop(&impl_->before_wait);
  return holds;
}

void Loop::Post(std::function<void()> task) {
  if (impl_->thread.load(std::memory_order_relaxed) == std::this_thread::get_id()) {
    impl_->local_tasks.push_back(std::move(task));
    uv_idle_start(&impl_->busy,
                  [](uv_idle_t* handle) { static_cast<Impl*>(handle->data)->RunLocalTasks(); });
    return;
  }
  {
    std::lock_guard lock(impl_->mutex);
    impl_->tasks.push_back(std::move(task));
  }
  uv_async_send(&impl_->wake);
}

uv_loop_s* Loop::uv() const { return &impl_->loop; }

namespace {

struct TimerState {
  uv_timer_t timer;
  std::function<void()> task;
  bool repeats = false;
  bool running = false;

  static void Fire(uv_timer_t* handle) {
    auto* state = static_cast<TimerState*>(handle->data);
    if (!state->repeats) {
      const auto task = std::exchange(state->task, nullptr);
      task();
      return;
    }
    state->running = true;
    state->task();
    state->running = false;
    if (uv_is_closing(reinterpret_cast<uv_handle_t*>(handle))) state->task = nullptr;
  }

  // The memory stays until libuv lets go of it, which is after the callback that may be running.
  static void Release(TimerState* state) {
    uv_close(reinterpret_cast<uv_handle_t*>(&state->timer),
             [](uv_handle_t* handle) { delete static_cast<TimerState*>(handle->data); });
    if (!state->running) state->task = nullptr;
  }
};

std::shared_ptr<void> StartTimer(Loop& loop, Duration delay, bool repeats,
                                 std::function<void()> task) {
  auto* state = new TimerState;
  state->task = std::move(task);
  state->repeats = repeats;
  state->timer.data = state;
  uv_timer_init(loop.uv(), &state->timer);
  // The loop's time is that of its last wake-up; a long callback would make the timer early.
  uv_update_time(loop.uv());
  const uint64_t delay_ms = ToMilliseconds(delay);
  uv_timer_start(&state->timer, &TimerState::Fire, delay_ms,
                 repeats ? std::max<uint64_t>(delay_ms, 1) : 0);
  return std::shared_ptr<void>(state,
                               [](void* p) { TimerState::Release(static_cast<TimerState*>(p)); });
}

}  // namespace

Timer Timer::After(Loop& loop, Duration delay, std::function<void()> task) {
  Timer timer;
  timer.handle_ = StartTimer(loop, delay, false, std::move(task));
  return timer;
}

Timer Timer::Every(Loop& loop, Duration period, std::function<void()> task) {
  Timer timer;
  timer.handle_ = StartTimer(loop, period, true, std::move(task));
  return timer;
}

}  // namespace isthmus::base
