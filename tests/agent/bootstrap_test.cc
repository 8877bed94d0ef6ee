#include "agent/bootstrap.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>

#include <cstdio>
#include <fstream>

#include "tests/pki/pki_fixture.h"

namespace isthmus::agent {
namespace {

using pki::Must;
using ::testing::HasSubstr;

using Values = std::map<std::string, std::string>;

Environment PodEnvironment() {
  return Environment(Values{
      {"POD_NAME", "sleep-1"},
      {"POD_NAMESPACE", "sample"},
      {"SERVICE_ACCOUNT", "sleep"},
      {"INSTANCE_IP", "10.10.0.5"},
      {"ISTIO_META_CLUSTER_ID", "cluster1"},
      {"ISTIO_META_NETWORK", "network1"},
      {"ISTIO_META_MESH_ID", "mesh1"},
      {"ISTIO_META_WORKLOAD_NAME", "sleep"},
      {"ISTIO_META_POD_PORTS", R"([{"containerPort":80}])"},
      {"ISTIO_METAJSON_EXTRA", R"({"EXTRA":{"a":1}})"},
      {"PROXY_CONFIG", R"({"discoveryAddress":"istiod.istio-system.svc:15012","concurrency":2})"}});
}

Json BootstrapOf(const Settings& settings) {
  return Must(kubeapi::ParseJson(Must(MakeBootstrap(settings))));
}

/// Runs `envoy --mode validate` and gives back what it printed, or "" when it accepts.
std::string Validate(const std::string& bootstrap, bool tolerate_unknown = false) {
  const std::string path =
      ::testing::TempDir() + "/isthmus-agent-bootstrap-" + std::to_string(getpid()) + ".json";
  std::ofstream(path) << bootstrap;
  const std::string command = std::string(ISTHMUS_THIRD_PARTY) +
                              "/envoy/envoy --mode validate --disable-hot-restart -c " + path +
                              (tolerate_unknown ? " --allow-unknown-static-fields" : "") + " 2>&1";
  FILE* pipe = popen(command.c_str(), "r");
  std::string output;
  char buffer[4096];
  while (const size_t size = fread(buffer, 1, sizeof buffer, pipe)) output.append(buffer, size);
  return pclose(pipe) == 0 ? std::string() : output;
}

TEST(BootstrapTest, EnvoyAcceptsASidecarsBootstrap) {
  Settings settings = Must(LoadSettings({}, PodEnvironment(), {}));
  settings.proxy.runtime_values = {{"my.flag", "true"}, {"other", "7"}};
  EXPECT_EQ(Validate(Must(MakeBootstrap(settings))), "");
}

TEST(BootstrapTest, TheCollectorOfSpansIsTheConfiguredOne) {
  Settings settings = Must(LoadSettings({}, PodEnvironment(), {}));
  EXPECT_FALSE(BootstrapOf(settings).contains("tracing"));
  settings.proxy.raw["tracing"]["zipkin"]["address"] = "zipkin.istio-system:9411";
  EXPECT_EQ(Validate(Must(MakeBootstrap(settings))), "");
  const Json bootstrap = BootstrapOf(settings);
  EXPECT_EQ(bootstrap["tracing"]["http"]["typed_config"]["collector_cluster"], "zipkin");
  const Json& cluster = bootstrap["static_resources"]["clusters"].back();
  EXPECT_EQ(cluster["name"], "zipkin");
  const Json& endpoint =
      cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"];
  EXPECT_EQ(endpoint["socket_address"]["address"], "zipkin.istio-system");
  EXPECT_EQ(endpoint["socket_address"]["port_value"], 9411);
}

TEST(BootstrapTest, EnvoyAcceptsAGatewaysBootstrapOverIpv6) {
  Environment env(Values{{"POD_NAME", "gw"},
                         {"POD_NAMESPACE", "istio-system"},
                         {"INSTANCE_IP", "fd00::5"},
                         {"ISTIO_DELTA_XDS", "false"},
                         {"METRICS_LOCALHOST_ACCESS_ONLY", "true"},
                         {"EXIT_ON_ZERO_ACTIVE_CONNECTIONS", "true"}});
  Settings settings =
      Must(LoadSettings({.type = "router", .outlier_log_path = "/dev/stdout"}, std::move(env), {}));
  settings.proxy.stats_compression = false;
  EXPECT_EQ(Validate(Must(MakeBootstrap(settings))), "");
  const Json bootstrap = BootstrapOf(settings);
  const Json& discovery = bootstrap["dynamic_resources"]["ads_config"];
  EXPECT_EQ(discovery["api_type"], "GRPC");
  const Json& retry = discovery["grpc_services"][0]["envoy_grpc"]["retry_policy"]["retry_back_off"];
  EXPECT_EQ(retry["max_interval"], "2s");
  EXPECT_EQ(bootstrap["admin"]["address"]["socket_address"]["address"], "::1");
}

TEST(BootstrapTest, NodeSaysWhoTheProxyIs) {
  const Settings settings = Must(LoadSettings({}, PodEnvironment(), {"10.10.0.5", "192.168.9.9"}));
  const Json node = Must(MakeNode(settings));
  EXPECT_EQ(node["id"], "sidecar~10.10.0.5~sleep-1.sample~sample.svc.cluster.local");
  EXPECT_EQ(node["cluster"], "sleep.sample");
  const Json& metadata = node["metadata"];
  EXPECT_EQ(metadata["CLUSTER_ID"], "cluster1");
  EXPECT_EQ(metadata["NETWORK"], "network1");
  EXPECT_EQ(metadata["NAMESPACE"], "sample");
  EXPECT_EQ(metadata["SERVICE_ACCOUNT"], "sleep");
  EXPECT_EQ(metadata["INSTANCE_IPS"], "10.10.0.5,192.168.9.9");
  EXPECT_EQ(metadata["POD_PORTS"], R"([{"containerPort":80}])");
  EXPECT_EQ(metadata["EXTRA"]["a"], 1);
  EXPECT_EQ(metadata["PROXY_CONFIG"]["concurrency"], 2);
  EXPECT_EQ(metadata["PROXY_CONFIG"]["discoveryAddress"], "istiod.istio-system.svc:15012");
  EXPECT_FALSE(metadata["ISTIO_VERSION"].get<std::string>().empty());
}

TEST(BootstrapTest, LabelsAndLocalityComeFromThePod) {
  Settings settings = Must(LoadSettings({}, PodEnvironment(), {}));
  settings.labels = {
      {"app", "web"}, {"pod-template-hash", "x"}, {"istio-locality", "eu.west.rack1"}};
  const Json node = Must(MakeNode(settings));
  EXPECT_EQ(node["cluster"], "web.sample");
  EXPECT_EQ(node["metadata"]["LABELS"],
            (Json{{"app", "web"}, {"istio-locality", "eu.west.rack1"}}));
  EXPECT_EQ(node["locality"], (Json{{"region", "eu"}, {"zone", "west"}, {"sub_zone", "rack1"}}));
}

TEST(BootstrapTest, StatsPatternsKnowThePodsAddress) {
  Settings settings = Must(LoadSettings({}, PodEnvironment(), {}));
  settings.annotations["sidecar.istio.io/statsInclusionPrefixes"] =
      "listener.{pod_ip},cluster.outbound";
  const std::string text = Must(MakeBootstrap(settings));
  EXPECT_THAT(text, HasSubstr("listener.10.10.0.5"));
  EXPECT_THAT(text, HasSubstr("cluster.outbound"));
}

TEST(BootstrapTest, EnvoysArguments) {
  Settings settings =
      Must(LoadSettings({.component_log_level = "misc:error"}, PodEnvironment(), {}));
  EXPECT_THAT(EnvoyArguments(settings, "x.json"),
              ::testing::ElementsAre("/usr/local/bin/envoy", "-c", "x.json", "--drain-time-s", "45",
                                     "--drain-strategy", "immediate", "--local-address-ip-version",
                                     "v4", "--file-flush-interval-msec", "1000",
                                     "--disable-hot-restart", "--allow-unknown-static-fields", "-l",
                                     "warning", "--component-log-level", "misc:error",
                                     "--skip-deprecated-logs", "--concurrency", "2"));
}

TEST(SettingsTest, DefaultsAreThoseOfTheField) {
  const Settings settings = Must(LoadSettings({}, Environment(), {"10.0.0.9"}));
  EXPECT_EQ(settings.proxy.discovery_address, "istiod.istio-system.svc:15012");
  EXPECT_EQ(settings.proxy.status_port, 15020);
  EXPECT_EQ(settings.proxy.drain_duration, std::chrono::seconds(45));
  EXPECT_EQ(settings.domain, "default.svc.cluster.local");
  EXPECT_EQ(settings.spiffe_id(), "spiffe://cluster.local/ns/default/sa/default");
  EXPECT_TRUE(settings.delta_xds);
  EXPECT_FALSE(settings.dns_capture);
}

TEST(SettingsTest, LaterSourcesReplaceFieldsAndMetadataMerges) {
  ProxyConfigSources sources;
  sources.mesh_file =
      "trustDomain: x\ndefaultConfig:\n  discoveryAddress: a:1\n  drainDuration: 10s\n  "
      "proxyMetadata: {A: \"1\", B: 2}\n";
  sources.environment = R"({"discoveryAddress":"b:2","proxyMetadata":{"C":"3"}})";
  sources.annotation = "terminationDrainDuration: 1m30s\nproxyMetadata:\n  A: nine\n";
  sources.status_port = "15999";
  const ProxyConfig config = Must(AssembleProxyConfig(sources));
  EXPECT_EQ(config.discovery_address, "b:2");
  EXPECT_EQ(config.drain_duration, std::chrono::seconds(10));
  EXPECT_EQ(config.termination_drain_duration, std::chrono::seconds(90));
  EXPECT_EQ(config.status_port, 15999);
  EXPECT_EQ(config.metadata,
            (std::map<std::string, std::string>{{"A", "nine"}, {"B", "2"}, {"C", "3"}}));
}

TEST(SettingsTest, BadInputIsNamed) {
  const auto message = [](ProxyConfigSources sources) {
    return AssembleProxyConfig(sources).status().message();
  };
  EXPECT_THAT(message({.environment = "[1]"}), HasSubstr("PROXY_CONFIG"));
  EXPECT_THAT(message({.annotation = "a: ["}), HasSubstr("proxy.istio.io/config"));
  EXPECT_THAT(message({.environment = R"({"statusPort":70000})"}), HasSubstr("statusPort"));
  EXPECT_THAT(message({.environment = R"({"drainDuration":"soon"})"}), HasSubstr("drainDuration"));
  EXPECT_THAT(message({.environment = R"({"drainDuration":7})"}), HasSubstr("not a string"));
  EXPECT_THAT(message({.status_port = "many"}), HasSubstr("status.sidecar.istio.io/port"));
  EXPECT_THAT(LoadSettings({.type = "butler"}, Environment(), {}).status().message(),
              HasSubstr("butler"));
  EXPECT_THAT(LoadSettings({}, Environment(Values{{"INSTANCE_IP", "ten"}}), {}).status().message(),
              HasSubstr("INSTANCE_IP"));
  EXPECT_THAT(
      LoadSettings({}, Environment(Values{{"ISTIO_CPU_LIMIT", "x"}}), {}).status().message(),
      HasSubstr("ISTIO_CPU_LIMIT"));
  const Settings bad = Must(LoadSettings({}, Environment(Values{{"ISTIO_METAJSON_X", "[1]"}}), {}));
  EXPECT_THAT(MakeBootstrap(bad).status().message(), HasSubstr("ISTIO_METAJSON_X"));
}

TEST(PodInfoTest, ReadsGoQuotedLines) {
  const auto values = ParsePodInfo(
      "app=\"web\"\nnote=\"two\\nlines \\\"q\\\" \\u00e9 \\x41 \\\\\"\nbad "
      "line\nbroken=\"x\nempty=\"\"\nodd=\"\\u12\"\n");
  EXPECT_EQ(values,
            (std::map<std::string, std::string>{
                {"app", "web"}, {"note", "two\nlines \"q\" \xc3\xa9 A \\"}, {"empty", ""}}));
}

}  // namespace
}  // namespace isthmus::agent
