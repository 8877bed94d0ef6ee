#include "lab/node/container.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <optional>

#include "base/files.h"
#include "lab/network/netns.h"
#include "lab/node/container_log.h"
#include "lab/node/privileges.h"

namespace isthmus::lab::node {
namespace {

using std::chrono_literals::operator""s;
using testing::HasSubstr;
using testing::Not;

class ContainerTest : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
    ASSERT_TRUE(base::MakeDirs(dir_ + "/volume").ok());
    config_.hostname = "pod-1";
    config_.log_path = dir_ + "/log";
    config_.env = {"PATH=/usr/local/bin:/usr/bin:/bin", "COLOR=blue"};
  }
  void TearDown() override {
    if (container_ != nullptr) container_->Kill();
    container_.reset();
    std::filesystem::remove_all(dir_);
  }
  Container::Events Events() {
    return {.started = [this](const RunningState& state) { started_ = state; },
            .failed = [this](const base::Status& status) { failed_ = status; },
            .ended = [this](const ExitState& state) { ended_ = state; }};
  }
  void Make() {
    started_.reset(), ended_.reset(), failed_.reset();
    container_ = std::make_unique<Container>(loop_, "/proc/self/exe", dir_ + "/run", Events());
  }
  void Start(const std::string& script) {
    config_.args = {"sh", "-c", script};
    Make();
    container_->Start(config_);
    ASSERT_TRUE(loop_.RunUntil([this] { return started_ || failed_; }, 10s));
  }
  /// Runs the script to its end and gives what it printed, in log form.
  std::string RunScript(const std::string& script) {
    Start(script);
    if (failed_) return "failed: " + failed_->message();
    EXPECT_TRUE(loop_.RunUntil([this] { return ended_.has_value(); }, 10s));
    return Log();
  }
  std::string Log() {
    auto text = base::ReadFile(dir_ + "/log");
    return text.ok() ? *text : "";
  }
  void WaitForLog(const std::string& text) {
    ASSERT_TRUE(loop_.RunUntil([&] { return Log().find(text) != std::string::npos; }, 10s))
        << Log();
  }
  std::string ExecIn(std::vector<std::string> command, int* exit_code = nullptr) {
    auto exec = StartExec(*container_, {.command = std::move(command)});
    if (!exec.ok()) return exec.status().message();
    std::string text;
    char buffer[4096];
    for (const network::Fd* fd : {&exec->out, &exec->err})
      for (ssize_t n; (n = read(fd->get(), buffer, sizeof buffer)) > 0;)
        text.append(buffer, static_cast<size_t>(n));
    int status = 0;
    waitpid(exec->pid, &status, 0);
    if (exit_code != nullptr) *exit_code = WEXITSTATUS(status);
    return text;
  }

  base::Loop loop_;
  std::string dir_ = "/tmp/node-container-test-" + std::to_string(getpid());
  ContainerConfig config_;
  std::unique_ptr<Container> container_;
  std::optional<RunningState> started_;
  std::optional<ExitState> ended_;
  std::optional<base::Status> failed_;
};

TEST_F(ContainerTest, RunsLogsAndTellsItsExitCode) {
  const std::string log = RunScript("echo out $COLOR; echo err >&2; hostname; exit 5");
  EXPECT_THAT(log, HasSubstr("Z stdout F out blue\n"));
  EXPECT_THAT(log, HasSubstr("Z stderr F err\n"));
  EXPECT_THAT(log, HasSubstr("Z stdout F pod-1\n"));
  EXPECT_EQ(ended_->exit_code, 5);
  EXPECT_EQ(ended_->signal, 0);
}

TEST_F(ContainerTest, SeesOnlyItsOwnProcesses) {
  const std::string log = RunScript("ls -d /proc/[0-9]* | wc -l");
  // Init, the shell, ls and wc.
  EXPECT_THAT(log, testing::AnyOf(HasSubstr("stdout F 3\n"), HasSubstr("stdout F 4\n")));
}

TEST_F(ContainerTest, WritesTouchNothingOfTheMachine) {
  const std::string log = RunScript(
      "mkdir -p /etc/istio/x && echo y > /etc/node-test && cat /etc/node-test; touch /tmp/inside");
  EXPECT_THAT(log, HasSubstr("stdout F y\n"));
  EXPECT_FALSE(base::Exists("/etc/node-test"));
  EXPECT_FALSE(base::Exists("/etc/istio/x"));
  EXPECT_FALSE(base::Exists("/tmp/inside"));
}

