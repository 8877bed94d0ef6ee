#include "agent/agent.h"

#include <arpa/inet.h>
#include <envoy/config/listener/v3/listener.pb.h>
#include <envoy/extensions/filters/http/router/v3/router.pb.h>
#include <envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb.h>
#include <envoy/extensions/transport_sockets/tls/v3/tls.pb.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>

#include "agent/bootstrap.h"
#include "http/client.h"
#include "tests/mtls/control_plane_fixture.h"

namespace isthmus::mtls {
namespace {

using ::testing::HasSubstr;
using namespace std::chrono_literals;
namespace tls = envoy::extensions::transport_sockets::tls::v3;
namespace hcm = envoy::extensions::filters::network::http_connection_manager::v3;

uint16_t FreePort() {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address);
  socklen_t size = sizeof address;
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  close(fd);
  return ntohs(address.sin_port);
}

void UseSds(tls::SdsSecretConfig* secret, const std::string& name) {
  secret->set_name(name);
  auto* source = secret->mutable_sds_config();
  source->set_resource_api_version(envoy::config::core::v3::V3);
  source->mutable_api_config_source()->set_api_type(envoy::config::core::v3::ApiConfigSource::GRPC);
  source->mutable_api_config_source()->set_transport_api_version(envoy::config::core::v3::V3);
  source->mutable_api_config_source()->add_grpc_services()->mutable_envoy_grpc()->set_cluster_name(
      "sds-grpc");
}

/// A listener that answers `body` to clients whom ROOTCA proves.
std::shared_ptr<const model::Resource> MtlsListener(uint16_t port, const std::string& body) {
  hcm::HttpConnectionManager manager;
  manager.set_stat_prefix("test");
  auto* host = manager.mutable_route_config()->add_virtual_hosts();
  host->set_name("all");
  host->add_domains("*");
  auto* route = host->add_routes();
  route->mutable_match()->set_prefix("/");
  route->mutable_direct_response()->set_status(200);
  route->mutable_direct_response()->mutable_body()->set_inline_string(body);
  auto* router = manager.add_http_filters();
  router->set_name("envoy.filters.http.router");
  router->mutable_typed_config()->PackFrom(envoy::extensions::filters::http::router::v3::Router());
  tls::DownstreamTlsContext context;
  context.mutable_require_client_certificate()->set_value(true);
  UseSds(context.mutable_common_tls_context()->add_tls_certificate_sds_secret_configs(), "default");
  UseSds(context.mutable_common_tls_context()
             ->mutable_combined_validation_context()
             ->mutable_validation_context_sds_secret_config(),
         "ROOTCA");
  context.mutable_common_tls_context()
      ->mutable_combined_validation_context()
      ->mutable_default_validation_context();
  envoy::config::listener::v3::Listener listener;
  listener.set_name("test");
  listener.mutable_address()->mutable_socket_address()->set_address("127.0.0.1");
  listener.mutable_address()->mutable_socket_address()->set_port_value(port);
  auto* chain = listener.add_filter_chains();
  chain->mutable_transport_socket()->set_name("envoy.transport_sockets.tls");
  chain->mutable_transport_socket()->mutable_typed_config()->PackFrom(context);
  auto* filter = chain->add_filters();
  filter->set_name("envoy.filters.network.http_connection_manager");
  filter->mutable_typed_config()->PackFrom(manager);
  google::protobuf::Any any;
  any.PackFrom(listener);
  auto resource = std::make_shared<model::Resource>();
  resource->name = "test";
  resource->any = base::Slice(any.SerializeAsString());
  resource->hash = std::hash<std::string_view>()(resource->any.view());
  return resource;
}

struct AgentTest : ::testing::Test {
  base::Loop loop;
  TestControlPlane plane{loop};
  std::unique_ptr<PodFolder> pod;
  base::SystemClock clock;
  std::unique_ptr<agent::Agent> agent;
  const uint16_t admin_port = FreePort();
  const uint16_t status_port = FreePort();
  const uint16_t listener_port = FreePort();
  const uint16_t envoy_status_port = FreePort();
  const uint16_t prometheus_port = FreePort();
  std::optional<int> exit_code;

  void SetUp() override {
    pod = std::make_unique<PodFolder>(plane.root.chain_pem(), "token-of:sample/sleep");
    plane.Start();
    Publish("hello");
  }
  void TearDown() override {
    agent.reset();
    pod.reset();
  }

