// The role `container-run`: from a folder with a description to a running container.
//
//   node --spawn--> container-run --fork--> init (1 in the container) --fork--> the application
//
// The middle process enters the namespaces, waits until the application has been executed, writes
// down init's process id and ends; init then belongs to nobody but the lab, so a node may die and
// come back.
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "base/files.h"
#include "lab/network/netns.h"
#include "lab/network/process.h"
#include "lab/node/container_config.h"
#include "lab/node/container_init.h"
#include "lab/node/container_log.h"
#include "lab/node/container_roles.h"
#include "lab/node/privileges.h"
#include "lab/node/rootfs.h"

namespace isthmus::lab::node {
namespace {

using network::Fd;

// The two sides of the container's standard streams.
struct Plumbing {
  Streams ours;
  Fd in, out, err;  // The application's.
};

base::Status OpenPipe(Fd* read_end, Fd* write_end) {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) != 0) return base::ErrnoError("pipe");
  read_end->Reset(fds[0]);
  write_end->Reset(fds[1]);
  // /dev/stdout is opened anew by name by programs that run as another user (Envoy's access log).
  fchmod(fds[0], 0666);
  fchmod(fds[1], 0666);
  return {};
}

base::Result<Plumbing> MakePipes(const ContainerConfig& config) {
  Plumbing plumbing;
  RETURN_IF_ERROR(OpenPipe(&plumbing.ours.out, &plumbing.out), "standard output");
  RETURN_IF_ERROR(OpenPipe(&plumbing.ours.err, &plumbing.err), "standard error");
  if (config.stdin_open) {
    RETURN_IF_ERROR(OpenPipe(&plumbing.in, &plumbing.ours.in), "standard input");
  } else {
    plumbing.in.Reset(open("/dev/null", O_RDONLY | O_CLOEXEC));
  }
  return plumbing;
}

// REQUIRES: inside the container's root, for the terminal must be one of its own /dev/pts.
base::Result<Plumbing> MakeTerminal(const ContainerConfig& config) {
  Plumbing plumbing;
  Fd master(open("/dev/pts/ptmx", O_RDWR | O_CLOEXEC | O_NOCTTY));
  int unlock = 0, number = 0;
  if (!master.valid() || ioctl(master.get(), TIOCSPTLCK, &unlock) != 0 ||
      ioctl(master.get(), TIOCGPTN, &number) != 0)
    return base::ErrnoError("opening a terminal");
  plumbing.out.Reset(
      open(("/dev/pts/" + std::to_string(number)).c_str(), O_RDWR | O_CLOEXEC | O_NOCTTY));
  if (!plumbing.out.valid()) return base::ErrnoError("opening the terminal");
  if (fchown(plumbing.out.get(), config.uid, 5) != 0)
    return base::ErrnoError("giving the terminal away");
  plumbing.in.Reset(dup(plumbing.out.get()));
  plumbing.err.Reset(dup(plumbing.out.get()));
  if (config.stdin_open) plumbing.ours.in.Reset(dup(master.get()));
  plumbing.ours.out = std::move(master);
  plumbing.ours.tty = true;
  return plumbing;
}

