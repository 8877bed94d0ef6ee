#include "agent/envoy.h"

#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>

#include "base/log.h"

namespace isthmus::agent {
namespace {

constexpr base::Duration kLongEnough = std::chrono::seconds(30);
constexpr int kMostShortLives = 10;

}  // namespace

EnvoyProcess::EnvoyProcess(base::Loop& loop, std::vector<std::string> argv, Events events)
    : loop_(loop),
      argv_(std::move(argv)),
      events_(std::move(events)),
      backoff_({.initial = std::chrono::milliseconds(50),
                .max = std::chrono::seconds(10),
                .random = nullptr}) {}

void EnvoyProcess::Start() {
  base::ProcessOptions options;
  options.argv = argv_;
  base::Result<std::unique_ptr<base::Process>> process = base::Process::Start(
      loop_, std::move(options), [this](base::ExitStatus status) { OnExit(status); });
  if (!process.ok()) {
    LOG_ERROR("default", "Envoy cannot be started: {}", process.status().message());
    return OnExit(base::ExitStatus{127, 0});
  }
  process_ = std::move(*process);
  LOG_INFO("default", "Envoy runs with pid {}", process_->pid());
  alive_timer_ = base::Timer::After(loop_, kLongEnough, [this] {
    short_lives_ = 0;
    backoff_.Reset();
  });
  if (events_.started) events_.started();
}

void EnvoyProcess::OnExit(base::ExitStatus status) {
  process_.reset();
  alive_timer_.Cancel();
  if (stopped_) {
    LOG_INFO("default", "Envoy has ended with {}", status.text());
    return std::exchange(stopped_, nullptr)();
  }
  const base::Duration delay = backoff_.Next();
  LOG_ERROR("default", "Envoy has ended with {}{}", status.text(),
            status.signal == SIGKILL ? " (out of memory?)" : "");
  if (++short_lives_ >= kMostShortLives) {
    LOG_ERROR("default", "Envoy has ended {} times soon after its start: giving up", short_lives_);
    if (events_.gave_up) events_.gave_up(status);
    return;
  }
  timer_ = base::Timer::After(loop_, delay, [this] { Start(); });
}

void EnvoyProcess::Stop(base::Duration grace, std::function<void()> done) {
  timer_.Cancel();
  if (process_ == nullptr) return done();
  stopped_ = std::move(done);
  process_->Kill(SIGTERM);
  timer_ = base::Timer::After(loop_, grace, [this] {
    if (process_ != nullptr) process_->Kill(SIGKILL);
  });
}

int RunBound(const std::vector<std::string>& args) {
  if (args.empty()) return 1;
  const pid_t parent = getppid();
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  // The parent may have ended before that.
  if (getppid() != parent) return 1;
  std::vector<char*> argv;
  for (const std::string& arg : args) argv.push_back(const_cast<char*>(arg.c_str()));
  argv.push_back(nullptr);
  execvp(argv.front(), argv.data());
  std::fprintf(stderr, "Error: %s: %s\n", args.front().c_str(), strerror(errno));
  return 127;
}

}  // namespace isthmus::agent
