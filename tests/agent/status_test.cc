#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>

#include "agent/app_probe.h"
#include "agent/drain.h"
#include "agent/envoy.h"
#include "agent/flags.h"
#include "agent/metrics_merge.h"
#include "agent/readiness.h"
#include "agent/status_server.h"
#include "base/files.h"
#include "tests/agent/network_fixture.h"

namespace isthmus::agent {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(EnvoyStatsTest, ReadyOnceEverythingHasCome) {
  EXPECT_THAT(NotReadyBecause(ParseEnvoyStats("")), HasSubstr("cds updates: 0 successful"));
  EXPECT_THAT(NotReadyBecause(ParseEnvoyStats(
                  "cluster_manager.cds.update_success: 1\nlistener_manager.lds.update_success: 0\n"
                  "listener_manager.lds.update_rejected: 3\n")),
              HasSubstr("3 rejected"));
  const std::string loaded =
      "cluster_manager.cds.update_success: 1\nlistener_manager.lds.update_success: 2\n";
  EXPECT_THAT(NotReadyBecause(ParseEnvoyStats(loaded + "server.state: 2\n")),
              HasSubstr("not live"));
  EXPECT_THAT(NotReadyBecause(ParseEnvoyStats(loaded + "server.state: 0\n")), HasSubstr("workers"));
  EXPECT_EQ(NotReadyBecause(
                ParseEnvoyStats(loaded + "server.state: 0\nlistener_manager.workers_started: 1\n")),
            "");
  EXPECT_EQ(ParseEnvoyStats("server.state: -4\nserver.state: junk\nserver.state\n").server_state,
            0u);
}

TEST(DrainTest, OnlyClientsConnectionsCount) {
  EXPECT_EQ(ActiveConnections(""), -1);
  EXPECT_EQ(ActiveConnections("listener.0.0.0.0_15006.downstream_cx_active: 3\n"
                              "listener.0.0.0.0_15006.worker_0.downstream_cx_active: 3\n"
                              "listener.0.0.0.0_15021.downstream_cx_active: 1\n"
                              "listener.0.0.0.0_15090.downstream_cx_active: 1\n"
                              "listener.admin.downstream_cx_active: 1\n"
                              "listener.envoy_internal_x.downstream_cx_active: 1\n"
                              "listener.0.0.0.0_8080.downstream_cx_active: 2\n"),
            5);
}

TEST(MetricsTest, TargetsOfTheApplication) {
  EXPECT_TRUE(Must(ParseScrapeTargets("")).empty());
  EXPECT_TRUE(Must(ParseScrapeTargets(R"({"scrape":"false","port":"80"})")).empty());
  const auto one = Must(ParseScrapeTargets(R"({"scrape":"true","path":"metrics","port":"9100"})"));
  ASSERT_EQ(one.size(), 1u);
  EXPECT_EQ(one[0].port, 9100);
  EXPECT_EQ(one[0].path, "/metrics");
  const auto several = Must(
      ParseScrapeTargets(R"({"scrape":"true","targets":[{"port":1,"path":"/a"},{"port":"2"}]})"));
  ASSERT_EQ(several.size(), 2u);
  EXPECT_EQ(several[1].path, "/metrics");
  EXPECT_FALSE(ParseScrapeTargets(R"({"scrape":"true","port":"many"})").ok());
  EXPECT_FALSE(ParseScrapeTargets(R"({"scrape":"true","port":"70000"})").ok());
  EXPECT_FALSE(ParseScrapeTargets("{").ok());
  EXPECT_EQ(AsPart("a 1\n# EOF\n"), "a 1\n");
  EXPECT_EQ(AsPart("# EOF"), "");
  EXPECT_EQ(AsPart("a 1"), "a 1\n");
}

TEST(FlagsTest, GoStyle) {
  Flags flags;
  flags.Add("name", 'n', "none", "NAME");
  flags.AddSwitch("loud", 'l');
  EXPECT_THAT(Must(flags.Parse({"a", "--name", "x", "--loud", "b", "--", "--name"}, {},
                               Flags::Unknown::kRefuse)),
              ElementsAre("a", "b", "--name"));
  EXPECT_EQ(flags.Get("name"), "x");
  EXPECT_TRUE(flags.Is("loud"));
  EXPECT_TRUE(flags.given("name"));
  Flags other;
  other.Add("name", 'n', "none", "NAME");
  other.AddSwitch("loud", 'l');
  EXPECT_THAT(Must(other.Parse({"--unknown", "value", "--unknown2=3", "kept", "--loud=false"},
                               {{"NAME", "env"}}, Flags::Unknown::kSkip)),
              ElementsAre("kept"));
  EXPECT_EQ(other.Get("name"), "env");
  EXPECT_FALSE(other.Is("loud"));
}

TEST(AppProbeTest, ReadsProbesOfAllKinds) {
  const auto probes = Must(ParseAppProbes(
      R"({"/app-health/a/readyz":{"httpGet":{"path":"ok","port":8080,"scheme":"HTTPS","httpHeaders":[{"name":"Host","value":"h"},{"name":"X","value":"1"}]},"timeoutSeconds":3},
          "/app-health/a/livez":{"tcpSocket":{"port":9}}, "/app-health/a/startupz":{"grpc":{"port":10,"service":"s"}}})"));
  const AppProbe& http = probes.at("/app-health/a/readyz");
  EXPECT_EQ(http.path, "/ok");
  EXPECT_TRUE(http.tls);
  EXPECT_EQ(http.host, "h");
  EXPECT_EQ(http.headers.Get("x"), "1");
  EXPECT_EQ(http.timeout, 3s);
  EXPECT_EQ(probes.at("/app-health/a/livez").kind, AppProbe::Kind::kTcp);
  EXPECT_EQ(probes.at("/app-health/a/startupz").service, "s");
  EXPECT_FALSE(ParseAppProbes("[]").ok());
  EXPECT_THAT(ParseAppProbes(R"({"/x":{"exec":{}}})").status().message(), HasSubstr("/x"));
  EXPECT_FALSE(ParseAppProbes(R"({"/x":{"httpGet":{"port":"http"}}})").ok());
}

/// The status port of an agent whose Envoy and application are the test's.
struct StatusTest : NetworkTest {
  std::unique_ptr<http::Server>
      peer;  // Envoy's admin port, its metrics and the application in one.
  std::vector<std::string> asked;
  bool envoy_ready = false;
  std::string missing;
  std::shared_ptr<const NameTable> table;
  int quits = 0, drains = 0;
  std::unique_ptr<Readiness> readiness;
  std::unique_ptr<MetricsMerger> merger;
  std::unique_ptr<AppProber> prober;
  std::unique_ptr<StatusServer> status;

