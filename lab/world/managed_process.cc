#include "lab/world/managed_process.h"

#include <fcntl.h>
#include <signal.h>

#include "base/clock.h"
#include "base/log.h"
#include "lab/network/netns.h"

namespace isthmus::lab::world {
namespace {
using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;
constexpr auto kHealthyRun = 5s;
}  // namespace

ManagedProcess::ManagedProcess(base::Loop& loop, ProcessSpec spec)
    : loop_(loop),
      spec_(std::move(spec)),
      backoff_({.initial = 50ms, .max = 2s, .factor = 2, .jitter = 0}) {}

ManagedProcess::~ManagedProcess() {
  if (pid_ > 0) kill(pid_, SIGKILL);
}

base::Status ManagedProcess::Start() {
  if (std::exchange(wanted_, true)) return {};
  return Launch();
}

void ManagedProcess::Stop() {
  wanted_ = false;
  retry_.Cancel();
  if (pid_ > 0) kill(pid_, SIGKILL);
}

void ManagedProcess::Reload() {
  if (pid_ > 0) kill(pid_, SIGHUP);
}

base::Status ManagedProcess::Launch() {
  retry_.Cancel();
  if (!wanted_ || pid_ > 0) return {};
  network::Fd log(open(spec_.log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640));
  const network::Command command{
      .argv = spec_.argv, .fds = {{log.get(), 1}, {log.get(), 2}}, .new_session = true};
  base::Result<pid_t> pid = base::Error(base::Code::kInternal, "not started");
  auto spawn = [&]() -> base::Status {
    pid = network::Spawn(command);
    return pid.status();
  };
  base::Status status;
  if (spec_.network_namespace.empty()) {
    status = spawn();
  } else {
    auto ns = network::NetNs::Open(spec_.network_namespace);
    status = ns.ok() ? ns->Within(spawn) : ns.status();
  }
  if (!status.ok()) {
    status = status.In("starting " + spec_.name);
    LOG_ERROR("lab", "{}", status.message());
    retry_ = base::Timer::After(loop_, backoff_.Next(), [this] { (void)Launch(); });
    return status;
  }
  ++restarts_;
  pid_ = *pid;
  started_ = base::SystemClock().Now();
  watch_ = network::ProcessWatch::Start(loop_, pid_, [this](int exit_code) { Ended(exit_code); });
  return {};
}

void ManagedProcess::Ended(int exit_code) {
  pid_ = 0;
  if (!wanted_) return;
  LOG_WARN("lab", "{} has ended with code {}; it is started again (its log: {})", spec_.name,
           exit_code, spec_.log_path);
  if (base::SystemClock().Now() - started_ > kHealthyRun) backoff_.Reset();
  retry_ = base::Timer::After(loop_, backoff_.Next(), [this] { (void)Launch(); });
}

}  // namespace isthmus::lab::world
