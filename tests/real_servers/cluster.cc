#include "tests/real_servers/cluster.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <vector>

#include "base/files.h"
#include "kubeclient/client.h"
#include "kubeclient/sync.h"
#include "pki/certificate.h"

namespace isthmus::kubeclient {
namespace {

constexpr char kToken[] = "test-administrator";

uint16_t FreePort() {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  EXPECT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), size), 0);
  EXPECT_EQ(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size), 0);
  close(fd);
  return ntohs(address.sin_port);
}

/// Starts a program with its output in a file; it dies with us.
pid_t Spawn(const std::vector<std::string>& argv, const std::string& log) {
  const pid_t pid = fork();
  if (pid != 0) return pid;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (std::freopen(log.c_str(), "w", stdout) == nullptr || dup2(1, 2) < 0) _exit(126);
  std::vector<char*> words;
  for (const std::string& word : argv) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  execv(words[0], words.data());
  _exit(127);
}

void Kill(pid_t pid) {
  if (pid <= 0) return;
  kill(pid, SIGKILL);
  waitpid(pid, nullptr, 0);
}

}  // namespace

struct RealCluster::Impl {
  std::string folder;
  pid_t etcd = 0;
  pid_t server = 0;
  uint16_t port = 0;

  ~Impl() {
    Kill(server);
    Kill(etcd);
    std::error_code ignored;
    if (!folder.empty()) std::filesystem::remove_all(folder, ignored);
  }

  void Start(const std::string& assets) {
    char name[] = "/tmp/isthmus-kube-XXXXXX";
    folder = mkdtemp(name);
    const uint16_t etcd_port = FreePort(), peer_port = FreePort();
    port = FreePort();
    ASSERT_TRUE(
        base::WriteFile(folder + "/tokens", fmt::format("{},admin,1,\"system:masters\"\n", kToken))
            .ok());
    const auto key = pki::PrivateKey::GenerateRsa(2048);
    ASSERT_TRUE(key.ok());
    ASSERT_TRUE(base::WriteFile(folder + "/sa.key", key->pem()).ok());
    etcd = Spawn(
        {assets + "/etcd", "--data-dir=" + folder + "/etcd", "--unsafe-no-fsync", "--logger=zap",
         "--log-level=error", fmt::format("--listen-client-urls=http://127.0.0.1:{}", etcd_port),
         fmt::format("--advertise-client-urls=http://127.0.0.1:{}", etcd_port),
         fmt::format("--listen-peer-urls=http://127.0.0.1:{}", peer_port)},
        folder + "/etcd.log");
    server = Spawn(
        {assets + "/kube-apiserver", fmt::format("--etcd-servers=http://127.0.0.1:{}", etcd_port),
         fmt::format("--secure-port={}", port), "--bind-address=127.0.0.1",
         "--cert-dir=" + folder + "/certs", "--token-auth-file=" + folder + "/tokens",
         "--authorization-mode=RBAC", "--disable-admission-plugins=ServiceAccount",
         "--service-account-issuer=https://test",
         "--service-account-key-file=" + folder + "/sa.key",
         "--service-account-signing-key-file=" + folder + "/sa.key",
         "--service-cluster-ip-range=10.96.0.0/16"},
        folder + "/apiserver.log");
  }
};

RealCluster::RealCluster(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
RealCluster::~RealCluster() = default;

RestConfig RealCluster::admin() const {
  RestConfig config;
  config.server = fmt::format("https://127.0.0.1:{}", impl_->port);
  config.insecure_skip_tls_verify = true;
  config.token = kToken;
  return config;
}

std::string RealCluster::AdminKubeconfig() const {
  return fmt::format(R"({{apiVersion: v1, kind: Config, current-context: real,
  clusters: [{{name: real, cluster: {{server: "{}", insecure-skip-tls-verify: true}}}}],
  users: [{{name: admin, user: {{token: {}}}}}],
  contexts: [{{name: real, context: {{cluster: real, user: admin}}}}]}}
)",
                     admin().server, kToken);
}

RealCluster* RealCluster::Get() {
  static const std::unique_ptr<RealCluster> cluster = []() -> std::unique_ptr<RealCluster> {
    const char* assets = std::getenv("KUBEBUILDER_ASSETS");
    if (assets == nullptr || *assets == '\0') return nullptr;
    auto impl = std::make_unique<Impl>();
    impl->Start(assets);
    std::unique_ptr<RealCluster> made(new RealCluster(std::move(impl)));
    base::Loop loop;
    auto client = Client::Create(loop, made->admin());
    EXPECT_TRUE(client.ok()) << client.status().message();
    for (int tries = 0; tries < 600; ++tries) {
      auto ready = Await<http::Response>(loop, std::chrono::seconds(5), [&](auto done) {
        http::Request request;
        request.target = "/readyz";
        (*client)->Raw(request, std::chrono::seconds(5), done);
      });
      if (ready.ok()) return made;
      base::Timer pause;
      bool over = false;
      pause = base::Timer::After(loop, std::chrono::milliseconds(100), [&over] { over = true; });
      loop.RunUntil([&over] { return over; }, std::chrono::seconds(1));
    }
    ADD_FAILURE() << "the API server did not become ready; see " << made->impl_->folder;
    return nullptr;
  }();
  return cluster.get();
}

}  // namespace isthmus::kubeclient