  void SetUp() override {
    NetworkTest::SetUp();
    peer = std::make_unique<http::Server>(
        loop, http::ServerOptions{},
        [this](std::shared_ptr<http::ServerStream> stream) { Serve(*stream); });
    ASSERT_TRUE(peer->Start().ok());
    const std::string origin = "http://127.0.0.1:" + std::to_string(peer->port());
    readiness = std::make_unique<Readiness>(loop, origin, [this] { return missing; });
    merger = std::make_unique<MetricsMerger>(
        loop, metrics, peer->port(),
        std::vector<ScrapeTarget>{{peer->port(), "/app"}, {1, "/gone"}});
    const std::string port = std::to_string(peer->port());
    prober = std::make_unique<AppProber>(
        loop,
        Must(ParseAppProbes(
            R"({"/app-health/a/readyz":{"httpGet":{"path":"/ok","host":"app.example","port":)" +
            port + R"(}},"/app-health/a/livez":{"tcpSocket":{"port":)" + port +
            R"(}},"/app-health/b/readyz":{"httpGet":{"path":"/redirect","port":)" + port +
            R"(}},"/app-health/b/livez":{"tcpSocket":{"port":1}},"/app-health/c/readyz":{"httpGet":{"path":"/broken","port":)" +
            port + "}}}")),
        "127.0.0.1", "127.0.0.6");
    status = std::make_unique<StatusServer>(
        loop, "127.0.0.1", 0,
        StatusActions{*readiness, *merger, *prober, [this] { return table; }, [this] { ++quits; },
                      [this] { ++drains; }});
    ASSERT_TRUE(status->Start().ok());
  }
  void TearDown() override {
    status.reset();
    prober.reset();
    merger.reset();
    readiness.reset();
    peer.reset();
    NetworkTest::TearDown();
  }
  void Serve(http::ServerStream& stream) {
    const std::string path = stream.head().path();
    asked.push_back(path + " " + stream.head().authority + " " +
                    stream.peer().address.substr(0, stream.peer().address.rfind(':')));
    if (path == "/stats")
      return stream.Respond(
          200, "text/plain",
          envoy_ready
              ? "cluster_manager.cds.update_success: 1\nlistener_manager.lds.update_success: "
                "1\nserver.state: 0\nlistener_manager.workers_started: 1\n"
              : "server.state: 2\n");
    if (path == "/stats/prometheus") return stream.Respond(200, "text/plain", "envoy_up 1\n");
    if (path == "/app") return stream.Respond(200, "text/plain", "app_up 1\n# EOF\n");
    if (path == "/ok") return stream.Respond(200, "text/plain", "fine");
    if (path == "/redirect") {
      stream.SendHeaders(302, {{"location", "/ok"}}, true);
      return;
    }
    stream.Respond(503, "text/plain", "broken");
  }
  http::Response Ask(const std::string& path, const std::string& method = "GET") {
    http::Request request;
    request.method = method;
    request.target = path;
    return Must(Get("http://127.0.0.1:" + std::to_string(status->port()), std::move(request)));
  }
};

TEST_F(StatusTest, ReadinessIsLatchedUntilEnvoyStartsAgain) {
  EXPECT_EQ(Ask("/healthz/ready").status, 503);
  envoy_ready = true;
  EXPECT_EQ(Ask("/healthz/ready").status, 200);
  envoy_ready = false;
  EXPECT_EQ(Ask("/healthz/ready").status, 200);
  missing = "the name table";
  EXPECT_THAT(Ask("/healthz/ready").body, HasSubstr("the name table"));
  missing.clear();
  readiness->EnvoyStarted();
  EXPECT_EQ(Ask("/healthz/ready").status, 503);
  envoy_ready = true;
  readiness->ShuttingDown();
  EXPECT_THAT(Ask("/healthz/ready").body, HasSubstr("shutting down"));
}

TEST_F(StatusTest, MetricsOfAllPartsThatAnswer) {
  metrics.AddCounter("istio_agent_own", "Own.").Add();
  const http::Response response = Ask("/stats/prometheus?usedonly");
  EXPECT_THAT(response.body, HasSubstr("istio_agent_own 1\n"));
  EXPECT_THAT(response.body, HasSubstr("envoy_up 1\napp_up 1\n"));
  EXPECT_THAT(response.body, ::testing::Not(HasSubstr("# EOF")));
  EXPECT_THAT(Ask("/metrics").body,
              HasSubstr(R"(istio_agent_scrape_failures_total{type="application"})"));
}

TEST_F(StatusTest, ProbesGoToTheApplicationFromTheFreeAddress) {
  EXPECT_EQ(Ask("/app-health/a/readyz").body, "fine");
  EXPECT_EQ(asked.back(), "/ok app.example 127.0.0.6");
  EXPECT_EQ(Ask("/app-health/a/livez").status, 200);
  EXPECT_EQ(Ask("/app-health/b/readyz").body, "fine") << "a redirect on the same host is followed";
  EXPECT_EQ(Ask("/app-health/b/livez").status, 500);
  EXPECT_EQ(Ask("/app-health/c/readyz").status, 503);
  EXPECT_EQ(Ask("/app-health/none/readyz").status, 400);
}

TEST_F(StatusTest, OrdersArePostsOfThisPod) {
  EXPECT_EQ(Ask("/quitquitquit").status, 405);
  EXPECT_EQ(Ask("/quitquitquit", "POST").status, 200);
  EXPECT_EQ(Ask("/drain", "POST").status, 200);
  EXPECT_EQ(quits, 1);
  EXPECT_EQ(drains, 1);
  EXPECT_EQ(Ask("/debug/ndsz").status, 404);
  table = std::make_shared<const NameTable>();
  EXPECT_EQ(Ask("/debug/ndsz").status, 200);
  EXPECT_EQ(Ask("/other").status, 404);
}

struct EnvoyProcessTest : NetworkTest {
  std::unique_ptr<EnvoyProcess> envoy;
  int starts = 0;
  std::optional<base::ExitStatus> gave_up;
  void Run(const std::string& script) {
    envoy = std::make_unique<EnvoyProcess>(
        loop, std::vector<std::string>{"/bin/sh", "-c", script},
        EnvoyProcess::Events{.started = [this] { ++starts; },
                             .gave_up = [this](base::ExitStatus status) { gave_up = status; }});
    envoy->Start();
  }
};

TEST_F(EnvoyProcessTest, IsStartedAgainWhenItIsKilled) {
  Run("sleep 60");
  const int pid = envoy->pid();
  kill(pid, SIGKILL);
  ASSERT_TRUE(Until([&] { return starts == 2; }));
  EXPECT_NE(envoy->pid(), pid);
  bool stopped = false;
  envoy->Stop(5s, [&] { stopped = true; });
  ASSERT_TRUE(Until([&] { return stopped; }));
  EXPECT_EQ(starts, 2) << "not again after it was told to end";
}

TEST_F(EnvoyProcessTest, StopKillsWhatDoesNotEnd) {
  Run("trap '' TERM; echo > " + folder + "/up; while true; do sleep 1; done");
  ASSERT_TRUE(Until([&] { return base::Exists(folder + "/up"); }));
  bool stopped = false;
  envoy->Stop(50ms, [&] { stopped = true; });
  EXPECT_TRUE(Until([&] { return stopped; }));
}

TEST_F(EnvoyProcessTest, AProgramThatIsNotThereIsTriedAgain) {
  envoy = std::make_unique<EnvoyProcess>(loop, std::vector<std::string>{"/no/such/envoy"},
                                         EnvoyProcess::Events{});
  envoy->Start();
  EXPECT_EQ(envoy->pid(), 0);
  bool stopped = false;
  envoy->Stop(1s, [&] { stopped = true; });
  EXPECT_TRUE(stopped);
}

}  // namespace
}  // namespace isthmus::agent
