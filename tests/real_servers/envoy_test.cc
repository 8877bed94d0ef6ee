// isthmusd outside of a cluster against a real kube-apiserver, with real Envoys: they come alive
// and refuse nothing.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>

#include "base/files.h"
#include "base/process.h"
#include "config/crds.h"
#include "kubeapi/json.h"
#include "kubeapi/meta.h"
#include "kubeclient/client.h"
#include "kubeclient/sync.h"
#include "tests/real_servers/cluster.h"
#include "tests/real_servers/envoy_fixture.h"

namespace isthmus::controlplane {
namespace {

using kubeapi::Json;
using testing::HasSubstr;
using testing::Not;

constexpr auto kPatience = std::chrono::seconds(20);

constexpr std::string_view kWorld = R"(
apiVersion: v1
kind: Namespace
metadata: {name: istio-system}
---
apiVersion: v1
kind: Namespace
metadata: {name: sample}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: "accessLogFile: /dev/stdout", meshNetworks: "networks: {}"}
---
apiVersion: v1
kind: Service
metadata: {name: helloworld, namespace: sample, labels: {app: helloworld}}
spec: {selector: {app: helloworld}, ports: [{name: http, port: 5000}, {name: tcp-db, port: 9000}]}
---
apiVersion: v1
kind: Service
metadata: {name: headless, namespace: sample}
spec: {clusterIP: None, selector: {app: helloworld}, ports: [{name: grpc, port: 7070}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: helloworld-1, namespace: sample, labels: {kubernetes.io/service-name: helloworld}}
addressType: IPv4
endpoints: [{addresses: [10.1.0.1], conditions: {ready: true}}]
ports: [{name: http, port: 5000, protocol: TCP}, {name: tcp-db, port: 9000, protocol: TCP}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: helloworld, namespace: sample}
spec: {host: helloworld, subsets: [{name: v1, labels: {version: v1}}], trafficPolicy: {outlierDetection: {consecutive5xxErrors: 3}}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: helloworld, namespace: sample}
spec:
  hosts: [helloworld]
  gateways: [mesh, istio-system/cross-network]
  http:
  - match: [{uri: {prefix: /v1}}]
    route: [{destination: {host: helloworld, subset: v1}}]
  - route: [{destination: {host: helloworld}}]
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: ingress, namespace: sample}
spec: {selector: {istio: ingressgateway}, servers: [{port: {number: 8080, name: http, protocol: HTTP}, hosts: ["*"]}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: cross-network, namespace: istio-system}
spec:
  selector: {istio: eastwestgateway}
  servers: [{port: {number: 15443, name: tls, protocol: TLS}, tls: {mode: AUTO_PASSTHROUGH}, hosts: ["*.local"]}]
)";

/// isthmusd as its users outside of a cluster start it: a process with pilot-discovery's flags.
class Discovery {
 public:
  static constexpr const char* kClusterId = "cluster1";
  Discovery(base::Loop& loop, const std::string& folder, const std::string& kubeconfig)
      : grpc_port(FreePort()), http_port(FreePort()) {
    EXPECT_TRUE(base::WriteFile(folder + "/mesh", "accessLogFile: /dev/stdout\n").ok());
    EXPECT_TRUE(base::WriteFile(folder + "/meshNetworks", "networks: {}\n").ok());
    base::ProcessOptions options;
    options.argv = {
        Program(),          "discovery",       "--kubeconfig",     kubeconfig,
        "--clusterID",      kClusterId,        "--grpcAddr",       Local(grpc_port),
        "--secureGRPCAddr", Local(FreePort()), "--httpAddr",       Local(http_port),
        "--httpsAddr",      Local(FreePort()), "--monitoringAddr", Local(FreePort()),
        "--meshConfig",     folder + "/mesh",  "--networksConfig", folder + "/meshNetworks"};
    options.env = {"POD_NAMESPACE=istio-system", std::string("CLUSTER_ID=") + kClusterId,
                   "POD_NAME=istiod-test",       "XDS_AUTH=false",
                   "INJECT_ENABLED=false",       "VALIDATION_ENABLED=false",
                   "PATH=/usr/bin:/bin"};
    options.cwd = folder;
    options.out = base::ChildStream::Null();
    options.err = base::ChildStream::Pipe([this](std::string_view bytes) { log += bytes; });
    auto started = base::Process::Start(loop, std::move(options),
                                        [this](base::ExitStatus status) { ended = status.text(); });
    EXPECT_TRUE(started.ok()) << started.status().message();
    if (started.ok()) process = std::move(*started);
  }
  static std::string Program() {
    std::error_code error;
    const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
    return (self.parent_path().parent_path() / "bin" / "isthmusd").string();
  }
  static std::string Local(uint16_t port) { return fmt::format("127.0.0.1:{}", port); }

