#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

#include "agent/capture_command.h"
#include "base/strings.h"
#include "tests/pki/pki_fixture.h"

namespace isthmus::agent {
namespace {

using pki::Must;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using Strings = std::vector<std::string>;

constexpr char kResolvConf[] =
    "search a.b\nnameserver 10.96.0.10\nnameserver\tfd00::a\n# nameserver 9.9.9.9\n";

CaptureCommand Command(Strings args, std::map<std::string, std::string> env = {}) {
  return Must(ParseCaptureCommand(args, Environment(std::move(env)), kResolvConf));
}

/// What the injection template asks for.
CaptureCommand Injected(Strings more = {}, std::map<std::string, std::string> env = {}) {
  Strings args = {"-p",
                  "15001",
                  "-z",
                  "15006",
                  "-u",
                  "1337",
                  "-m",
                  "REDIRECT",
                  "-i",
                  "*",
                  "-x",
                  "",
                  "-b",
                  "*",
                  "-d",
                  "15090,15021,15020",
                  "--log_output_level=default:info"};
  args.insert(args.end(), more.begin(), more.end());
  return Command(std::move(args), std::move(env));
}

Strings RulesOf(const RuleSet& rules, const std::string& table, const std::string& chain) {
  Strings out;
  const auto at = rules.tables.find(table);
  if (at == rules.tables.end()) return out;
  for (const std::string& rule : at->second.rules)
    if (rule.starts_with("-A " + chain + " ")) out.push_back(rule.substr(chain.size() + 4));
  return out;
}

TEST(CaptureRulesTest, RedirectWithDefaults) {
  const RuleSet rules = MakeRules(Injected().options, IpFamily::kV4);
  EXPECT_THAT(RulesOf(rules, "nat", "PREROUTING"), ElementsAre("-p tcp -j ISTIO_INBOUND"));
  EXPECT_THAT(RulesOf(rules, "nat", "OUTPUT"), ElementsAre("-j ISTIO_OUTPUT"));
  EXPECT_THAT(RulesOf(rules, "nat", "ISTIO_INBOUND"),
              ElementsAre("-p tcp --dport 15008 -j RETURN", "-p tcp --dport 15090 -j RETURN",
                          "-p tcp --dport 15021 -j RETURN", "-p tcp --dport 15020 -j RETURN",
                          "-p tcp -j ISTIO_IN_REDIRECT"));
  EXPECT_THAT(RulesOf(rules, "nat", "ISTIO_IN_REDIRECT"),
              ElementsAre("-p tcp -j REDIRECT --to-ports 15006"));
  EXPECT_THAT(RulesOf(rules, "nat", "ISTIO_REDIRECT"),
              ElementsAre("-p tcp -j REDIRECT --to-ports 15001"));
  EXPECT_THAT(RulesOf(rules, "nat", "ISTIO_OUTPUT"),
              ElementsAre("-o lo -s 127.0.0.6/32 -j RETURN",
                          "-o lo ! -d 127.0.0.1/32 -p tcp ! --dport 15008 -m owner --uid-owner "
                          "1337 -j ISTIO_IN_REDIRECT",
                          "-o lo -m owner ! --uid-owner 1337 -j RETURN",
                          "-m owner --uid-owner 1337 -j RETURN",
                          "-o lo ! -d 127.0.0.1/32 -p tcp ! --dport 15008 -m owner --gid-owner "
                          "1337 -j ISTIO_IN_REDIRECT",
                          "-o lo -m owner ! --gid-owner 1337 -j RETURN",
                          "-m owner --gid-owner 1337 -j RETURN", "-d 127.0.0.1/32 -j RETURN",
                          "-j ISTIO_REDIRECT"));
  EXPECT_FALSE(rules.tables.contains("raw"));
  EXPECT_FALSE(rules.tables.contains("mangle"));
}

TEST(CaptureRulesTest, InclusionAndExclusion) {
  const CaptureCommand command =
      Command({"-i", "10.0.0.0/8,fd00::/8", "-x", "10.1.0.0/16", "-b", "80,443", "-d", "15020",
               "-o", "22", "-q", "9000", "-c", "eth9"});
  const RuleSet rules = MakeRules(command.options, IpFamily::kV4);
  EXPECT_THAT(RulesOf(rules, "nat", "PREROUTING"),
              ElementsAre("-i eth9 -j RETURN", "-p tcp -j ISTIO_INBOUND"));
  EXPECT_THAT(RulesOf(rules, "nat", "OUTPUT"), ElementsAre("-o eth9 -j RETURN", "-j ISTIO_OUTPUT"));
  EXPECT_THAT(
      RulesOf(rules, "nat", "ISTIO_INBOUND"),
      ElementsAre("-p tcp --dport 15008 -j RETURN", "-p tcp --dport 80 -j ISTIO_IN_REDIRECT",
                  "-p tcp --dport 443 -j ISTIO_IN_REDIRECT"));
  const Strings output = RulesOf(rules, "nat", "ISTIO_OUTPUT");
  EXPECT_EQ(output.front(), "-p tcp --dport 22 -j RETURN");
  EXPECT_EQ(output[1], "-p udp --dport 22 -j RETURN");
  EXPECT_THAT(Strings(output.end() - 3, output.end()),
              ElementsAre("-d 10.1.0.0/16 -j RETURN", "-p tcp --dport 9000 -j ISTIO_REDIRECT",
                          "-d 10.0.0.0/8 -j ISTIO_REDIRECT"));
  const Strings v6 = RulesOf(MakeRules(command.options, IpFamily::kV6), "nat", "ISTIO_OUTPUT");
  EXPECT_EQ(v6.back(), "-d fd00::/8 -j ISTIO_REDIRECT");
  EXPECT_THAT(v6, ::testing::Contains("-o lo -s ::6/128 -j RETURN"));
}

TEST(CaptureRulesTest, NothingIncludedMeansNoJump) {
  const RuleSet rules = MakeRules(Command({}).options, IpFamily::kV4);
  EXPECT_TRUE(RulesOf(rules, "nat", "PREROUTING").empty());
  EXPECT_EQ(RulesOf(rules, "nat", "ISTIO_OUTPUT").back(), "-d 127.0.0.1/32 -j RETURN");
}

TEST(CaptureRulesTest, IncludedLoopbackIsCaptured) {
  const Strings output = RulesOf(MakeRules(Command({"-i", "127.0.0.0/8"}).options, IpFamily::kV4),
                                 "nat", "ISTIO_OUTPUT");
  EXPECT_THAT(output, Not(::testing::Contains(HasSubstr("! --uid-owner"))));
}

TEST(CaptureRulesTest, DnsCapture) {
  const CaptureCommand command = Injected({}, {{"ISTIO_META_DNS_CAPTURE", "true"}});
  const RuleSet rules = MakeRules(command.options, IpFamily::kV4);
  const Strings output = RulesOf(rules, "nat", "ISTIO_OUTPUT");
  EXPECT_EQ(output[1],
            "-o lo ! -d 127.0.0.1/32 -p tcp -m multiport ! --dports 53,15008 -m owner --uid-owner "
            "1337 -j ISTIO_IN_REDIRECT");
  EXPECT_EQ(output[2], "-o lo -p tcp ! --dport 53 -m owner ! --uid-owner 1337 -j RETURN");
  EXPECT_EQ(output[4],
            "-o lo ! -d 127.0.0.1/32 -p tcp ! --dport 15008 -m owner --gid-owner 1337 -j "
            "ISTIO_IN_REDIRECT");
  EXPECT_EQ(output[7], "-j ISTIO_OUTPUT_DNS");
  EXPECT_THAT(RulesOf(rules, "nat", "ISTIO_OUTPUT_DNS"),
              ElementsAre("-p tcp --dport 53 -d 10.96.0.10/32 -j REDIRECT --to-ports 15053",
                          "-p udp --dport 53 -d 10.96.0.10/32 -j REDIRECT --to-ports 15053"));
  EXPECT_THAT(RulesOf(rules, "raw", "ISTIO_OUTPUT_DNS"),
              ElementsAre("-p udp --dport 53 -m owner --uid-owner 1337 -j CT --zone 1",
                          "-p udp --sport 15053 -m owner --uid-owner 1337 -j CT --zone 2",
                          "-p udp --dport 53 -m owner --gid-owner 1337 -j CT --zone 1",
                          "-p udp --sport 15053 -m owner --gid-owner 1337 -j CT --zone 2",
                          "-p udp --dport 53 -d 10.96.0.10/32 -j CT --zone 2"));
  EXPECT_THAT(RulesOf(rules, "raw", "ISTIO_INBOUND"),
              ElementsAre("-p udp --sport 53 -s 10.96.0.10/32 -j CT --zone 1"));
  const CaptureCommand none =
      Must(ParseCaptureCommand({"--redirect-dns"}, Environment(), "search x\n"));
  EXPECT_FALSE(none.options.redirect_dns) << "no nameserver to capture for";
}

TEST(CaptureCommandTest, HostileOptionsNeverReachIptables) {
  const auto refused = [](Strings args, std::map<std::string, std::string> env = {}) {
    return ParseCaptureCommand(args, Environment(std::move(env)), kResolvConf).status().message();
  };
  EXPECT_THAT(refused({"-b", "80;reboot"}), HasSubstr("istio-inbound-ports"));
  EXPECT_THAT(refused({"-d", "70000"}), HasSubstr("istio-local-exclude-ports"));
  EXPECT_THAT(refused({"-i", "10.0.0.0/33"}), HasSubstr("istio-service-cidr"));
  EXPECT_THAT(refused({"-x", "everything"}), HasSubstr("istio-service-exclude-cidr"));
  EXPECT_THAT(refused({"-c", "eth0 -j ACCEPT"}), HasSubstr("istio-exclude-interfaces"));
  EXPECT_THAT(refused({"-u", "root"}), HasSubstr("proxy-uid"));
  EXPECT_THAT(refused({"-m", "TPROXY"}), HasSubstr("TPROXY"));
  EXPECT_THAT(refused({"--no-such-flag"}), HasSubstr("--no-such-flag"));
  EXPECT_THAT(refused({"-p"}), HasSubstr("needs a value"));
  EXPECT_THAT(refused({}, {{"ISTIO_OUTBOUND_OWNER_GROUPS", "a\nb"}}), HasSubstr("OWNER_GROUPS"));
  EXPECT_THAT(refused({"extra"}), HasSubstr("extra"));
}

TEST(CaptureCommandTest, Ipv6FollowsTheFirstAddress) {
  EXPECT_FALSE(NeedsV6({"10.0.0.1", "fd00::1"}, false));
  EXPECT_TRUE(NeedsV6({"10.0.0.1", "fd00::1"}, true));
  EXPECT_TRUE(NeedsV6({"fd00::1", "10.0.0.1"}, false));
  EXPECT_FALSE(NeedsV6({}, true));
}

TEST(RestoreTextTest, OldRulesOfOursGoInTheSameStep) {
  const std::string saved =
      "*nat\n:PREROUTING ACCEPT [0:0]\n:ISTIO_INBOUND - [0:0]\n:ISTIO_OLD - [0:0]\n"
      "-A PREROUTING -p tcp -j ISTIO_INBOUND\n-A PREROUTING -p tcp -j DOCKER\n-A ISTIO_INBOUND -j "
      "ISTIO_OLD\nCOMMIT\n";
  const std::string text = RestoreText(MakeRules(Injected().options, IpFamily::kV4), saved);
  EXPECT_THAT(text, HasSubstr(":ISTIO_OLD - [0:0]\n"));
  EXPECT_THAT(text, HasSubstr("-D PREROUTING -p tcp -j ISTIO_INBOUND\n"));
  EXPECT_THAT(text, HasSubstr("-X ISTIO_OLD\n"));
  EXPECT_THAT(text, Not(HasSubstr("DOCKER")));
  EXPECT_EQ(CleanupText("*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p tcp -j DOCKER\nCOMMIT\n"),
            "");
  EXPECT_THAT(CleanupText(saved), HasSubstr("-X ISTIO_INBOUND\n"));
}

/// In a network namespace of its own, which needs root.
TEST(RunCaptureTest, AppliedRulesStandAndApplyingAgainChangesNothing) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  const pid_t child = fork();
  if (child == 0) {
    if (unshare(CLONE_NEWNET) != 0) _exit(77);
    std::freopen("/dev/null", "w", stdout);
    const Strings args = {"-i",
                          "*",
                          "-b",
                          "*",
                          "-d",
                          "15090,15021,15020",
                          "-u",
                          "1337",
                          "-g",
                          "1337",
                          "--redirect-dns",
                          "--capture-all-dns"};
    const auto count = [](const char* what) { return std::system(what); };
    if (RunCapture(args, Environment()) != 0) _exit(1);
    if (count("test $(iptables-save | grep -c -- '-A ISTIO_OUTPUT ') = 10 >/dev/null 2>&1") != 0)
      _exit(2);
    if (RunCapture(args, Environment()) != 0) _exit(3);
    if (count("test $(iptables-save | grep -c -- '-A OUTPUT -j ISTIO_OUTPUT$') = 1 >/dev/null "
              "2>&1") != 0)
      _exit(4);
    if (count("test $(iptables-save | grep -c -- '-A ISTIO_OUTPUT ') = 10 >/dev/null 2>&1") != 0)
      _exit(5);
    if (RunCapture({"--cleanup-only"}, Environment()) != 0) _exit(6);
    if (count("iptables-save | grep -q ISTIO >/dev/null 2>&1") == 0) _exit(7);
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 77) GTEST_SKIP() << "no network namespaces here";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace isthmus::agent
