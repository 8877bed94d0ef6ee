#include "lab/network/process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

extern char** environ;

namespace isthmus::lab::network {
namespace {

std::vector<char*> Pointers(const std::vector<std::string>& strings) {
  std::vector<char*> out;
  out.reserve(strings.size() + 1);
  for (const std::string& text : strings) out.push_back(const_cast<char*>(text.c_str()));
  out.push_back(nullptr);
  return out;
}

int ExitCode(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// Moves every descriptor above the targets first, so that no dup2 overwrites one still needed.
void MapDescriptors(const Command& command, posix_spawn_file_actions_t* actions) {
  constexpr int kParking = 200;
  bool named[3] = {false, false, false};
  int slot = kParking;
  for (const auto& [ours, theirs] : command.fds) {
    posix_spawn_file_actions_adddup2(actions, ours, slot++);
    if (theirs < 3) named[theirs] = true;
  }
  slot = kParking;
  int highest = 2;
  for (const auto& [ours, theirs] : command.fds) {
    posix_spawn_file_actions_adddup2(actions, slot++, theirs);
    if (theirs > highest) highest = theirs;
  }
  if (!named[0]) posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDONLY, 0);
  if (!named[1]) posix_spawn_file_actions_addopen(actions, 1, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addclosefrom_np(actions, highest + 1);
}

}  // namespace

base::Result<pid_t> Spawn(const Command& command) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  MapDescriptors(command, &actions);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  short flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
  if (command.new_session) flags |= POSIX_SPAWN_SETSID;
  posix_spawnattr_setflags(&attributes, flags);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  std::vector<char*> argv = Pointers(command.argv);
  std::vector<char*> env = Pointers(command.env);
  pid_t pid = -1;
  const int error = posix_spawnp(&pid, argv[0], &actions, &attributes, argv.data(),
                                 command.env.empty() ? environ : env.data());
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (error == ENOENT)
    return base::Error(base::Code::kNotFound, "program {} not found", command.argv[0]);
  if (error != 0)
    return base::Error(base::Code::kInternal, "starting {}: {}", command.argv[0], strerror(error));
  return pid;
}

base::Result<Finished> RunCommand(const std::vector<std::string>& argv, std::string_view input) {
  int in[2], out[2];
  if (pipe2(in, O_CLOEXEC) != 0)
    return base::Error(base::Code::kInternal, "pipe: {}", strerror(errno));
  Fd in_read(in[0]), in_write(in[1]);
  if (pipe2(out, O_CLOEXEC) != 0)
    return base::Error(base::Code::kInternal, "pipe: {}", strerror(errno));
  Fd out_read(out[0]), out_write(out[1]);
  auto pid = Spawn({.argv = argv, .fds = {{in[0], 0}, {out[1], 1}, {out[1], 2}}});
  if (!pid.ok()) return pid.status();
  in_read.Reset();
  out_write.Reset();
  // Feeds and drains at once, so that neither pipe can fill up and block both sides.
  fcntl(in_write.get(), F_SETFL, O_NONBLOCK);
  Finished finished;
  if (input.empty()) in_write.Reset();
  while (true) {
    pollfd fds[2] = {{out_read.get(), POLLIN, 0}, {in_write.get(), POLLOUT, 0}};
    if (poll(fds, 2, -1) < 0 && errno != EINTR) break;
    if (fds[1].revents != 0 && in_write.valid()) {
      const ssize_t n = write(in_write.get(), input.data(), input.size());
      if (n > 0) input.remove_prefix(static_cast<size_t>(n));
      if (input.empty() || (n < 0 && errno != EAGAIN)) in_write.Reset();
    }
    if (fds[0].revents != 0) {
      char buffer[4096];
      const ssize_t n = read(out_read.get(), buffer, sizeof buffer);
      if (n <= 0) break;
      finished.output.append(buffer, static_cast<size_t>(n));
    }
  }
  int status = 0;
  while (waitpid(*pid, &status, 0) < 0 && errno == EINTR) {
  }
  finished.exit_code = ExitCode(status);
  return finished;
}

struct ProcessWatch::State {
  Fd pidfd;
  FdWatch watch;
};

ProcessWatch ProcessWatch::Start(base::Loop& loop, pid_t pid, std::function<void(int)> ended) {
  ProcessWatch result;
  result.state_ = std::make_shared<State>();
  Fd& pidfd = result.state_->pidfd;
  pidfd.Reset(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  // Gone already: an event that is ready at once tells it from the loop, never inside this call.
  if (!pidfd.valid()) pidfd.Reset(eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK));
  auto report = [pid, weak = std::weak_ptr<State>(result.state_), ended = std::move(ended)] {
    if (auto state = weak.lock()) state->watch.Cancel();
    int status = 0;
    const pid_t reaped = waitpid(pid, &status, WNOHANG);
    ended(reaped == pid ? ExitCode(status) : -1);
  };
  result.state_->watch = FdWatch::Readable(loop, pidfd.get(), std::move(report));
  return result;
}

bool ProcessWatch::active() const { return state_ != nullptr && state_->watch.active(); }

uint64_t StartTime(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string line;
  if (!std::getline(file, line)) return 0;
  // The second field is the name in brackets, which may hold anything; count from the last bracket.
  const size_t after = line.rfind(')');
  if (after == std::string::npos) return 0;
  std::istringstream fields(line.substr(after + 1));
  std::string field;
  for (int i = 3; i <= 22; ++i) fields >> field;
  return std::strtoull(field.c_str(), nullptr, 10);
}

}  // namespace isthmus::lab::network