  const uint16_t grpc_port, http_port;
  std::unique_ptr<base::Process> process;
  std::string log, ended;
};

class EnvoyTest : public testing::Test {
 protected:
  static constexpr const char* kEnvoyProgram = ISTHMUS_THIRD_PARTY "/envoy/envoy";

  void SetUp() override {
    kubeclient::RealCluster* real = kubeclient::RealCluster::Get();
    if (real == nullptr) GTEST_SKIP() << "KUBEBUILDER_ASSETS is not set";
    if (!std::filesystem::exists(kEnvoyProgram)) GTEST_SKIP() << "no Envoy at " << kEnvoyProgram;
    if (!std::filesystem::exists(Discovery::Program()))
      GTEST_SKIP() << "no isthmusd at " << Discovery::Program();
    char name[] = "/tmp/isthmus-envoy-XXXXXX";
    folder_ = mkdtemp(name);
    auto client = kubeclient::Client::Create(loop_, real->admin());
    ASSERT_TRUE(client.ok()) << client.status().message();
    client_ = std::move(*client);
    for (const Json& crd : config::Crds()) Create(crd);
    auto objects = kubeapi::ParseYamlStream(kWorld);
    ASSERT_TRUE(objects.ok()) << objects.status().message();
    for (const Json& object : *objects) Create(object);
    sds_ = std::make_unique<FakeSds>(loop_, folder_ + "/sds.sock");
    const std::string kubeconfig = folder_ + "/kubeconfig";
    ASSERT_TRUE(base::WriteFile(kubeconfig, real->AdminKubeconfig()).ok());
    discovery_ = std::make_unique<Discovery>(loop_, folder_, kubeconfig);
    ASSERT_TRUE(Until([&] { return Page("/ready").first == 200; }))
        << discovery_->ended << discovery_->log;
  }
  void TearDown() override {
    discovery_.reset();
    std::error_code ignored;
    if (!folder_.empty()) std::filesystem::remove_all(folder_, ignored);
  }

  bool Until(const std::function<bool()>& done) {
    for (int tries = 0; tries < 300 && discovery_->ended.empty(); ++tries) {
      if (done()) return true;
      Pause(loop_);
    }
    return false;
  }

  // Creates an object, also when its kind takes a moment to be served.
  void Create(const Json& object) {
    base::Status last;
    for (int tries = 0; tries < 100; ++tries) {
      auto resource = kubeclient::Await<kubeapi::Resource>(loop_, kPatience, [&](auto done) {
        client_->Discover(kubeapi::ApiVersionOf(object), kubeapi::KindOf(object), done);
      });
      last = resource.status();
      if (resource.ok()) {
        last = kubeclient::Await<Json>(loop_, kPatience, [&](auto done) {
                 client_->Create(*resource, kubeapi::NamespaceOf(object), object, done);
               }).status();
        if (last.ok() || last.code() == base::Code::kAlreadyExists) return;
      }
      Pause(loop_);
    }
    FAIL() << kubeapi::Describe(object) << ": " << last.message();
  }

  std::pair<int, std::string> Page(const std::string& path) {
    http::ClientOptions options;
    options.url = fmt::format("http://127.0.0.1:{}", discovery_->http_port);
    http::Client http(loop_, options);
    auto answer = kubeclient::Await<http::Response>(loop_, kPatience, [&](auto done) {
      http::Request request;
      request.target = path;
      http.Fetch(std::move(request), kPatience, done);
    });
    if (!answer.ok()) return {0, answer.status().message()};
    return {answer->status, answer->body};
  }

  std::unique_ptr<Envoy> Start(const std::string& id, const std::string& labels, bool delta) {
    Envoy::Options options;
    options.node_id = id;
    options.metadata = fmt::format(
        R"({{"CLUSTER_ID": "cluster1", "PROXY_CONFIG": {{}}, "INTERCEPTION_MODE": "NONE", "LABELS": {}}})",
        labels);
    options.delta = delta;
    options.ads_port = discovery_->grpc_port;
    options.sds_socket = folder_ + "/sds.sock";
    return Envoy::Start(loop_, folder_, options);
  }
  std::unique_ptr<Envoy> StartSidecar(bool delta) {
    return Start("sidecar~10.1.0.1~helloworld-0.sample~sample.svc.cluster.local",
                 R"({"app": "helloworld"})", delta);
  }

  // Everything accepted, nothing still waiting.
  void ExpectSettled(Envoy& envoy) {
    EXPECT_TRUE(envoy.Until([&] { return envoy.Live(); }))
        << "not live: " << envoy.Admin("/init_dump") << envoy.log() << discovery_->log;
    EXPECT_TRUE(envoy.Until([&] { return envoy.Stat("cluster_manager.warming_clusters") == 0; }));
    EXPECT_EQ(envoy.Rejected(), "") << envoy.log();
  }

