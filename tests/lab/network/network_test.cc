#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>

#include "lab/network/netlink.h"
#include "lab/network/netns.h"
#include "lab/network/nft.h"
#include "lab/network/process.h"

namespace isthmus::lab::network {
namespace {

using std::chrono_literals::operator""s;

TEST(CidrTest, ParsesAddressesAndRanges) {
  auto cidr = Cidr::Parse("172.20.1.5/24");
  ASSERT_TRUE(cidr.ok());
  EXPECT_EQ(cidr->ToString(), "172.20.1.5/24");
  EXPECT_EQ(FormatIpv4(cidr->network()), "172.20.1.0");
  EXPECT_EQ(cidr->size(), 256u);
  EXPECT_TRUE(cidr->Contains(Cidr::Parse("172.20.1.255")->address));
  EXPECT_FALSE(cidr->Contains(Cidr::Parse("172.20.2.0")->address));
}

TEST(CidrTest, TellsOverlaps) {
  const Cidr wide = *Cidr::Parse("172.20.0.0/16");
  EXPECT_TRUE(wide.Overlaps(*Cidr::Parse("172.20.9.0/24")));
  EXPECT_TRUE(Cidr::Parse("172.20.9.0/24")->Overlaps(wide));
  EXPECT_FALSE(wide.Overlaps(*Cidr::Parse("172.21.0.0/24")));
}

TEST(CidrTest, RefusesWhatIsNoRange) {
  for (const char* text :
       {"", "x", "1.2.3", "1.2.3.4/", "1.2.3.4/33", "1.2.3.4/-1", "1.2.3.4/0x8", "::1"})
    EXPECT_FALSE(Cidr::Parse(text).ok()) << text;
}

TEST(ProcessTest, RunsWithInputAndTellsExitCode) {
  auto finished = RunCommand({"sh", "-c", "cat; echo err >&2; exit 3"}, "hello\n");
  ASSERT_TRUE(finished.ok());
  EXPECT_EQ(finished->output, "hello\nerr\n");
  EXPECT_EQ(finished->exit_code, 3);
}

TEST(ProcessTest, InputLargerThanAPipeDoesNotBlock) {
  const std::string big(300000, 'x');
  auto finished = RunCommand({"cat"}, big);
  ASSERT_TRUE(finished.ok());
  EXPECT_EQ(finished->output, big);
}

TEST(ProcessTest, MissingProgramIsAnErrorThatNamesIt) {
  auto finished = RunCommand({"no-such-program-here"});
  ASSERT_FALSE(finished.ok());
  EXPECT_EQ(finished.status().code(), base::Code::kNotFound);
  EXPECT_NE(finished.status().message().find("no-such-program-here"), std::string::npos);
}

TEST(ProcessTest, WatchTellsExitCodeOnce) {
  base::Loop loop;
  auto pid = Spawn({.argv = {"sh", "-c", "exit 7"}});
  ASSERT_TRUE(pid.ok());
  int calls = 0, code = 0;
  auto watch = ProcessWatch::Start(loop, *pid, [&](int exit_code) { ++calls, code = exit_code; });
  EXPECT_TRUE(loop.RunUntil([&] { return calls > 0; }, 5s));
  EXPECT_EQ(code, 7);
  EXPECT_FALSE(watch.active());
  EXPECT_EQ(calls, 1);
}

TEST(ProcessTest, WatchOfAProcessThatIsGoneStillTells) {
  base::Loop loop;
  auto pid = Spawn({.argv = {"true"}});
  ASSERT_TRUE(pid.ok());
  waitpid(*pid, nullptr, 0);
  int code = 0;
  auto watch = ProcessWatch::Start(loop, *pid, [&](int exit_code) { code = exit_code; });
  EXPECT_EQ(code, 0) << "never inside the call";
  EXPECT_TRUE(loop.RunUntil([&] { return code == -1; }, 5s));
}

TEST(ProcessTest, StartTimeNamesAProcess) {
  EXPECT_GT(StartTime(getpid()), 0u);
  EXPECT_EQ(StartTime(1 << 30), 0u);
}

// Everything below makes namespaces, in a mount namespace of the test's own.
class NetNsTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (geteuid() != 0) return;
    ASSERT_EQ(unshare(CLONE_NEWNS), 0);
    ASSERT_EQ(mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
  }
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
    std::filesystem::create_directories(dir_);
  }
  void TearDown() override {
    for (const char* name : {"a", "b"}) NetNs::Remove(dir_ + "/" + name);
    std::filesystem::remove_all(dir_);
  }
  NetNs Make(const std::string& name) {
    auto ns = NetNs::Create(dir_ + "/" + name);
    EXPECT_TRUE(ns.ok()) << ns.status().message();
    return std::move(ns).value();
  }
  /// a (10.9.0.1) --- b (10.9.0.2), routed point to point as pods are.
  void Join(NetNs& a, NetNs& b) {
    base::Status status = a.Within([&]() -> base::Status {
      auto netlink = Netlink::Open();
      RETURN_IF_ERROR(netlink->AddVeth("va", "eth0", b.fd(), "ee:ee:ee:ee:ee:ee"), "veth");
      RETURN_IF_ERROR(netlink->SetUp("va"), "up");
      RETURN_IF_ERROR(netlink->AddAddress("va", *Cidr::Parse("10.9.0.1/32")), "address");
      RETURN_IF_ERROR(netlink->AddNeighbor("va", Cidr::Parse("10.9.0.2")->address, MacFor("va")),
                      "neighbour");
      return netlink->AddRoute({.to = *Cidr::Parse("10.9.0.2"), .device = "va"});
    });
    ASSERT_TRUE(status.ok()) << status.message();
    status = b.Within([&]() -> base::Status {
      auto netlink = Netlink::Open();
      RETURN_IF_ERROR(netlink->AddAddress("eth0", *Cidr::Parse("10.9.0.2/32")), "address");
      RETURN_IF_ERROR(netlink->SetUp("eth0"), "up");
      const uint32_t gateway = Cidr::Parse("169.254.1.1")->address;
      RETURN_IF_ERROR(netlink->AddNeighbor("eth0", gateway, "ee:ee:ee:ee:ee:ee"), "neighbour");
      return netlink->AddRoute(
          {.to = Cidr{0, 0}, .via = gateway, .device = "eth0", .onlink = true});
    });
    ASSERT_TRUE(status.ok()) << status.message();
  }
  std::string dir_ = "/tmp/node-netns-test-" + std::to_string(getpid());
};

