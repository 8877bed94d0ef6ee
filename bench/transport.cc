// What the transport costs: memory of an idle gRPC stream, CPU of a small message and its answer,
// and one large message to many streams. Server and clients are two processes, so that each side is
// seen alone. Usage: transport_bench [connections]
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <optional>

#include "base/clock.h"
#include "base/files.h"
#include "base/strings.h"
#include "http/client.h"
#include "http/server.h"
#include "pki/signer.h"
#include "rpc/client.h"
#include "rpc/server.h"

namespace isthmus {
namespace {

using std::chrono::duration;
using std::chrono::seconds;
using std::chrono::steady_clock;

constexpr size_t kLarge = 4'900'000;

double Cpu() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

long ResidentKb() {
  const auto status = base::ReadFile("/proc/self/statm");
  return status.ok() ? base::ParseInt(base::Split(*status, ' ')[1]).value() * 4 : 0;
}

struct Certificates {
  std::shared_ptr<const pki::KeyCertificate> pair;
  std::shared_ptr<const pki::TrustBundle> roots;
};

Certificates MakeCertificates() {
  static base::SystemClock clock;
  pki::RootOptions options;
  options.names.organizations = {"bench"};
  auto root =
      pki::MakeSelfSignedRoot(pki::PrivateKey::GenerateEcdsaP256().value(), options, clock.Now())
          .value();
  pki::TrustBundle roots({root.chain.front()});
  auto ca = pki::IssuingCa::Create(std::move(root), roots, clock).value();
  pki::Names names;
  names.ip_sans = {"127.0.0.1"};
  names.uri_sans = {"spiffe://cluster.local/ns/bench/sa/default"};
  return {std::make_shared<pki::KeyCertificate>(ca.IssueLeaf(names, {}, pki::kDay).value()),
          std::make_shared<pki::TrustBundle>(roots)};
}

/// Runs for ever. Tells its port through `port_pipe`.
[[noreturn]] void Serve(const std::optional<Certificates>& certificates, int port_pipe) {
  base::Loop loop;
  rpc::Router router;
  std::vector<std::shared_ptr<rpc::ServerCall>> held;
  const base::Slice large(std::string(kLarge, 'L'));
  router.Add("/b/Hold", [&](std::shared_ptr<rpc::ServerCall> call) {
    held.push_back(call);
    call->OnMessage(
        [call = call.get()](std::string_view message) { call->Send({base::Slice::Copy(message)}); },
        [] {});
  });
  http::ServerOptions options;
  if (certificates) {
    options.tls.emplace();
    options.tls->certificate = [pair = certificates->pair] { return pair; };
    options.tls->client_roots = [roots = certificates->roots] { return roots; };
    options.tls->client_certificate = http::TlsServerOptions::ClientCertificate::kRequired;
  }
  http::Server server(loop, options, [&](std::shared_ptr<http::ServerStream> stream) {
    if (rpc::Router::IsGrpc(stream->head())) return router.Serve(stream);
    if (stream->head().target == "/push") {
      for (const auto& call : held) call->Send({large});
    }
    stream->Respond(200, "text/plain", fmt::format("{} {:.6f}", ResidentKb(), Cpu()));
  });
  if (!server.Start().ok()) std::exit(1);
  const uint16_t port = server.port();
  if (::write(port_pipe, &port, sizeof port) != sizeof port) std::exit(1);
  loop.Run();
  std::exit(0);
}

class Bench {
 public:
  Bench(bool tls, int connections) : tls_(tls), connections_(connections) {
    std::optional<Certificates> certificates;
    if (tls) certificates = MakeCertificates();
    int pipes[2];
    if (::pipe(pipes) != 0) std::exit(1);
    server_ = ::fork();
    if (server_ == 0) Serve(certificates, pipes[1]);
    uint16_t port = 0;
    if (::read(pipes[0], &port, sizeof port) != sizeof port) std::exit(1);
    loop_ = std::make_unique<base::Loop>();
    options_.url = fmt::format("{}://127.0.0.1:{}", tls ? "https" : "http", port);
    options_.http2_prior_knowledge = !tls;
    if (tls) {
      options_.tls.emplace();
      options_.tls->roots = certificates->roots;
      options_.tls->certificate = [pair = certificates->pair] { return pair; };
    }
    control_ = std::make_unique<http::Client>(*loop_, options_);
  }
  ~Bench() {
    calls_.clear();
    clients_.clear();
    control_.reset();
    ::kill(server_, SIGKILL);
    ::waitpid(server_, nullptr, 0);
  }

