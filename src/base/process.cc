#include "base/process.h"

#include <unistd.h>
#include <uv.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <utility>

namespace isthmus::base {

std::string ExitStatus::text() const {
  if (signal != 0) return fmt::format("signal {} ({})", signal, ::strsignal(signal));
  return fmt::format("exit code {}", code);
}

namespace {

/// A pipe to the child. Frees itself when libuv has let go of it.
struct ChildPipe {
  uv_pipe_t pipe;
  std::function<void(std::string_view)> data;
  bool running = false;
  bool ended = false;
  std::array<char, 4096> buffer;

  uv_stream_t* stream() { return reinterpret_cast<uv_stream_t*>(&pipe); }

  static ChildPipe* Make(Loop& loop, std::function<void(std::string_view)> data) {
    auto* made = new ChildPipe;
    made->data = std::move(data);
    uv_pipe_init(loop.uv(), &made->pipe, 0);
    made->pipe.data = made;
    return made;
  }
  void Close() {
    uv_close(reinterpret_cast<uv_handle_t*>(&pipe),
             [](uv_handle_t* handle) { delete static_cast<ChildPipe*>(handle->data); });
    if (!running) data = nullptr;
  }
  bool closing() const { return uv_is_closing(reinterpret_cast<const uv_handle_t*>(&pipe)) != 0; }

  void Deliver(std::string_view bytes) {
    if (ended || closing()) return;
    if (bytes.empty()) ended = true;
    if (!data) return;
    running = true;
    data(bytes);
    running = false;
    if (closing()) data = nullptr;
  }
  void StartReading() {
    uv_read_start(
        stream(),
        [](uv_handle_t* handle, size_t, uv_buf_t* buffer) {
          auto* self = static_cast<ChildPipe*>(handle->data);
          *buffer = uv_buf_init(self->buffer.data(), self->buffer.size());
        },
        [](uv_stream_t* stream, ssize_t size, const uv_buf_t* buffer) {
          auto* self = static_cast<ChildPipe*>(stream->data);
          if (size > 0) self->Deliver({buffer->base, static_cast<size_t>(size)});
          if (size < 0) self->Deliver({});
        });
  }
  /// Reads what lies in the pipe already, without waiting for grandchildren that hold it open.
  void Drain() {
    uv_os_fd_t fd;
    while (!closing() && !ended && uv_fileno(reinterpret_cast<uv_handle_t*>(&pipe), &fd) == 0) {
      const ssize_t size = ::read(fd, buffer.data(), buffer.size());
      if (size < 0 && errno == EINTR) continue;
      if (size <= 0) break;
      Deliver({buffer.data(), static_cast<size_t>(size)});
    }
    Deliver({});
  }
};

}  // namespace

struct Process::State {
  uv_process_t handle;
  std::shared_ptr<State> self;  // Held while libuv knows the handle.
  std::function<void(ExitStatus)> exited;
  std::array<ChildPipe*, 3> pipes{};
  bool running = false;
  bool kill_at_end = true;

  void ClosePipe(size_t i) {
    if (ChildPipe* pipe = std::exchange(pipes[i], nullptr)) pipe->Close();
  }

  static void HandleClosed(uv_handle_t* handle) {
    // Destroyed at the end of this function, not while the member is being assigned.
    const auto held = std::move(static_cast<State*>(handle->data)->self);
  }

