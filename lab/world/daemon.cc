#include "lab/world/daemon.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "base/files.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/process.h"
#include "base/signals.h"
#include "base/strings.h"
#include "lab/network/fd.h"
#include "lab/network/process.h"
#include "lab/world/supervisor.h"

namespace isthmus::lab::world {
namespace {

using network::Fd;

void Say(int fd, const std::string& line) {
  const std::string text = line + "\n";
  if (write(fd, text.data(), text.size()) < 0) return;  // Nobody waits any more.
}

// The supervisor: the second process of the lab. `report_fd` takes progress lines, then "up" or
// "error: ...".
int RunSupervisor(const LabDirs& dirs, const LabSpec& spec, int report_fd) {
  base::Loop loop;
  base::Signals signals(loop, {SIGTERM, SIGINT}, [&](int) { loop.Stop(); });
  const char* assets = getenv("KUBEBUILDER_ASSETS");
  int code = 0;
  Fd report(report_fd);
  SupervisorOptions options{.dirs = dirs,
                            .spec = spec,
                            .program = base::ProgramFile(),
                            .assets = assets == nullptr ? "" : assets};
  options.progress = [&](const std::string& line) { Say(report.get(), line); };
  options.ready = [&](const base::Status& status) {
    Say(report.get(), status.ok() ? "up" : "error: " + status.message());
    report.Reset();
    if (status.ok()) return;
    code = 1;
    loop.Stop();
  };
  Supervisor supervisor(loop, std::move(options));
  if (base::Status status = supervisor.Start(); !status.ok()) {
    Say(report.get(), "error: " + status.message());
    return 1;
  }
  loop.Run();
  return code;
}

// The first process of the lab's process namespace.
[[noreturn]] void RunInit(const LabDirs& dirs, const LabSpec& spec, int report_fd) {
  setsid();
  prctl(PR_SET_NAME, "isthmus-lab");
  mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
  mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr);
  Fd log(open(dirs.log().c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640));
  Fd nothing(open("/dev/null", O_RDONLY | O_CLOEXEC));
  dup2(nothing.get(), 0);
  dup2(log.get(), 1);
  dup2(log.get(), 2);
  if (chdir("/") != 0) _exit(1);
  const pid_t supervisor = fork();
  if (supervisor == 0) _exit(RunSupervisor(dirs, spec, report_fd));
  close(report_fd);
  for (const int fatal : {SIGTERM, SIGINT, SIGHUP}) signal(fatal, SIG_IGN);
  int status = 0;
  for (pid_t pid; (pid = wait(&status)) != supervisor;)
    if (pid < 0 && errno != EINTR) break;
  _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

base::Status WaitUntilUp(int report_fd, pid_t init) {
  std::string text;
  char buffer[4096];
  for (ssize_t n; (n = read(report_fd, buffer, sizeof buffer)) != 0;) {
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) break;
    text.append(buffer, static_cast<size_t>(n));
    for (size_t end; (end = text.find('\n')) != std::string::npos; text.erase(0, end + 1)) {
      std::string_view line = std::string_view(text).substr(0, end);
      if (line == "up") return {};
      if (base::ConsumePrefix(line, "error: "))
        return base::Status(base::Code::kInternal, std::string(line));
      fprintf(stderr, "lab: %.*s\n", static_cast<int>(line.size()), line.data());
    }
  }
  return base::Error(base::Code::kInternal, "the lab's supervisor (process {}) has ended", init);
}

}  // namespace

int RunningLab(const LabDirs& dirs) {
  // Whoever holds the lock runs. It is held by the lab's first process and goes with it.
  Fd lock(open(dirs.lock().c_str(), O_RDWR | O_CLOEXEC));
  if (!lock.valid() || flock(lock.get(), LOCK_EX | LOCK_NB) == 0) return 0;
  auto text = base::ReadFile(dirs.pid());
  auto pid = text.ok() ? base::ParseInt(base::Trim(*text)) : base::Result<int64_t>(text.status());
  return pid.ok() ? static_cast<int>(*pid) : 0;
}

base::Status StartLab(const LabDirs& dirs, const LabSpec& spec, const std::string& topology_text) {
  RETURN_IF_ERROR(base::MakeDirs(dirs.state), "state folder");
  Fd lock(open(dirs.lock().c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock.valid()) return base::ErrnoError("opening " + dirs.lock());
  if (flock(lock.get(), LOCK_EX | LOCK_NB) != 0)
    return base::Error(base::Code::kAlreadyExists, "another lab is being started in {}",
                       dirs.state);
  RETURN_IF_ERROR(base::WriteFile(dirs.topology(), topology_text), "state folder");
  int report[2];
  if (pipe2(report, O_CLOEXEC) != 0) return base::ErrnoError("pipe");
  Fd report_read(report[0]), report_write(report[1]);
  if (unshare(CLONE_NEWNS | CLONE_NEWPID) != 0) return base::ErrnoError("making namespaces");
  const pid_t init = fork();
  if (init < 0) return base::ErrnoError("forking");
  if (init == 0) RunInit(dirs, spec, report_write.get());
  report_write.Reset();
  base::Status status = base::WriteFile(dirs.pid(), std::to_string(init));
  if (status.ok()) status = WaitUntilUp(report_read.get(), init);
  if (status.ok()) return {};
  kill(init, SIGKILL);
  waitpid(init, nullptr, 0);
  return base::Status(status.code(),
                      status.message() + fmt::format(" (logs: {}, {})", dirs.log(), dirs.logs()));
}

base::Status StopLab(const LabDirs& dirs) {
  const int pid = RunningLab(dirs);
  if (pid > 0) {
    Fd process(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
    // Between reading the number and opening it, it may have become another's.
    if (process.valid() && RunningLab(dirs) == pid)
      syscall(SYS_pidfd_send_signal, process.get(), SIGKILL, nullptr, 0);
    Fd lock(open(dirs.lock().c_str(), O_RDWR | O_CLOEXEC));
    if (lock.valid()) flock(lock.get(), LOCK_EX);  // Until it is gone.
  }
  std::error_code error;
  // Only what the lab itself makes, whatever else somebody keeps there.
  for (const char* name : {"kubeconfig", "topology.yaml", "control.sock", "lock", "pid", "lab.log",
                           "logs", "run", "clusters", "proxy-port"})
    std::filesystem::remove_all(dirs.state + "/" + name, error);
  std::filesystem::remove(dirs.state, error);
  return {};
}

}  // namespace isthmus::lab::world