  void Publish(const std::string& body) {
    auto view = std::make_shared<model::View>();
    view->version = 1;
    view->types["type.googleapis.com/envoy.config.listener.v3.Listener"] = {
        std::make_shared<const model::ResourceSet>(
            std::vector<std::shared_ptr<const model::Resource>>{
                MtlsListener(listener_port, body)})};
    view->types["type.googleapis.com/envoy.config.cluster.v3.Cluster"] = {
        std::make_shared<const model::ResourceSet>()};
    plane.views.view = view;
    plane.ads->Changed();
  }

  void StartAgent(std::map<std::string, std::string> more = {}) {
    std::map<std::string, std::string> env = {
        {"POD_NAME", "sleep-1"},
        {"POD_NAMESPACE", "sample"},
        {"SERVICE_ACCOUNT", "sleep"},
        {"INSTANCE_IP", "127.0.0.1"},
        {"ENVOY_STATUS_PORT", std::to_string(envoy_status_port)},
        {"ENVOY_PROMETHEUS_PORT", std::to_string(prometheus_port)},
        {"PROXY_CONFIG",
         fmt::format(
             R"({{"discoveryAddress":"127.0.0.1:{}","proxyAdminPort":{},"statusPort":{},"binaryPath":"{}/envoy/envoy","concurrency":1,"terminationDrainDuration":"0.1s"}})",
             plane.port, admin_port, status_port, ISTHMUS_THIRD_PARTY)}};
    for (auto& [name, value] : more) env[name] = value;
    agent::Agent::Options options;
    options.settings = Must(agent::LoadSettings({}, agent::Environment(std::move(env)), {}));
    options.ended = [this](int code) { exit_code = code; };
    agent = std::make_unique<agent::Agent>(loop, clock, std::move(options));
    const base::Status status = agent->Start();
    ASSERT_TRUE(status.ok()) << status.message();
  }