  static void Exited(uv_process_t* process, int64_t code, int signal) {
    auto* state = static_cast<State*>(process->data);
    const auto held = state->self;
    state->running = false;
    uv_close(reinterpret_cast<uv_handle_t*>(process), &State::HandleClosed);
    // A callback may destroy the Process, which closes the pipes.
    for (const size_t i : {1, 2}) {
      if (state->pipes[i] != nullptr) state->pipes[i]->Drain();
    }
    for (const size_t i : {0, 1, 2}) state->ClosePipe(i);
    if (state->exited)
      std::exchange(state->exited, nullptr)(ExitStatus{static_cast<int>(code), signal});
  }
};

void Process::ClosedByLoop(uv_handle_s* handle) { State::HandleClosed(handle); }

Result<std::unique_ptr<Process>> Process::Start(Loop& loop, ProcessOptions options,
                                                std::function<void(ExitStatus)> exited) {
  if (options.argv.empty())
    return Error(Code::kInvalidArgument, "starting a process: no program given");
  auto state = std::make_shared<State>();
  state->exited = std::move(exited);
  state->handle.data = state.get();

  std::array<uv_stdio_container_t, 3> stdio{};
  std::array<ChildStream*, 3> streams = {&options.in, &options.out, &options.err};
  for (size_t i = 0; i < 3; ++i) {
    switch (streams[i]->kind) {
      case ChildStream::Kind::kNull:
        stdio[i].flags = UV_IGNORE;
        break;
      case ChildStream::Kind::kInherit:
        stdio[i].flags = UV_INHERIT_FD;
        stdio[i].data.fd = static_cast<int>(i);
        break;
      case ChildStream::Kind::kDescriptor:
        stdio[i].flags = UV_INHERIT_FD;
        stdio[i].data.fd = streams[i]->descriptor;
        break;
      case ChildStream::Kind::kPipe:
        state->pipes[i] = ChildPipe::Make(loop, std::move(streams[i]->data));
        stdio[i].flags = static_cast<uv_stdio_flags>(
            UV_CREATE_PIPE | (i == 0 ? UV_READABLE_PIPE : UV_WRITABLE_PIPE));
        stdio[i].data.stream = state->pipes[i]->stream();
        break;
    }
  }
  std::vector<char*> argv, env;
  for (std::string& arg : options.argv) argv.push_back(arg.data());
  argv.push_back(nullptr);
  uv_process_options_t spawn{};
  if (options.env) {
    for (std::string& variable : *options.env) env.push_back(variable.data());
    env.push_back(nullptr);
    spawn.env = env.data();
  }
  spawn.exit_cb = &State::Exited;
  spawn.file = argv[0];
  spawn.args = argv.data();
  spawn.cwd = options.cwd.empty() ? nullptr : options.cwd.c_str();
  spawn.stdio = stdio.data();
  spawn.stdio_count = 3;
  if (options.uid) spawn.flags |= UV_PROCESS_SETUID, spawn.uid = *options.uid;
  if (options.gid) spawn.flags |= UV_PROCESS_SETGID, spawn.gid = *options.gid;
  if (options.new_session) spawn.flags |= UV_PROCESS_DETACHED;
  const int error = uv_spawn(loop.uv(), &state->handle, &spawn);
  state->self = state;
  std::unique_ptr<Process> process(new Process(state));
  if (error != 0) {
    state->exited = nullptr;
    uv_close(reinterpret_cast<uv_handle_t*>(&state->handle), &State::HandleClosed);
    return Error(error == UV_ENOENT   ? Code::kNotFound
                 : error == UV_EACCES ? Code::kPermissionDenied
                                      : Code::kUnknown,
                 "starting {}: {}", options.argv[0], uv_strerror(error));
  }
  state->running = true;
  for (const size_t i : {1, 2}) {
    if (state->pipes[i] != nullptr) state->pipes[i]->StartReading();
  }
  return process;
}

Process::~Process() {
  state_->exited = nullptr;
  for (const size_t i : {0, 1, 2}) state_->ClosePipe(i);
  // The handle stays until the child is gone, so that it does not remain as a zombie.
  if (state_->running && state_->kill_at_end) Kill(SIGKILL);
}

int Process::pid() const { return state_->handle.pid; }
bool Process::running() const { return state_->running; }

void Process::Kill(int signal) {
  if (state_->running) uv_process_kill(&state_->handle, signal);
}

void Process::KillGroup(int signal) {
  // The group may outlive its leader; its number stays reserved while it has members.
  if (state_->handle.pid > 0) ::kill(-state_->handle.pid, signal);
}

void Process::Write(Slice bytes) {
  if (state_->pipes[0] == nullptr || bytes.empty()) return;
  struct Request {
    uv_write_t write;
    Slice bytes;
  };
  auto* request = new Request{{}, std::move(bytes)};
  request->write.data = request;
  const uv_buf_t buffer = uv_buf_init(const_cast<char*>(request->bytes.data()),
                                      static_cast<unsigned>(request->bytes.size()));
  const int error =
      uv_write(&request->write, state_->pipes[0]->stream(), &buffer, 1,
               [](uv_write_t* write, int) { delete static_cast<Request*>(write->data); });
  if (error != 0) delete request;
}

void Process::CloseInput() {
  ChildPipe* pipe = state_->pipes[0];
  if (pipe == nullptr) return;
  state_->pipes[0] = nullptr;
  // What was written goes out first.
  auto* request = new uv_shutdown_t;
  request->data = pipe;
  const int error = uv_shutdown(request, pipe->stream(), [](uv_shutdown_t* request, int) {
    auto* pipe = static_cast<ChildPipe*>(request->data);
    if (!pipe->closing()) pipe->Close();
    delete request;
  });
  if (error != 0) {
    delete request;
    pipe->Close();
  }
}

void Process::Detach() { state_->kill_at_end = false; }

void RunProcess(Loop& loop, ProcessOptions options, Duration timeout,
                std::function<void(Result<Output>)> done) {
  struct Run {
    std::unique_ptr<Process> process;
    Timer timer;
    Output output;
    bool late = false;
    std::string name;
  };
  auto run = std::make_shared<Run>();
  if (!options.argv.empty()) run->name = options.argv[0];
  options.out =
      ChildStream::Pipe([run = run.get()](std::string_view bytes) { run->output.out += bytes; });
  options.err =
      ChildStream::Pipe([run = run.get()](std::string_view bytes) { run->output.err += bytes; });
  auto started = Process::Start(loop, std::move(options), [run, timeout, done](ExitStatus exit) {
    const auto held = run;
    held->timer.Cancel();
    held->output.exit = exit;
    // The callback that runs now is the process's own; it ends the cycle of ownership after this.
    const auto process = std::move(held->process);
    if (held->late) {
      return done(Error(Code::kDeadlineExceeded, "{} did not end within {} ms", held->name,
                        std::chrono::duration_cast<std::chrono::milliseconds>(timeout).count()));
    }
    done(std::move(held->output));
  });
  if (!started.ok()) {
    loop.Post([done = std::move(done), status = started.status()] { done(status); });
    return;
  }
  run->process = std::move(started).value();
  if (timeout > Duration::zero()) {
    run->timer = Timer::After(loop, timeout, [run = run.get()] {
      run->late = true;
      run->process->Kill(SIGKILL);
    });
  }
}

std::string ProgramFile() {
  std::error_code ignored;
  return std::filesystem::read_symlink("/proc/self/exe", ignored).string();
}

}  // namespace isthmus::base
