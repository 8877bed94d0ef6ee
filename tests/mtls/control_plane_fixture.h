#pragma once

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include "ads/authenticator.h"
#include "ads/server.h"
#include "base/files.h"
#include "base/metrics.h"
#include "ca/authenticator.h"
#include "ca/certificate_service.h"
#include "ca/serving_certificate.h"
#include "http/server.h"
#include "model/view.h"
#include "rpc/server.h"
#include "tests/ca/ca_fixture.h"

namespace isthmus::mtls {

using pki::Must;

/// Believes tokens of the form "token-of:<namespace>/<account>", and client certificates.
class TestTokens final : public ca::Authenticator {
 public:
  void Authenticate(const http::PeerInfo&, const http::Headers& metadata, Done done) override {
    const std::string value(metadata.Get("authorization").value_or(""));
    constexpr std::string_view kPrefix = "Bearer token-of:";
    const size_t slash = value.find('/');
    if (!value.starts_with(kPrefix) || slash == value.npos)
      return done(base::Error(base::Code::kUnauthenticated, "no good token"));
    ca::Caller caller;
    caller.proof = ca::Caller::Proof::kKubernetesToken;
    caller.identities = {fmt::format("spiffe://cluster.local/ns/{}/sa/{}",
                                     value.substr(kPrefix.size(), slash - kPrefix.size()),
                                     value.substr(slash + 1))};
    done(std::move(caller));
  }
};

class AdsCallers final : public ads::Authenticator {
 public:
  explicit AdsCallers(ca::Authenticator& callers) : callers_(callers) {}
  void Authenticate(const rpc::ServerCall& call,
                    std::function<void(base::Result<std::vector<std::string>>)> done) override {
    callers_.Authenticate(call.peer(), call.metadata(),
                          [this, done = std::move(done)](base::Result<ca::Caller> caller) {
                            if (!caller.ok()) return done(caller.status());
                            last_proof = caller->proof;
                            done(caller->identities);
                          });
  }
  ca::Caller::Proof last_proof = ca::Caller::Proof::kNone;

 private:
  ca::Authenticator& callers_;
};

/// The same view for every proxy.
struct OneView final : ads::ViewSource {
  std::shared_ptr<const model::View> view = std::make_shared<const model::View>();
  std::shared_ptr<const model::View> ViewFor(const model::Proxy&) override { return view; }
};

/// A control plane on loopback made of the real CA and ADS libraries, with keys as a user plugs
/// them in.
struct TestControlPlane {
  base::Loop& loop;
  base::SystemClock clock;
  pki::KeyCertificate root;
  base::MetricRegistry metrics;
  ca::Authority authority;
  ca::AuthorityIssuer issuer{authority};
  std::unique_ptr<ca::ServingCertificate> serving;
  std::unique_ptr<ca::AuthenticatorChain> callers;
  std::unique_ptr<AdsCallers> ads_callers;
  std::unique_ptr<ca::CertificateService> certificates;
  OneView views;
  std::unique_ptr<ads::Server> ads;
  rpc::Router router;
  std::unique_ptr<http::Server> server;
  uint16_t port = 0;

  explicit TestControlPlane(base::Loop& loop)
      : loop(loop),
        root(Must(pki::MakeSelfSignedRoot(
            Must(pki::PrivateKey::GenerateEcdsaP256()),
            {.names = {.common_name = "Root CA", .organizations = {"Istio"}}}, clock.Now()))) {
    const pki::TrustBundle roots(root.chain);
    const pki::IssuingCa root_ca = Must(pki::IssuingCa::Create(root, roots, clock));
    const pki::KeyCertificate intermediate = Must(root_ca.IssueIntermediate(
        Must(pki::PrivateKey::GenerateEcdsaP256()),
        {.common_name = "Intermediate CA", .organizations = {"Istio"}}, 0, 100 * pki::kDay));
    const ca::KeySet keys = {
        {"ca-cert.pem", intermediate.chain.front().pem()},
        {"ca-key.pem", intermediate.key.pem()},
        {"root-cert.pem", root.chain_pem()},
        {"cert-chain.pem", intermediate.chain.front().pem() + root.chain_pem()}};
    authority.Use(std::move(*Must(ca::ParsePluggedIn(keys, clock, {}))));
    serving = std::make_unique<ca::ServingCertificate>(
        loop, clock, authority, std::vector<std::string>{"istiod.istio-system.svc"});
    std::vector<std::unique_ptr<ca::Authenticator>> members;
    members.push_back(std::make_unique<ca::ClientCertificateAuthenticator>(
        std::vector<std::string>{"cluster.local"}));
    members.push_back(std::make_unique<TestTokens>());
    callers = std::make_unique<ca::AuthenticatorChain>(std::move(members),
                                                       ca::AuthenticatorChain::Plaintext::kRefuse);
    ads_callers = std::make_unique<AdsCallers>(*callers);
    certificates = std::make_unique<ca::CertificateService>(issuer, *callers, metrics);
    certificates->Register(router);
    ads = std::make_unique<ads::Server>(loop, views, clock, ads::ServerOptions{});
    ads->AddTo(router, ads_callers.get());
    ads->SetReady(true);
  }
  ~TestControlPlane() { Stop(); }

  /// On the port of the last time, if there was one.
  void Start() {
    http::ServerOptions options;
    options.port = port;
    options.tls.emplace();
    options.tls->certificate = [this] { return serving->Get(); };
    options.tls->client_roots = [this] { return authority.roots(); };
    options.tls->client_certificate = http::TlsServerOptions::ClientCertificate::kOptional;
    options.tls->alpn = {"h2"};
    server = std::make_unique<http::Server>(
        loop, std::move(options),
        [this](std::shared_ptr<http::ServerStream> stream) { router.Serve(std::move(stream)); });
    const base::Status status = server->Start();
    if (!status.ok()) ADD_FAILURE() << status.message();
    port = server->port();
  }
  void Stop() { server.reset(); }
};

/// A folder laid out as a pod's root, which the process enters.
struct PodFolder {
  std::string path;
  std::string before = std::filesystem::current_path();

  PodFolder(const std::string& root_pem, const std::string& token) {
    char pattern[] = "/tmp/isthmus-pod-XXXXXX";
    path = mkdtemp(pattern);
    Write("var/run/secrets/istio/root-cert.pem", root_pem);
    Write("var/run/secrets/tokens/istio-token", token);
    std::filesystem::current_path(path);
  }
  ~PodFolder() {
    std::filesystem::current_path(before);
    std::filesystem::remove_all(path);
  }
  void Write(const std::string& name, const std::string& content) {
    std::filesystem::create_directories(
        (path + "/" + name).substr(0, (path + "/" + name).rfind('/')));
    std::ofstream(path + "/" + name) << content;
  }
};

}  // namespace isthmus::mtls