  base::Result<http::Response> Get(const std::string& origin, const std::string& path,
                                   std::optional<http::TlsClientOptions> tls = {}) {
    http::ClientOptions options;
    options.url = origin;
    options.tls = std::move(tls);
    http::Client client(loop, std::move(options));
    http::Request request;
    request.target = path;
    std::optional<base::Result<http::Response>> answer;
    client.Fetch(std::move(request), 2s,
                 [&](base::Result<http::Response> response) { answer = std::move(response); });
    if (!loop.RunUntil([&] { return answer.has_value(); }, 3s))
      return base::Error(base::Code::kDeadlineExceeded, "test");
    return std::move(*answer);
  }
  std::string Admin(const std::string& path) {
    const auto response = Get(fmt::format("http://127.0.0.1:{}", admin_port), path);
    return response.ok() ? response->body : "";
  }
  /// Of the certificate that Envoy presents.
  std::string LeafSerial() {
    const std::string certificates = Admin("/certs");
    const size_t chain = certificates.find("cert_chain");
    const size_t serial =
        chain == std::string::npos ? chain : certificates.find("serial_number", chain);
    return serial == std::string::npos ? "" : certificates.substr(serial, 60);
  }
  /// What the listener says to a client with a certificate of the mesh, or "".
  std::string AskListener(bool with_certificate = true) {
    http::TlsClientOptions options;
    options.alpn = {"http/1.1"};
    if (with_certificate) {
      auto own =
          std::make_shared<const pki::KeyCertificate>(Must(plane.authority.material().ca.IssueLeaf(
              {.uri_sans = {"spiffe://cluster.local/ns/sample/sa/client"}}, {}, pki::kDay)));
      options.certificate = [own] { return own; };
    }
    const auto response =
        Get(fmt::format("https://127.0.0.1:{}", listener_port), "/", std::move(options));
    return response.ok() ? response->body : "";
  }
  int Ready() {
    const auto response = Get(fmt::format("http://127.0.0.1:{}", status_port), "/healthz/ready");
    return response.ok() ? response->status : 0;
  }
  /// Tries again until it holds; for what other processes do.
  bool Eventually(const std::function<bool()>& holds, base::Duration timeout = 20s) {
    const auto end = std::chrono::steady_clock::now() + timeout;
    while (!holds()) {
      if (std::chrono::steady_clock::now() > end) return false;
      (void)loop.RunUntil([] { return false; }, 50ms);
    }
    return true;
  }
};

TEST_F(AgentTest, EnvoyGetsItsCertificateAndConfiguration) {
  StartAgent();
  EXPECT_NE(Ready(), 200);
  ASSERT_TRUE(Eventually([&] { return Ready() == 200; })) << Admin("/stats?usedonly");
  EXPECT_EQ(AskListener(), "hello");
  EXPECT_EQ(AskListener(/*with_certificate=*/false), "");
  EXPECT_THAT(Admin("/certs"), HasSubstr("spiffe://cluster.local/ns/sample/sa/sleep"));
  // The same through Envoy, and the other paths of the status port.
  EXPECT_EQ(Get(fmt::format("http://127.0.0.1:{}", envoy_status_port), "/healthz/ready")->status,
            200);
  const auto metrics = Get(fmt::format("http://127.0.0.1:{}", status_port), "/stats/prometheus");
  EXPECT_THAT(metrics->body, HasSubstr("istio_agent_cert_expiry_seconds"));
  EXPECT_THAT(metrics->body, HasSubstr("envoy_server_live"));
  EXPECT_THAT(Admin("/stats?filter=rejected"),
              ::testing::Not(::testing::ContainsRegex("rejected: [1-9]")));
  // A change reaches Envoy.
  Publish("hello again");
  EXPECT_TRUE(Eventually([&] { return AskListener() == "hello again"; }));
}

TEST_F(AgentTest, AnEnvoyThatRestartsWithoutControlPlaneIsConfiguredFromDisk) {
  StartAgent();
  ASSERT_TRUE(Eventually([&] { return AskListener() == "hello"; }));
  plane.Stop();
  const int pid = agent->envoy_pid();
  kill(pid, SIGKILL);
  ASSERT_TRUE(Eventually([&] {
    return agent->envoy_pid() != pid && agent->envoy_pid() != 0 && AskListener() == "hello";
  }));
  EXPECT_TRUE(Eventually([&] { return Ready() == 200; }));
  // And when the control plane is back, it is followed again.
  Publish("newer");
  plane.Start();
  EXPECT_TRUE(Eventually([&] { return AskListener() == "newer"; }));
}

TEST_F(AgentTest, AnAgentThatStartsAgainWithoutControlPlaneHasTheConfiguration) {
  StartAgent();
  ASSERT_TRUE(Eventually([&] { return AskListener() == "hello"; }));
  agent.reset();
  plane.Stop();
  StartAgent();
  // No certificate can be had, so nobody is served, but Envoy has its listener and waits for the
  // secret.
  ASSERT_TRUE(
      Eventually([&] { return Admin("/config_dump").find("\"test\"") != std::string::npos; }));
  plane.Start();
  EXPECT_TRUE(Eventually([&] { return AskListener() == "hello"; }));
}

TEST_F(AgentTest, CertificatesAreRenewedInTime) {
  StartAgent({{"SECRET_TTL", "3s"}, {"SECRET_GRACE_PERIOD_RATIO", "0.6"}});
  ASSERT_TRUE(Eventually([&] { return AskListener() == "hello"; }));
  const std::string first = LeafSerial();
  ASSERT_FALSE(first.empty());
  ASSERT_TRUE(Eventually([&] { return !LeafSerial().empty() && LeafSerial() != first; }));
  EXPECT_EQ(AskListener(), "hello");
}

TEST_F(AgentTest, TerminationDrainsAndEndsEnvoy) {
  StartAgent();
  ASSERT_TRUE(Eventually([&] { return Ready() == 200; }));
  const int pid = agent->envoy_pid();
  agent->Terminate();
  EXPECT_EQ(Ready(), 503);
  ASSERT_TRUE(Eventually([&] { return exit_code.has_value(); }));
  EXPECT_EQ(*exit_code, 0);
  EXPECT_NE(kill(pid, 0), 0);
  EXPECT_FALSE(base::Exists("./etc/istio/proxy/envoy-rev.json"));
}

TEST_F(AgentTest, AWrongTokenGetsNothing) {
  pod->Write("var/run/secrets/tokens/istio-token", "forged");
  StartAgent();
  ASSERT_TRUE(Eventually([&] {
    return plane.metrics.Text().find("citadel_server_authentication_failure_count") !=
           std::string::npos;
  }));
  EXPECT_NE(Ready(), 200);
  EXPECT_EQ(AskListener(), "");
  pod->Write("var/run/secrets/tokens/istio-token", "token-of:sample/sleep");
  EXPECT_TRUE(Eventually([&] { return Ready() == 200; })) << "tokens are read anew";
}

}  // namespace
}  // namespace isthmus::mtls