  base::Loop loop_;
  std::string folder_;
  std::unique_ptr<kubeclient::Client> client_;
  std::unique_ptr<FakeSds> sds_;
  std::unique_ptr<Discovery> discovery_;
};

TEST_F(EnvoyTest, SidecarsAcceptEverythingByDeltaAndStateOfTheWorld) {
  for (const bool delta : {true, false}) {
    SCOPED_TRACE(delta ? "delta" : "state of the world");
    auto envoy = StartSidecar(delta);
    ASSERT_NE(envoy, nullptr);
    ExpectSettled(*envoy);
    EXPECT_THAT(envoy->Admin("/clusters"),
                HasSubstr("outbound|5000||helloworld.sample.svc.cluster.local::10.1.0.1:5000"));
    EXPECT_THAT(envoy->Admin("/clusters"),
                HasSubstr("outbound|5000|v1|helloworld.sample.svc.cluster.local"));
    EXPECT_GT(envoy->Stat("listener_manager.lds.update_success"), 0);
    // What it holds is what the status says.
    const auto sync = kubeapi::ParseJson(Page("/debug/syncz").second);
    ASSERT_TRUE(sync.ok() && sync->is_array() && !sync->empty());
    const Json& last = sync->back();
    EXPECT_EQ(last["proxy"], "helloworld-0.sample");
    for (const char* type : {"cluster", "listener", "route", "endpoint"}) {
      const std::string sent = kubeapi::StringAt(last, {std::string(type) + "_sent"});
      EXPECT_NE(sent, "") << type;
      EXPECT_EQ(sent, kubeapi::StringAt(last, {std::string(type) + "_acked"})) << type;
    }
  }
}

TEST_F(EnvoyTest, GatewaysAcceptEverything) {
  for (const char* gateway : {"ingressgateway", "eastwestgateway"}) {
    SCOPED_TRACE(gateway);
    auto envoy =
        Start(fmt::format("router~10.1.0.9~istio-{}-0.istio-system~istio-system.svc.cluster.local",
                          gateway),
              fmt::format(R"({{"istio": "{}"}})", gateway), true);
    ASSERT_NE(envoy, nullptr);
    ExpectSettled(*envoy);
    EXPECT_GT(envoy->Stat("listener_manager.total_listeners_active"), 0);
  }
}

TEST_F(EnvoyTest, ChangesReachRunningProxies) {
  auto delta = StartSidecar(true);
  auto sotw = StartSidecar(false);
  ASSERT_TRUE(delta != nullptr && sotw != nullptr);
  ExpectSettled(*delta);
  ExpectSettled(*sotw);

  Create(*kubeapi::ParseYaml(
      R"({apiVersion: v1, kind: Service, metadata: {name: late, namespace: sample},
                                 spec: {ports: [{name: http, port: 6000}]}})"));
  Create(*kubeapi::ParseYaml(
      R"({apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4,
      metadata: {name: late-1, namespace: sample, labels: {kubernetes.io/service-name: late}},
      endpoints: [{addresses: [10.1.0.77], conditions: {ready: true}}], ports: [{name: http, port: 6000, protocol: TCP}]})"));
  for (Envoy* envoy : {delta.get(), sotw.get()})
    EXPECT_TRUE(envoy->Until([&] {
      return envoy->Admin("/clusters")
                 .find("outbound|6000||late.sample.svc.cluster.local::10.1.0.77:6000") !=
             std::string::npos;
    }));
  const kubeapi::Resource services{"", "v1", "services", "Service", true};
  ASSERT_TRUE(kubeclient::Await<Json>(loop_, kPatience, [&](auto done) {
                client_->Delete(services, "sample", "late", done);
              }).ok());
  for (Envoy* envoy : {delta.get(), sotw.get()}) {
    EXPECT_TRUE(envoy->Until(
        [&] { return envoy->Admin("/clusters").find("late.sample") == std::string::npos; }));
    ExpectSettled(*envoy);
  }
}

TEST_F(EnvoyTest, ProxiesGoOnWhenTheControlPlaneEnds) {
  auto envoy = StartSidecar(true);
  ASSERT_NE(envoy, nullptr);
  ExpectSettled(*envoy);
  discovery_->process->Kill(SIGTERM);
  EXPECT_TRUE(envoy->Until([&] { return !discovery_->ended.empty(); }));
  EXPECT_EQ(discovery_->ended, "exit code 0") << discovery_->log;
  EXPECT_TRUE(envoy->Until([&] { return envoy->Stat("control_plane.connected_state") == 0; }));
  EXPECT_TRUE(envoy->Live()) << "the proxy goes on with what it has";
}

}  // namespace
}  // namespace isthmus::controlplane