base::Result<Fd> ListenForAttach(const std::string& path) {
  Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  // Long folders do not fit an address; a descriptor's path does.
  const size_t slash = path.rfind('/');
  Fd folder(open(path.substr(0, slash).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  const std::string name = "/proc/self/fd/" + std::to_string(folder.get()) + path.substr(slash);
  strncpy(address.sun_path, name.c_str(), sizeof address.sun_path - 1);
  unlink(path.c_str());
  if (bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      listen(fd.get(), 8) != 0)
    return base::ErrnoError("listening at " + path);
  return fd;
}

[[noreturn]] void Fail(int report_fd, const base::Status& status) {
  const std::string& text = status.message();
  if (write(report_fd, text.data(), text.size()) < 0) _exit(127);
  _exit(127);
}

// The application's side of the last fork. Success closes `report_fd` by the execution itself.
[[noreturn]] void Become(const ContainerConfig& config, Plumbing& plumbing, int report_fd) {
  setsid();
  dup2(plumbing.in.get(), 0);
  dup2(plumbing.out.get(), 1);
  dup2(plumbing.err.get(), 2);
  if (plumbing.ours.tty) ioctl(0, TIOCSCTTY, 0);
  const base::Status status = ExecuteIn(config, config.args);
  Fail(report_fd, status);
}

// Process 1 of the container.
[[noreturn]] void RunInit(const ContainerConfig& config, const std::string& dir, int report_fd) {
  // Whatever happens to the node, the container's first process stays; whatever it prints is lost.
  setsid();
  prctl(PR_SET_NAME, "container");
  if (unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC) != 0)
    Fail(report_fd, base::ErrnoError("making namespaces"));
  if (sethostname(config.hostname.data(), config.hostname.size()) != 0)
    Fail(report_fd, base::ErrnoError("setting the host name"));
  // Opened here, used after the root has changed.
  Fd folder(open(dir.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  const size_t slash = config.log_path.rfind('/');
  Fd log_folder(open(config.log_path.substr(0, slash).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  auto listener = ListenForAttach(ContainerFiles(dir).attach());
  if (!listener.ok()) Fail(report_fd, listener.status());
  if (base::Status status = EnterRootfs(config, dir); !status.ok()) Fail(report_fd, status);
  auto plumbing = config.tty ? MakeTerminal(config) : MakePipes(config);
  if (!plumbing.ok()) Fail(report_fd, plumbing.status());

  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_BLOCK, &all, nullptr);
  ContainerInit init(config, folder.get(), log_folder.get(), config.log_path.substr(slash + 1),
                     std::move(*listener));
  const pid_t app = fork();
  if (app < 0) Fail(report_fd, base::ErrnoError("forking"));
  if (app == 0) Become(config, *plumbing, report_fd);
  close(report_fd);
  for (Fd* fd : {&plumbing->in, &plumbing->out, &plumbing->err}) fd->Reset();
  init.Run(app, std::move(plumbing->ours));
  _exit(0);
}

base::Status Start(const std::string& dir) {
  const ContainerFiles files(dir);
  ASSIGN_OR_RETURN(const std::string text, base::ReadFile(files.config()), "container description");
  ASSIGN_OR_RETURN(const ContainerConfig config, ContainerConfig::FromJson(text),
                   "container description");
  if (!config.network_namespace.empty()) {
    ASSIGN_OR_RETURN(const network::NetNs ns, network::NetNs::Open(config.network_namespace),
                     "pod's network");
    if (setns(ns.fd(), CLONE_NEWNET) != 0) return base::ErrnoError("entering the pod's network");
  }
  int report[2];
  if (pipe2(report, O_CLOEXEC) != 0) return base::ErrnoError("pipe");
  Fd report_read(report[0]), report_write(report[1]);
  if (unshare(CLONE_NEWPID) != 0) return base::ErrnoError("making a process namespace");
  const pid_t init = fork();
  if (init < 0) return base::ErrnoError("forking");
  if (init == 0) RunInit(config, dir, report_write.get());
  report_write.Reset();
  std::string problem;
  char buffer[1024];
  ssize_t n;
  while ((n = read(report_read.get(), buffer, sizeof buffer)) > 0)
    problem.append(buffer, static_cast<size_t>(n));
  if (!problem.empty()) {
    kill(init, SIGKILL);
    waitpid(init, nullptr, 0);
    return base::Status(base::Code::kInternal, problem);
  }
  return WriteRunningState(files, {init, network::StartTime(init), NowWithNanoseconds()});
}

}  // namespace

base::Status ExecuteIn(const ContainerConfig& config, const std::vector<std::string>& args) {
  RETURN_IF_ERROR(TakeIdentity(config), "identity");
  if (chdir(config.working_dir.c_str()) != 0)
    return base::ErrnoError("changing to working directory " + config.working_dir);
  umask(022);
  clearenv();
  for (const std::string& variable : config.env) putenv(strdup(variable.c_str()));
  std::vector<char*> argv;
  for (const std::string& arg : args) argv.push_back(const_cast<char*>(arg.c_str()));
  argv.push_back(nullptr);
  sigset_t none;
  sigemptyset(&none);
  for (int signal_number = 1; signal_number < NSIG; ++signal_number) signal(signal_number, SIG_DFL);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  execvp(argv[0], argv.data());
  return base::Error(base::Code::kNotFound, "exec: \"{}\": {}", args[0],
                     errno == ENOENT ? "executable file not found in $PATH" : strerror(errno));
}

int RunContainer(const std::string& dir) {
  const base::Status status = Start(dir);
  if (status.ok()) return 0;
  (void)base::WriteFile(ContainerFiles(dir).error(), status.message());
  return 1;
}

}  // namespace isthmus::lab::node
