#include "tests/real_servers/envoy_fixture.h"

#include <arpa/inet.h>
#include <envoy/extensions/transport_sockets/tls/v3/secret.pb.h>
#include <envoy/service/discovery/v3/discovery.pb.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <optional>

#include "base/clock.h"
#include "base/files.h"
#include "base/strings.h"
#include "rpc/server.h"
#include "tests/pki/pki_fixture.h"

namespace isthmus::controlplane {
namespace {

using envoy::extensions::transport_sockets::tls::v3::Secret;
using envoy::service::discovery::v3::DiscoveryRequest;
using envoy::service::discovery::v3::DiscoveryResponse;

constexpr std::string_view kBootstrap = R"(
node: {{id: "{node}", cluster: test, metadata: {metadata}}}
admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {admin}}}}}}}
dynamic_resources:
  ads_config:
    api_type: {api}
    transport_api_version: V3
    set_node_on_first_message_only: true
    grpc_services: [{{envoy_grpc: {{cluster_name: xds-grpc}}}}]
  cds_config: {{ads: {{}}, initial_fetch_timeout: 0s, resource_api_version: V3}}
  lds_config: {{ads: {{}}, initial_fetch_timeout: 0s, resource_api_version: V3}}
static_resources:
  clusters:
  - name: xds-grpc
    type: STATIC
    connect_timeout: 1s
    typed_extension_protocol_options: &http2
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{http2_protocol_options: {{}}}}
    load_assignment:
      cluster_name: xds-grpc
      endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {ads}}}}}}}}}]}}]
  - name: sds-grpc
    type: STATIC
    connect_timeout: 1s
    typed_extension_protocol_options: *http2
    load_assignment:
      cluster_name: sds-grpc
      endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{pipe: {{path: "{sds}"}}}}}}}}]}}]
)";

}  // namespace

uint16_t FreePort() {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  bind(fd, reinterpret_cast<sockaddr*>(&address), size);
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  close(fd);
  return ntohs(address.sin_port);
}

void Pause(base::Loop& loop) {
  bool over = false;
  base::Timer pause =
      base::Timer::After(loop, std::chrono::milliseconds(100), [&over] { over = true; });
  loop.RunUntil([&over] { return over; }, std::chrono::seconds(1));
}

struct FakeSds::Impl {
  Impl(base::Loop& loop, const std::string& socket)
      : root(pki::Must(
            pki::MakeSelfSignedRoot(pki::Must(pki::PrivateKey::GenerateEcdsaP256()),
                                    {.names = {.common_name = "test", .organizations = {"test"}}},
                                    base::SystemClock().Now()))),
        leaf(Leaf(root)),
        server(loop, Options(socket),
               [this](std::shared_ptr<http::ServerStream> stream) { router.Serve(stream); }) {
    router.Add("/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets",
               [this](std::shared_ptr<rpc::ServerCall> call) { Serve(std::move(call)); });
    EXPECT_TRUE(server.Start().ok());
  }
  static http::ServerOptions Options(const std::string& socket) {
    http::ServerOptions options;
    options.address = "unix:" + socket;
    return options;
  }
  void Serve(std::shared_ptr<rpc::ServerCall> call) {
    calls.push_back(call);
    std::weak_ptr<rpc::ServerCall> weak = call;
    call->OnMessage(
        [this, weak](std::string_view bytes) {
          DiscoveryRequest request;
          auto alive = weak.lock();
          if (alive == nullptr || !request.ParseFromString(std::string(bytes)) ||
              !request.response_nonce().empty())
            return;
          alive->Send({base::Slice(Answer(request).SerializeAsString())});
        },
        [] {});
    call->OnClose([] {});
  }
  DiscoveryResponse Answer(const DiscoveryRequest& request) const {
    DiscoveryResponse response;
    response.set_version_info("1");
    response.set_nonce("n");
    response.set_type_url(request.type_url());
    for (const std::string& name : request.resource_names()) {
      Secret secret;
      secret.set_name(name);
      if (name == "ROOTCA") {
        secret.mutable_validation_context()->mutable_trusted_ca()->set_inline_string(
            root.chain_pem());
      } else {
        secret.mutable_tls_certificate()->mutable_certificate_chain()->set_inline_string(
            leaf.chain_pem());
        secret.mutable_tls_certificate()->mutable_private_key()->set_inline_string(leaf.key.pem());
      }
      response.add_resources()->PackFrom(secret);
    }
    return response;
  }

