#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <filesystem>

#include "base/backoff.h"
#include "base/files.h"
#include "base/net.h"
#include "base/process.h"
#include "base/signals.h"

namespace isthmus::base {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Callers take kNotFound for a file or a program that is not there; a system call of ours that
// fails must not look like it.
TEST(ErrnoTest, CallThatFailedIsInternal) {
  errno = ENOENT;
  EXPECT_EQ(ErrnoError("changing to /gone"),
            Status(Code::kInternal, "changing to /gone: No such file or directory"));
  EXPECT_EQ(CodeOfErrno(ENOENT, Code::kInternal), Code::kNotFound);
  EXPECT_EQ(CodeOfErrno(EPERM, Code::kInternal), Code::kPermissionDenied);
  EXPECT_EQ(CodeOfErrno(EINVAL, Code::kInternal), Code::kInternal);
}

class FilesTest : public testing::Test {
 protected:
  FilesTest() {
    char name[] = "/tmp/base-test-XXXXXX";
    folder_ = ::mkdtemp(name);
  }
  ~FilesTest() override { std::filesystem::remove_all(folder_); }
  std::string Path(const std::string& name) const { return folder_ + "/" + name; }

  std::string folder_;
  Loop loop_;
};

TEST_F(FilesTest, WritesWithModeAndReplaces) {
  ASSERT_TRUE(WriteFile(Path("f"), "one", 0600).ok());
  ASSERT_TRUE(WriteFile(Path("f"), std::string(100000, 'x'), 0640).ok());
  EXPECT_EQ(ReadFile(Path("f")).value().size(), 100000u);
  struct stat info {};
  ASSERT_EQ(::stat(Path("f").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0640u);
  EXPECT_EQ(ListDir(folder_).value(), std::vector<std::string>{"f"});  // No temporary file stays.
}

TEST_F(FilesTest, ErrorsNameThePath) {
  EXPECT_EQ(ReadFile(Path("none")).status().code(), Code::kNotFound);
  EXPECT_NE(ReadFile(Path("none")).status().message().find(Path("none")), std::string::npos);
  EXPECT_FALSE(ReadFile(folder_).ok());
  EXPECT_FALSE(WriteFile(Path("no/folder"), "x").ok());
  EXPECT_FALSE(ListDir(Path("none")).ok());
  ASSERT_TRUE(WriteFile(Path("d"), "x").ok());
  EXPECT_FALSE(MakeDirs(Path("d/e")).ok());
  // A folder in the way: the write fails and leaves nothing behind.
  ASSERT_TRUE(MakeDirs(Path("a/b/c")).ok());
  EXPECT_FALSE(WriteFile(Path("a"), "x").ok());
  EXPECT_EQ(ListDir(folder_).value(), (std::vector<std::string>{"a", "d"}));
}

TEST_F(FilesTest, MakesFoldersAndRemovesFiles) {
  EXPECT_TRUE(MakeDirs(Path("a/b/c/")).ok());
  EXPECT_TRUE(MakeDirs(Path("a/b/c")).ok());
  EXPECT_TRUE(Exists(Path("a/b/c")));
  EXPECT_TRUE(WriteFile(Path("a/f"), "").ok());
  EXPECT_EQ(ReadFile(Path("a/f")).value(), "");
  EXPECT_TRUE(RemoveFile(Path("a/f")).ok());
  EXPECT_TRUE(RemoveFile(Path("a/f")).ok());
  EXPECT_FALSE(Exists(Path("a/f")));
}

TEST_F(FilesTest, WatcherSeesCreationReplacementAndLinkSwaps) {
  // As a kubelet lays out a secret: file -> ..data/file, ..data -> a dated folder.
  ASSERT_TRUE(MakeDirs(Path("1")).ok());
  ASSERT_TRUE(MakeDirs(Path("2")).ok());
  ASSERT_TRUE(WriteFile(Path("1/token"), "old").ok());
  ASSERT_TRUE(WriteFile(Path("2/token"), "new").ok());
  std::filesystem::create_symlink("1", Path("..data"));
  std::filesystem::create_symlink("..data/token", Path("token"));
  int changes = 0;
  FileWatcher watcher(
      loop_, {Path("token"), Path("other")}, [&] { ++changes; }, milliseconds(1));
  std::filesystem::create_symlink("2", Path("..tmp"));
  std::filesystem::rename(Path("..tmp"), Path("..data"));
  EXPECT_TRUE(loop_.RunUntil([&] { return changes == 1; }, seconds(5)));
  ASSERT_TRUE(WriteFile(Path("other"), "x").ok());
  EXPECT_TRUE(loop_.RunUntil([&] { return changes == 2; }, seconds(5)));
  ASSERT_TRUE(RemoveFile(Path("other")).ok());
  EXPECT_TRUE(loop_.RunUntil([&] { return changes == 3; }, seconds(5)));
  EXPECT_FALSE(loop_.RunUntil([&] { return changes > 3; }, milliseconds(10)));
}

TEST_F(FilesTest, WatcherMayBeDestroyedByItsCallback) {
  bool called = false;
  std::unique_ptr<FileWatcher> watcher;
  watcher = std::make_unique<FileWatcher>(
      loop_, std::vector{Path("f")},
      [&] {
        watcher.reset();
        called = true;
      },
      milliseconds(1));
  ASSERT_TRUE(WriteFile(Path("f"), "x").ok());
  EXPECT_TRUE(loop_.RunUntil([&] { return called; }, seconds(5)));
}

TEST(SignalsTest, CallsBackUntilDestroyed) {
  Loop loop;
  std::vector<int> got;
  auto signals = std::make_unique<Signals>(loop, std::vector{SIGUSR1, SIGUSR2},
                                           [&](int signal) { got.push_back(signal); });
  ::raise(SIGUSR2);
  EXPECT_TRUE(loop.RunUntil([&] { return got == std::vector{SIGUSR2}; }, seconds(5)));
  Signals keeps_default_away(loop, {SIGUSR1}, [](int) {});
  signals.reset();
  ::raise(SIGUSR1);
  EXPECT_FALSE(loop.RunUntil([&] { return got.size() > 1; }, milliseconds(10)));
}

TEST(BackoffTest, GrowsToItsMaximumWithSpread) {
  double random = 0.5;
  Backoff::Options options;
  options.initial = milliseconds(100);
  options.max = milliseconds(350);
  options.random = [&] { return random; };
  Backoff backoff(options);
  EXPECT_EQ(backoff.Next(), milliseconds(100));
  EXPECT_EQ(backoff.Next(), milliseconds(200));
  EXPECT_EQ(backoff.Next(), milliseconds(350));
  random = 0;
  EXPECT_EQ(backoff.Next(), milliseconds(280));
  backoff.Reset();
  EXPECT_EQ(backoff.Next(), milliseconds(80));
  Backoff real;
  for (int i = 0; i < 100; ++i) EXPECT_LE(real.Next(), seconds(36));
}

class ProcessTest : public testing::Test {
 protected:
  Output Run(ProcessOptions options, Duration timeout = seconds(10)) {
    std::optional<Result<Output>> got;
    RunProcess(loop_, std::move(options), timeout,
               [&](Result<Output> output) { got = std::move(output); });
    EXPECT_TRUE(loop_.RunUntil([&] { return got.has_value(); }, seconds(20)));
    if (!got || !got->ok()) {
      status_ = got ? got->status() : Error(Code::kUnknown, "no answer");
      return {};
    }
    return std::move(*got).value();
  }
  Loop loop_;
  Status status_;
};

TEST_F(ProcessTest, CollectsOutputAndExitCode) {
  const Output output =
      Run({.argv = {"sh", "-c", "echo out; echo err >&2; pwd; echo $NAME; exit 3"},
           .env = std::vector<std::string>{"NAME=value", "PATH=/usr/bin:/bin"},
           .cwd = "/"});
  EXPECT_EQ(output.exit.text(), "exit code 3");
  EXPECT_EQ(output.out, "out\n/\nvalue\n");
  EXPECT_EQ(output.err, "err\n");
}

TEST_F(ProcessTest, CollectsAllOfALargeOutput) {
  EXPECT_EQ(Run({.argv = {"head", "-c", "1000000", "/dev/zero"}}).out.size(), 1000000u);
}

TEST_F(ProcessTest, DoesNotWaitForGrandchildrenThatHoldThePipe) {
  EXPECT_EQ(Run({.argv = {"sh", "-c", "sleep 5 & echo done"}}).out, "done\n");
}

TEST_F(ProcessTest, TimeoutKills) {
  Run({.argv = {"sleep", "100"}}, milliseconds(20));
  EXPECT_EQ(status_.code(), Code::kDeadlineExceeded);
}

TEST_F(ProcessTest, MissingProgramIsNotFound) {
  Run({.argv = {"/no/such/program"}});
  EXPECT_EQ(status_.code(), Code::kNotFound);
  EXPECT_NE(status_.message().find("/no/such/program"), std::string::npos);
}

TEST_F(ProcessTest, InputPipeAndExitBySignal) {
  std::string out;
  std::optional<ExitStatus> exit;
  ProcessOptions options;
  options.argv = {"cat"};
  options.in = ChildStream::Pipe();
  options.out = ChildStream::Pipe([&](std::string_view bytes) { out += bytes; });
  auto process =
      Process::Start(loop_, std::move(options), [&](ExitStatus status) { exit = status; });
  ASSERT_TRUE(process.ok());
  process.value()->Write(Slice(std::string(200000, 'a')));
  EXPECT_TRUE(loop_.RunUntil([&] { return out.size() == 200000; }, seconds(5)));
  EXPECT_TRUE(process.value()->running());
  process.value()->Kill(SIGTERM);
  EXPECT_TRUE(loop_.RunUntil([&] { return exit.has_value(); }, seconds(5)));
  EXPECT_EQ(exit->signal, SIGTERM);
  EXPECT_FALSE(process.value()->running());
  process.value()->Kill(SIGTERM);
  process.value()->Write(Slice::Static("late"));
}

TEST_F(ProcessTest, CloseInputSendsWhatWasWrittenFirst) {
  std::string out;
  bool exited = false;
  ProcessOptions options;
  options.argv = {"wc", "-c"};
  options.in = ChildStream::Pipe();
  options.out = ChildStream::Pipe([&](std::string_view bytes) { out += bytes; });
  auto process = Process::Start(loop_, std::move(options), [&](ExitStatus) { exited = true; });
  ASSERT_TRUE(process.ok());
  process.value()->Write(Slice(std::string(300000, 'a')));
  process.value()->CloseInput();
  EXPECT_TRUE(loop_.RunUntil([&] { return exited; }, seconds(5)));
  EXPECT_EQ(out, "300000\n");
}

TEST_F(ProcessTest, DestroyingKillsAndCallbackMayDestroy) {
  std::unique_ptr<Process> process;
  bool exited = false;
  process = Process::Start(loop_, {.argv = {"true"}}, [&](ExitStatus) {
              process.reset();
              exited = true;
            }).value();
  EXPECT_TRUE(loop_.RunUntil([&] { return exited; }, seconds(5)));

  process = Process::Start(loop_, {.argv = {"sleep", "100"}}, [](ExitStatus) { FAIL(); }).value();
  const int pid = process->pid();
  process.reset();
  // Gone and reaped: no process of that number any more.
  EXPECT_TRUE(loop_.RunUntil([&] { return ::kill(pid, 0) != 0; }, seconds(5)));
}

TEST_F(ProcessTest, DetachedChildLivesOn) {
  auto process = Process::Start(loop_, {.argv = {"sleep", "100"}}, [](ExitStatus) {}).value();
  const int pid = process->pid();
  process->Detach();
  process.reset();
  EXPECT_EQ(::kill(pid, 0), 0);
  ::kill(pid, SIGKILL);
  EXPECT_TRUE(loop_.RunUntil([&] { return ::kill(pid, 0) != 0; }, seconds(5)));
}

TEST_F(ProcessTest, KillGroupReachesGrandchildren) {
  std::string out;
  ProcessOptions options;
  options.argv = {"sh", "-c", "sleep 100 & echo $!; wait"};
  options.new_session = true;
  options.out = ChildStream::Pipe([&](std::string_view bytes) { out += bytes; });
  bool exited = false;
  auto process =
      Process::Start(loop_, std::move(options), [&](ExitStatus) { exited = true; }).value();
  ASSERT_TRUE(loop_.RunUntil([&] { return out.find('\n') != std::string::npos; }, seconds(5)));
  process->KillGroup(SIGKILL);
  EXPECT_TRUE(loop_.RunUntil([&] { return exited; }, seconds(5)));
  const std::string stat = "/proc/" + out.substr(0, out.size() - 1) + "/stat";
  EXPECT_TRUE(loop_.RunUntil(
      [&] {
        const auto text = ReadFile(stat);
        return !text.ok() || text->find(") Z ") != std::string::npos;
      },
      seconds(5)));
}

TEST(NetTest, ParsesAddresses) {
  EXPECT_EQ(SocketAddress::Parse("10.0.0.1:80")->text(), "10.0.0.1:80");
  EXPECT_EQ(SocketAddress::Parse("[::1]:65535")->text(), "[::1]:65535");
  EXPECT_TRUE(SocketAddress::Parse("[::1]:1")->is_v6());
  for (const char* text :
       {"", "10.0.0.1", "10.0.0.1:", "10.0.0.1:65536", "10.0.0.1:-1", "::1:80", "host:80"}) {
    EXPECT_FALSE(SocketAddress::Parse(text).ok()) << text;
  }
  EXPECT_TRUE(IsIpAddress("::ffff:1.2.3.4"));
  EXPECT_FALSE(IsIpAddress("1.2.3"));
}

TEST(NetTest, ParsesHostAndPort) {
  EXPECT_EQ(HostPort::Parse("istiod.istio-system.svc:15012")->port, 15012);
  EXPECT_EQ(HostPort::Parse("host", 443)->text(), "host:443");
  EXPECT_EQ(HostPort::Parse("[::1]:80")->host, "::1");
  EXPECT_EQ(HostPort::Parse("[::1]", 9)->text(), "[::1]:9");
  EXPECT_EQ(HostPort::Parse("::1", 9)->host, "::1");
  for (const char* text : {"", ":80", "host:", "host:x", "[::1", "[::1]80", "host:70000"}) {
    EXPECT_FALSE(HostPort::Parse(text).ok()) << text;
  }
}

TEST(NetTest, ResolvesOnTheLoop) {
  Loop loop;
  std::optional<Result<std::vector<SocketAddress>>> found, literal, none;
  const auto a = Resolve(loop, "localhost", 80, [&](auto result) { found = std::move(result); });
  const auto b = Resolve(loop, "::1", 80, [&](auto result) { literal = std::move(result); });
  const auto c =
      Resolve(loop, "no-such-host.invalid", 80, [&](auto result) { none = std::move(result); });
  auto dropped = Resolve(loop, "localhost", 80, [&](auto) { FAIL(); });
  dropped.reset();
  EXPECT_FALSE(literal.has_value());
  ASSERT_TRUE(loop.RunUntil([&] { return found && literal && none; }, seconds(20)));
  ASSERT_TRUE(found->ok());
  EXPECT_EQ(found->value()[0].port(), 80);
  EXPECT_EQ(literal->value()[0].text(), "[::1]:80");
  EXPECT_FALSE(none->ok());
  EXPECT_NE(none->status().message().find("no-such-host.invalid"), std::string::npos);
}

TEST(NetTest, UdpBothWays) {
  Loop loop;
  const auto any = SocketAddress::From("127.0.0.1", 0).value();
  std::unique_ptr<UdpSocket> server;
  server = UdpSocket::Bind(loop, any, [&](std::string_view datagram, const SocketAddress& from) {
             EXPECT_TRUE(server->Send("re:" + std::string(datagram), from).ok());
           }).value();
  std::string answer;
  std::unique_ptr<UdpSocket> client;
  client = UdpSocket::Bind(loop, any, [&](std::string_view datagram, const SocketAddress& from) {
             EXPECT_EQ(from, server->local());
             answer = datagram;
             client.reset();
           }).value();
  EXPECT_TRUE(client->Send("question", server->local()).ok());
  EXPECT_TRUE(loop.RunUntil([&] { return answer == "re:question"; }, seconds(5)));
  const auto taken = UdpSocket::Bind(loop, server->local(), [](auto, auto&) {});
  ASSERT_FALSE(taken.ok());
  EXPECT_NE(taken.status().message().find("in use"), std::string::npos);
}

}  // namespace
}  // namespace isthmus::base
