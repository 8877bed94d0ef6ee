#include "lab/node/container.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/clock.h"
#include "base/files.h"

namespace isthmus::lab::node {
namespace {

int SignalNumber(std::string_view name) {
  if (name.starts_with("SIG")) name.remove_prefix(3);
  const std::pair<std::string_view, int> known[] = {
      {"TERM", SIGTERM}, {"KILL", SIGKILL}, {"INT", SIGINT},   {"QUIT", SIGQUIT},
      {"HUP", SIGHUP},   {"USR1", SIGUSR1}, {"USR2", SIGUSR2}, {"WINCH", SIGWINCH}};
  for (const auto& [text, number] : known)
    if (name == text) return number;
  const int number = std::atoi(std::string(name).c_str());
  return number > 0 && number < NSIG ? number : SIGTERM;
}

}  // namespace

Container::Container(base::Loop& loop, std::string program, std::string dir, Events events)
    : loop_(loop),
      program_(std::move(program)),
      files_(std::move(dir)),
      events_(std::move(events)) {}

void Container::Start(const ContainerConfig& config) {
  base::Status status = base::MakeDirs(files_.dir);
  if (status.ok()) status = base::WriteFile(files_.config(), config.ToJson());
  base::Result<pid_t> starter = base::Error(base::Code::kInternal, "not started");
  if (status.ok()) {
    starter =
        network::Spawn({.argv = {program_, "container-run", files_.dir}, .new_session = true});
    status = starter.status();
  }
  if (!status.ok()) {
    soon_ = base::Timer::After(loop_, base::Duration::zero(),
                               [this, status] { events_.failed(status); });
    return;
  }
  starter_ = network::ProcessWatch::Start(loop_, *starter, [this](int exit_code) {
    auto state = ReadRunningState(files_);
    if (exit_code == 0 && state.ok()) return Watch(*state);
    auto why = base::ReadFile(files_.error());
    events_.failed(
        base::Status(base::Code::kInternal, why.ok() ? *why : "the container's starter died"));
  });
}

void Container::Adopt() {
  soon_ = base::Timer::After(loop_, base::Duration::zero(), [this] {
    auto exit = ReadExitState(files_);
    auto state = ReadRunningState(files_);
    if (exit.ok()) {
      if (state.ok()) events_.started(*state);
      return events_.ended(*exit);
    }
    if (!state.ok())
      return events_.failed(
          base::Error(base::Code::kAborted, "the node stopped while starting it"));
    Watch(*state);
  });
}

void Container::Watch(const RunningState& state) {
  pid_ = state.pid;
  // A pid used again by another process is as good as gone.
  if (network::StartTime(state.pid) != state.start_time) pid_ = 1 << 30;
  process_ = network::ProcessWatch::Start(loop_, pid_, [this](int) { OnGone(); });
  events_.started(state);
}

void Container::OnGone() {
  pid_ = 0;
  auto exit = ReadExitState(files_);
  // Without the file its first process was killed, and the kernel ended everything in it.
  if (!exit.ok()) {
    exit = ExitState{128 + SIGKILL, SIGKILL, base::FormatTime(base::SystemClock().Now())};
    (void)base::WriteFile(files_.exit(), ExitStateJson(*exit));
  }
  events_.ended(*exit);
}

void Container::Signal(const std::string& name) {
  if (pid_ > 0) kill(pid_, SignalNumber(name));
}

void Container::Kill() {
  if (pid_ > 0) kill(pid_, SIGKILL);
}

base::Result<Exec> StartExec(const Container& container, const ExecRequest& request) {
  if (!container.running())
    return base::Error(base::Code::kFailedPrecondition, "the container is not running");
  return StartExec(container.program(), container.dir(), container.pid(), request);
}

base::Result<Exec> StartExec(const std::string& program, const std::string& dir, int pid,
                             const ExecRequest& request) {
  network::Command command{.argv = {program, "container-enter", dir, std::to_string(pid),
                                    request.tty ? "tty" : "pipe", "--"}};
  command.argv.insert(command.argv.end(), request.command.begin(), request.command.end());
  Exec exec;
  std::vector<network::Fd> theirs;
  auto pipe = [&](int target, bool they_read) -> network::Fd {
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0) return network::Fd();
    fchmod(fds[0], 0666);  // /dev/stdout may be opened anew by name.
    fchmod(fds[1], 0666);
    theirs.emplace_back(fds[they_read ? 0 : 1]);
    command.fds.emplace_back(theirs.back().get(), target);
    return network::Fd(fds[they_read ? 1 : 0]);
  };
  if (request.tty) {
    int sockets[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0)
      return base::Error(base::Code::kInternal, "socketpair: {}", strerror(errno));
    exec.terminal_socket.Reset(sockets[0]);
    theirs.emplace_back(sockets[1]);
    command.fds.emplace_back(sockets[1], 3);
  } else {
    if (request.in) exec.in = pipe(0, true);
    exec.out = pipe(1, false);
  }
  exec.err = pipe(2, false);
  auto helper = network::Spawn(command);
  if (!helper.ok()) return helper.status();
  exec.pid = *helper;
  return exec;
}

network::Fd ReceiveTerminal(const network::Fd& terminal_socket) {
  char byte = 0;
  iovec part{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))]{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  if (recvmsg(terminal_socket.get(), &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT) != 1)
    return network::Fd();
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (header == nullptr || header->cmsg_type != SCM_RIGHTS) return network::Fd();
  int fd = -1;
  memcpy(&fd, CMSG_DATA(header), sizeof fd);
  return network::Fd(fd);
}

}  // namespace isthmus::lab::node