  // A root cannot serve: Envoy minds that its key is for signing certificates.
  static pki::KeyCertificate Leaf(const pki::KeyCertificate& root) {
    const base::SystemClock clock;
    const pki::IssuingCa ca =
        pki::Must(pki::IssuingCa::Create(root, pki::TrustBundle(root.chain), clock));
    return pki::Must(ca.IssueLeaf({.common_name = "test"}, {}, pki::kDay));
  }

  pki::KeyCertificate root;
  pki::KeyCertificate leaf;
  rpc::Router router;
  http::Server server;
  std::vector<std::shared_ptr<rpc::ServerCall>> calls;
};

FakeSds::FakeSds(base::Loop& loop, const std::string& socket)
    : impl_(std::make_unique<Impl>(loop, socket)) {}
FakeSds::~FakeSds() = default;

Envoy::Envoy(base::Loop& loop, uint16_t admin_port) : loop_(loop) {
  http::ClientOptions options;
  options.url = fmt::format("http://127.0.0.1:{}", admin_port);
  admin_ = std::make_unique<http::Client>(loop, options);
}

std::unique_ptr<Envoy> Envoy::Start(base::Loop& loop, const std::string& folder,
                                    const Options& options) {
  const std::string program = std::string(ISTHMUS_THIRD_PARTY) + "/envoy/envoy";
  if (!base::Exists(program)) return nullptr;
  const uint16_t admin = FreePort();
  const std::string bootstrap = fmt::format("{}/envoy-{}.yaml", folder, admin);
  const std::string text = fmt::format(
      kBootstrap, fmt::arg("node", options.node_id), fmt::arg("metadata", options.metadata),
      fmt::arg("admin", admin), fmt::arg("api", options.delta ? "DELTA_GRPC" : "GRPC"),
      fmt::arg("ads", options.ads_port), fmt::arg("sds", options.sds_socket));
  EXPECT_TRUE(base::WriteFile(bootstrap, text).ok());
  std::unique_ptr<Envoy> envoy(new Envoy(loop, admin));
  base::ProcessOptions process;
  process.argv = {program,         "-c", bootstrap, "--disable-hot-restart",
                  "--concurrency", "1",  "-l",      "warn"};
  process.out = base::ChildStream::Null();
  process.err =
      base::ChildStream::Pipe([raw = envoy.get()](std::string_view bytes) { raw->log_ += bytes; });
  auto started = base::Process::Start(loop, std::move(process), [](base::ExitStatus) {});
  EXPECT_TRUE(started.ok()) << started.status().message();
  if (!started.ok()) return nullptr;
  envoy->process_ = std::move(*started);
  return envoy;
}

std::string Envoy::Admin(const std::string& path) {
  std::optional<std::string> body;
  http::Request request;
  request.target = path;
  admin_->Fetch(std::move(request), std::chrono::seconds(5),
                [&body](base::Result<http::Response> answer) {
                  body = answer.ok() && answer->status == 200 ? answer->body : "";
                });
  loop_.RunUntil([&body] { return body.has_value(); }, std::chrono::seconds(6));
  return body.value_or("");
}

int64_t Envoy::Stat(const std::string& name) {
  const std::string text = Admin("/stats");
  for (std::string_view line : base::Split(text, '\n')) {
    const auto [key, value] = base::Cut(line, ": ");
    if (key == name) return base::ParseInt(value).ok() ? *base::ParseInt(value) : -1;
  }
  return -1;
}

std::string Envoy::Rejected() {
  std::string found;
  const std::string text = Admin("/stats?filter=rejected");
  for (std::string_view line : base::Split(text, '\n')) {
    const auto [key, value] = base::Cut(line, ": ");
    if (key.ends_with("update_rejected") && value != "0") found += std::string(line) + "; ";
  }
  return found;
}

bool Envoy::Until(const std::function<bool()>& done) {
  for (int tries = 0; tries < 200; ++tries) {
    if (done()) return true;
    Pause(loop_);
  }
  return false;
}

}  // namespace isthmus::controlplane