TEST_F(ContainerTest, VolumesAreSharedAndReadOnlyOnesBarred) {
  ASSERT_TRUE(base::WriteFile(dir_ + "/volume/key", "value\n").ok());
  config_.mounts = {{dir_ + "/volume", "/var/run/secrets/x", true},
                    {dir_ + "/volume", "/data", false}};
  const std::string log =
      RunScript("cat /run/secrets/x/key; echo no > /var/run/secrets/x/key; echo new > /data/other");
  EXPECT_THAT(log, HasSubstr("stdout F value\n"));
  EXPECT_THAT(log, HasSubstr("Read-only file system"));
  EXPECT_EQ(*base::ReadFile(dir_ + "/volume/other"), "new\n");
}

TEST_F(ContainerTest, FileMountReplacesALink) {
  ASSERT_TRUE(base::WriteFile(dir_ + "/volume/resolv.conf", "nameserver 10.68.0.2\n").ok());
  config_.mounts = {{dir_ + "/volume/resolv.conf", "/etc/resolv.conf", false}};
  EXPECT_THAT(RunScript("cat /etc/resolv.conf"), HasSubstr("stdout F nameserver 10.68.0.2\n"));
}

TEST_F(ContainerTest, TakesUserGroupsAndLosesPrivileges) {
  config_.uid = 1337, config_.gid = 1337, config_.groups = {4000};
  const std::string log =
      RunScript("id -u; id -g; id -G; grep CapEff /proc/self/status; echo open > /dev/stdout");
  EXPECT_THAT(log, HasSubstr("stdout F 1337\n"));
  EXPECT_THAT(log, HasSubstr("stdout F 1337 4000\n"));
  EXPECT_THAT(log, HasSubstr("0000000000000000"));
  EXPECT_THAT(log, HasSubstr("stdout F open\n")) << "/dev/stdout can be opened by name";
}

TEST_F(ContainerTest, MissingProgramFailsWithAClearReason) {
  config_.args = {"no-such-program"};
  Make();
  container_->Start(config_);
  ASSERT_TRUE(loop_.RunUntil([this] { return failed_.has_value(); }, 10s));
  EXPECT_THAT(failed_->message(),
              HasSubstr("exec: \"no-such-program\": executable file not found in $PATH"));
}

TEST_F(ContainerTest, UnknownCapabilityFails) {
  config_.add_capabilities = {"FLY"};
  EXPECT_THAT(RunScript("true"), HasSubstr("unknown capability \"FLY\""));
}

TEST_F(ContainerTest, CapabilitiesAreAddedAfterAllAreDropped) {
  config_.drop_capabilities = {"ALL"};
  config_.add_capabilities = {"NET_ADMIN", "CAP_NET_RAW"};
  auto set = CapabilitySet(config_);
  ASSERT_TRUE(set.ok());
  EXPECT_EQ(*set, uint64_t{1} << 12 | uint64_t{1} << 13);
}

TEST_F(ContainerTest, TermReachesTheApplicationAndItsExitIsSeen) {
  Start("trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.05; done");
  WaitForLog("ready");
  container_->Signal("SIGTERM");
  ASSERT_TRUE(loop_.RunUntil([this] { return ended_.has_value(); }, 10s));
  EXPECT_EQ(ended_->exit_code, 0);
  EXPECT_THAT(Log(), HasSubstr("stdout F bye\n"));
}

TEST_F(ContainerTest, KillEndsEveryProcessOfIt) {
  Start("sleep 1000 & echo started; wait");
  WaitForLog("started");
  container_->Kill();
  ASSERT_TRUE(loop_.RunUntil([this] { return ended_.has_value(); }, 10s));
  EXPECT_EQ(ended_->exit_code, 137);
}

TEST_F(ContainerTest, ANewNodeTakesUpARunningContainer) {
  Start("echo ready; while [ ! -e /data/go ]; do sleep 0.02; done; exit 3");
  WaitForLog("ready");
  const int pid = container_->pid();
  Make();  // The old object is gone, as after kill -9 of the node.
  container_->Adopt();
  ASSERT_TRUE(loop_.RunUntil([this] { return started_.has_value(); }, 10s));
  EXPECT_EQ(container_->pid(), pid);
  container_->Kill();
  ASSERT_TRUE(loop_.RunUntil([this] { return ended_.has_value(); }, 10s));
}

