// The role `container-enter DIR PID tty|pipe -- command...`: one more process in a running
// container, with the streams that the caller gave. With a terminal, its master goes to the caller
// over descriptor 3.
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/files.h"
#include "lab/network/fd.h"
#include "lab/node/container_roles.h"
#include "lab/node/helper.h"

namespace isthmus::lab::node {
namespace {

using network::Fd;

// As a shell says it: what could not be run.
constexpr int kCannotRun = 126;

bool SendDescriptor(int socket_fd, int fd) {
  char byte = 'm';
  iovec part{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))]{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(header), &fd, sizeof fd);
  return sendmsg(socket_fd, &message, 0) == 1;
}

// Opens a terminal of the container's own, hands its master to the node, and makes it ours.
base::Status TakeTerminal(uint32_t uid) {
  Fd master(open("/dev/pts/ptmx", O_RDWR | O_CLOEXEC | O_NOCTTY));
  int unlock = 0, number = 0;
  if (!master.valid() || ioctl(master.get(), TIOCSPTLCK, &unlock) != 0 ||
      ioctl(master.get(), TIOCGPTN, &number) != 0)
    return base::ErrnoError("opening a terminal");
  Fd slave(open(("/dev/pts/" + std::to_string(number)).c_str(), O_RDWR | O_CLOEXEC | O_NOCTTY));
  if (!slave.valid() || fchown(slave.get(), uid, 5) != 0)
    return base::ErrnoError("opening the terminal");
  if (!SendDescriptor(3, master.get())) return base::ErrnoError("handing the terminal over");
  close(3);
  for (const int fd : {0, 1, 2}) dup2(slave.get(), fd);
  return {};
}

base::Status EnterNamespaces(pid_t pid) {
  Fd process(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!process.valid()) return base::ErrnoError("the container has ended");
  if (setns(process.get(),
            CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWPID) != 0)
    return base::ErrnoError("entering the container");
  return {};
}

base::Result<int> Enter(const std::string& dir, pid_t pid, bool tty,
                        const std::vector<std::string>& command) {
  ASSIGN_OR_RETURN(const std::string text, base::ReadFile(ContainerFiles(dir).config()),
                   "container description");
  ASSIGN_OR_RETURN(const ContainerConfig config, ContainerConfig::FromJson(text),
                   "container description");
  RETURN_IF_ERROR(EnterNamespaces(pid), "container");
  const pid_t child = fork();
  if (child < 0) return base::ErrnoError("forking");
  if (child == 0) {
    // Whoever asked has gone when we have gone.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setsid();
    base::Status status = tty ? TakeTerminal(config.uid) : base::Status();
    if (tty) ioctl(0, TIOCSCTTY, 0);
    if (status.ok()) status = ExecuteIn(config, command);
    dprintf(2, "%s\n", status.message().c_str());
    _exit(status.code() == base::Code::kNotFound ? 127 : kCannotRun);
  }
  close(3);
  // Nothing of the caller's streams is held here, so that their end is seen when the command closes
  // them.
  const int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
  for (const int fd : {0, 1, 2}) dup2(nothing, fd);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

int EnterContainer(const std::vector<std::string>& args) {
  if (args.size() < 5 || args[3] != "--") return 2;
  auto code =
      Enter(args[0], std::atoi(args[1].c_str()), args[2] == "tty", {args.begin() + 4, args.end()});
  if (code.ok()) return *code;
  dprintf(2, "%s\n", code.status().message().c_str());
  return kCannotRun;
}

int HelperMain(int argc, char** argv) {
  if (argc < 3) return -1;
  const std::vector<std::string> args(argv + 2, argv + argc);
  if (std::string_view(argv[1]) == "container-run") return RunContainer(args[0]);
  if (std::string_view(argv[1]) == "container-enter") return EnterContainer(args);
  return -1;
}

}  // namespace isthmus::lab::node