TEST_F(NetNsTest, HasOnlyALoopbackAndWithinComesBack) {
  const std::string before = std::filesystem::read_symlink("/proc/self/ns/net");
  NetNs ns = Make("a");
  std::string inside;
  ASSERT_TRUE(ns.Within([&]() -> base::Status {
                  inside = RunCommand({"ip", "-o", "link"})->output;
                  return {};
                }).ok());
  EXPECT_NE(inside.find(": lo: <LOOPBACK,UP"), std::string::npos) << inside;
  EXPECT_EQ(inside.find("eth0"), std::string::npos) << inside;
  EXPECT_EQ(std::filesystem::read_symlink("/proc/self/ns/net"), before);
}

TEST_F(NetNsTest, PointToPointLinkCarriesTraffic) {
  NetNs a = Make("a"), b = Make("b");
  Join(a, b);
  Fd server, client;
  ASSERT_TRUE(b.Within([&]() -> base::Status {
                 server.Reset(socket(AF_INET, SOCK_STREAM, 0));
                 sockaddr_in address{AF_INET, htons(4711), {htonl(INADDR_ANY)}, {}};
                 EXPECT_EQ(
                     bind(server.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
                 EXPECT_EQ(listen(server.get(), 1), 0);
                 return {};
               }).ok());
  ASSERT_TRUE(a.Within([&]() -> base::Status {
                 client.Reset(socket(AF_INET, SOCK_STREAM, 0));
                 return {};
               }).ok());
  // The socket keeps its namespace although the thread is home again.
  sockaddr_in to{AF_INET, htons(4711), {htonl(Cidr::Parse("10.9.0.2")->address)}, {}};
  EXPECT_EQ(connect(client.get(), reinterpret_cast<sockaddr*>(&to), sizeof to), 0)
      << strerror(errno);
}

TEST_F(NetNsTest, RulesAreAppliedWholeOrNotAtAll) {
  NetNs ns = Make("a");
  ASSERT_TRUE(ns.Within([]() -> base::Status {
                  EXPECT_TRUE(ApplyNft("add table ip one\n").ok());
                  const base::Status status =
                      ApplyNft("add table ip two\nadd rule ip nowhere nothing accept\n");
                  EXPECT_FALSE(status.ok());
                  EXPECT_NE(status.message().find("nft refused"), std::string::npos);
                  EXPECT_EQ(RunCommand({"nft", "list", "tables"})->output, "table ip one\n");
                  return {};
                }).ok());
}

TEST_F(NetNsTest, AddingTwiceAndRemovingWhatIsAbsentIsFine) {
  NetNs ns = Make("a");
  ASSERT_TRUE(ns.Within([]() -> base::Status {
                  auto netlink = Netlink::Open();
                  EXPECT_TRUE(netlink->AddBridge("br0").ok());
                  EXPECT_TRUE(netlink->AddBridge("br0").ok());
                  EXPECT_TRUE(netlink->SetUp("br0").ok());
                  const Cidr address = *Cidr::Parse("10.1.1.1/24");
                  EXPECT_TRUE(netlink->AddAddress("br0", address).ok());
                  EXPECT_TRUE(netlink->AddAddress("br0", address).ok());
                  EXPECT_TRUE(netlink->DeleteAddress("br0", address).ok());
                  EXPECT_TRUE(netlink->DeleteAddress("br0", address).ok());
                  const Route barred{.to = *Cidr::Parse("10.2.0.0/16"), .unreachable = true};
                  EXPECT_TRUE(netlink->AddRoute(barred).ok());
                  EXPECT_TRUE(netlink->AddRoute(barred).ok());
                  EXPECT_TRUE(netlink->DeleteRoute(barred).ok());
                  EXPECT_TRUE(netlink->DeleteRoute(barred).ok());
                  EXPECT_TRUE(netlink->DeleteLink("br0").ok());
                  EXPECT_TRUE(netlink->DeleteLink("br0").ok());
                  EXPECT_EQ(netlink->SetUp("br0").code(), base::Code::kNotFound);
                  return {};
                }).ok());
}

}  // namespace
}  // namespace isthmus::lab::network