TEST_F(ContainerTest, ANewNodeLearnsHowAContainerEndedMeanwhile) {
  RunScript("exit 3");
  Make();
  container_->Adopt();
  ASSERT_TRUE(loop_.RunUntil([this] { return ended_.has_value(); }, 10s));
  EXPECT_EQ(ended_->exit_code, 3);
}

TEST_F(ContainerTest, ExecRunsInsideWithTheContainersEnvironment) {
  Start("echo ready; sleep 1000");
  WaitForLog("ready");
  int code = 0;
  EXPECT_EQ(ExecIn({"sh", "-c", "echo $COLOR; hostname; exit 4"}, &code), "blue\npod-1\n");
  EXPECT_EQ(code, 4);
  EXPECT_THAT(ExecIn({"nothing-here"}, &code), HasSubstr("executable file not found"));
  EXPECT_EQ(code, 127);
}

TEST_F(ContainerTest, ExecWithATerminalHandsItOver) {
  Start("echo ready; sleep 1000");
  WaitForLog("ready");
  auto exec = StartExec(
      *container_, {.command = {"sh", "-c", "tty; read x; echo got $x"}, .tty = true, .in = true});
  ASSERT_TRUE(exec.ok());
  pollfd ready{exec->terminal_socket.get(), POLLIN, 0};
  ASSERT_EQ(poll(&ready, 1, 5000), 1);
  network::Fd terminal = ReceiveTerminal(exec->terminal_socket);
  ASSERT_TRUE(terminal.valid());
  ASSERT_EQ(write(terminal.get(), "word\n", 5), 5);
  std::string text;
  char buffer[256];
  for (ssize_t n; (n = read(terminal.get(), buffer, sizeof buffer)) > 0;)
    text.append(buffer, static_cast<size_t>(n));
  EXPECT_THAT(text, HasSubstr("/dev/pts/0"));
  EXPECT_THAT(text, HasSubstr("got word"));
  waitpid(exec->pid, nullptr, 0);
}

TEST_F(ContainerTest, MachineSettingsAreReadOnly) {
  EXPECT_THAT(RunScript("echo x > /proc/sys/kernel/hostname"), HasSubstr("Read-only file system"));
}

TEST(ContainerConfigTest, SurvivesItsJson) {
  ContainerConfig config;
  config.args = {"a", "b \"c\""};
  config.env = {"X=1"};
  config.uid = 1337;
  config.mounts = {{"/from", "/to", true}};
  config.folders = {{"/etc/istio", 1337, 0755}};
  auto back = ContainerConfig::FromJson(config.ToJson());
  ASSERT_TRUE(back.ok()) << back.status().message();
  EXPECT_EQ(back->ToJson(), config.ToJson());
  EXPECT_FALSE(ContainerConfig::FromJson("{\"args\": 3}").ok());
  EXPECT_FALSE(ContainerConfig::FromJson("not json").ok());
}

class ContainerLogTest : public testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directories(dir_);
    folder_.Reset(open(dir_.c_str(), O_PATH | O_DIRECTORY));
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }
  std::string dir_ = "/tmp/node-log-test-" + std::to_string(getpid());
  network::Fd folder_;
};

TEST_F(ContainerLogTest, JoinsPiecesOfALineAndMarksUnfinishedOnes) {
  {
    ContainerLog log(folder_.get(), "log");
    log.Write(false, "one ");
    log.Write(true, "err\n");
    log.Write(false, "line\nrest");
  }
  const std::string text = *base::ReadFile(dir_ + "/log");
  EXPECT_THAT(text, HasSubstr(" stdout F one line\n"));
  EXPECT_THAT(text, HasSubstr(" stdout P rest\n"));
  EXPECT_LT(text.find("stderr F err"), text.find("one line"));
}

TEST_F(ContainerLogTest, LongLinesArePartsAndFilesAreSetAside) {
  ContainerLog log(folder_.get(), "log", 17000);
  log.Write(false, std::string(20000, 'x') + "\n");
  const std::string aside = *base::ReadFile(dir_ + "/log.1");
  EXPECT_NE(aside.find(" stdout P xxx"), std::string::npos);
  EXPECT_NE(aside.find(" stdout F xxx"), std::string::npos);
  log.Write(false, "next\n");
  EXPECT_THAT(*base::ReadFile(dir_ + "/log"), HasSubstr("next"));
}

}  // namespace
}  // namespace isthmus::lab::node