  void Run() {
    fmt::print("{} {} connections, one stream each\n", tls_ ? "mTLS:" : "plaintext:", connections_);
    Ask("/");
    Idle();
    PingPong();
    FanOut();
  }

 private:
  struct Stats {
    double memory_kb = 0, cpu = 0;
  };
  Stats Ask(const std::string& target) {
    std::optional<Stats> stats;
    http::Request request;
    request.target = target;
    control_->Fetch(request, seconds(60), [&](base::Result<http::Response> response) {
      if (!response.ok()) {
        fmt::print("{}\n", response.status().message());
        std::exit(1);
      }
      const auto [memory, cpu] = base::Cut(response->body, " ");
      stats = Stats{std::atof(std::string(memory).c_str()), std::atof(std::string(cpu).c_str())};
    });
    Wait([&] { return stats.has_value(); });
    return *stats;
  }
  void Wait(const std::function<bool()>& done) {
    if (loop_->RunUntil(done, seconds(120))) return;
    fmt::print("took too long\n");
    std::exit(1);
  }

  void Idle() {
    const Stats before = Ask("/");
    const long ours = ResidentKb();
    for (int i = 0; i < connections_; ++i) {
      clients_.push_back(std::make_unique<http::Client>(*loop_, options_));
      rpc::ClientCallEvents events;
      events.message = [this](std::string_view message) {
        ++answers_;
        bytes_ += message.size();
      };
      calls_.push_back(rpc::StartCall(*clients_.back(), "/b/Hold", {}, std::move(events)));
      calls_.back()->Send({base::Slice::Static("first")});
    }
    Wait([&] { return answers_ == connections_; });
    const Stats after = Ask("/");
    fmt::print("  memory of an idle stream: server {:.1f} KB, client {:.1f} KB\n",
               (after.memory_kb - before.memory_kb) / connections_,
               static_cast<double>(ResidentKb() - ours) / connections_);
    fmt::print("  CPU to open one: server {:.0f} us\n",
               (after.cpu - before.cpu) * 1e6 / connections_);
  }

  void PingPong() {
    constexpr int kRounds = 100;
    const Stats before = Ask("/");
    const double ours = Cpu();
    const int active = std::min<int>(connections_, 200);
    for (int round = 0; round < kRounds; ++round) {
      answers_ = 0;
      for (int i = 0; i < active; ++i)
        calls_[static_cast<size_t>(i)]->Send({base::Slice(std::string(200, 'm'))});
      Wait([&] { return answers_ == active; });
    }
    const double server = (Ask("/").cpu - before.cpu) * 1e6 / (kRounds * active);
    const double client = (Cpu() - ours) * 1e6 / (kRounds * active);
    fmt::print(
        "  CPU of a 200-byte message and its answer: server {:.1f} us, client {:.1f} us, both "
        "{:.1f} us\n",
        server, client, server + client);
  }

  void FanOut() {
    const Stats before = Ask("/");
    bytes_ = 0;
    const auto start = steady_clock::now();
    const double mid = Ask("/push").memory_kb;
    const size_t all = kLarge * static_cast<size_t>(connections_);
    Wait([&] { return bytes_ >= all; });
    const double took = duration<double>(steady_clock::now() - start).count();
    const Stats after = Ask("/");
    fmt::print(
        "  {:.1f} MB to each: {:.0f} ms, server CPU {:.2f} ms a stream, server memory +{:.1f} MB\n",
        kLarge / 1e6, took * 1e3, (after.cpu - before.cpu) * 1e3 / connections_,
        (std::max(mid, after.memory_kb) - before.memory_kb) / 1e3);
  }

  const bool tls_;
  const int connections_;
  pid_t server_ = 0;
  std::unique_ptr<base::Loop> loop_;
  http::ClientOptions options_;
  std::unique_ptr<http::Client> control_;
  std::vector<std::unique_ptr<http::Client>> clients_;
  std::vector<std::shared_ptr<rpc::ClientCall>> calls_;
  int answers_ = 0;
  size_t bytes_ = 0;
};

}  // namespace
}  // namespace isthmus

int main(int argc, char** argv) {
  const int connections = argc > 1 ? std::atoi(argv[1]) : 200;
  for (const bool tls : {false, true}) isthmus::Bench(tls, connections).Run();
  return 0;
}
