#include "agent/sds_server.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <set>

#include "agent/system_roots.h"
#include "agent/xds_message.h"
#include "base/files.h"
#include "base/log.h"
#include "base/strings.h"
#include "pki/digest.h"
#include "rpc/protobuf_wire.h"
#include "rpc/server.h"

namespace isthmus::agent {
namespace {

using base::Code;

constexpr char kCrlFile[] = "/var/run/secrets/istio/crl/ca-crl.pem";
constexpr char kService[] = "/envoy.service.secret.v3.SecretDiscoveryService/";

constexpr std::string_view kCertificateFilePrefix = "file-cert:";
constexpr std::string_view kRootFilePrefix = "file-root:";

bool IsOurs(std::string_view name) { return name == "default" || name == "ROOTCA"; }
bool IsOfFiles(std::string_view name) {
  return name.starts_with(kCertificateFilePrefix) || name.starts_with(kRootFilePrefix);
}

std::string FileSource(std::string_view file) {
  std::string source;
  rpc::PutBytes(source, 1, file);
  return source;
}

/// One stream of Envoy's. The call's callbacks own it.
class SdsStream : public std::enable_shared_from_this<SdsStream> {
 public:
  SdsStream(XdsForm form, std::shared_ptr<rpc::ServerCall> call, WorkloadSecretSource& source)
      : form_(form), call_(std::move(call)), source_(source) {}

  void Start() {
    auto self = shared_from_this();
    call_->OnMessage([self](std::string_view message) { self->OnRequest(message); },
                     [self] { self->call_->Finish(base::Status()); });
    call_->OnClose([self] { self->subscription_.reset(); });
    subscription_ = source_.OnChange([weak = weak_from_this()] {
      if (auto self = weak.lock()) self->Push(self->names_);
    });
  }

 private:
  void OnRequest(std::string_view message) {
    const base::Result<XdsRequest> request = ParseXdsRequest(form_, message);
    if (!request.ok()) return call_->Finish(request.status());
    if (request->rejected) LOG_WARN("sds", "Envoy rejected a secret: {}", request->error);
    std::set<std::string> added;
    if (form_ == XdsForm::kDelta) {
      for (const std::string_view name : request->names)
        if (names_.emplace(name).second) added.emplace(name);
      for (const std::string_view name : request->unsubscribe) names_.erase(std::string(name));
    } else if (request->nonce.empty() ||
               std::set<std::string>(request->names.begin(), request->names.end()) != names_) {
      names_ = std::set<std::string>(request->names.begin(), request->names.end());
      added = names_;
    }
    for (const std::string& name : added) sent_.erase(name);
    if (!added.empty()) Push(added);
  }

  void Push(const std::set<std::string>& names) {
    const std::shared_ptr<const WorkloadSecret> secret = source_.current();
    std::vector<std::string> resources;
    std::vector<std::string> absent;
    const std::string version =
        base::FormatTime(secret == nullptr ? base::Time() : secret->received) + "/" +
        fmt::to_string(++pushes_);
    for (const std::string& name : names) {
      if (IsOfFiles(name)) {
        AddFileSecret(name, version, resources, absent);
        continue;
      }
      if (!IsOurs(name)) {
        absent.push_back(name);
        continue;
      }
      if (secret == nullptr) continue;
      // Roots seldom change; Envoy need not hear of them with each new certificate.
      const std::string message = MakeSecret(name, *secret, base::Exists(kCrlFile) ? kCrlFile : "");
      const std::string& content = name == "default" ? secret->chain_pem : message;
      if (const auto sent = sent_.find(name); sent != sent_.end() && sent->second == content)
        continue;
      sent_[name] = content;
      const std::string any = MakeAny(kSecretType, message);
      resources.push_back(form_ == XdsForm::kDelta ? MakeResource(name, version, any) : any);
    }
    if (resources.empty() && (absent.empty() || form_ != XdsForm::kDelta)) return;
    call_->Send({base::Slice(
        MakeXdsResponse(form_, kSecretType, pki::RandomUuid(), version, resources, absent))});
  }

  void AddFileSecret(const std::string& name, const std::string& version,
                     std::vector<std::string>& resources, std::vector<std::string>& absent) {
    const std::string secret = MakeFileSecret(name);
    if (secret.empty()) {
      LOG_WARN("sds", "secret {}: there is no such file in the proxy's container", name);
      absent.push_back(name);
      return;
    }
    if (const auto sent = sent_.find(name); sent != sent_.end() && sent->second == secret) return;
    sent_[name] = secret;
    const std::string any = MakeAny(kSecretType, secret);
    resources.push_back(form_ == XdsForm::kDelta ? MakeResource(name, version, any) : any);
  }

  XdsForm form_;
  std::shared_ptr<rpc::ServerCall> call_;
  WorkloadSecretSource& source_;
  std::set<std::string> names_;
  std::map<std::string, std::string> sent_;
  uint64_t pushes_ = 0;
  std::shared_ptr<void> subscription_;
};

}  // namespace

std::string MakeSecret(std::string_view name, const WorkloadSecret& secret,
                       const std::string& crl_file) {
  std::string content;
  std::string message;
  rpc::PutBytes(message, 1, name);
  if (name == "default") {
    rpc::PutBytes(content, 1, InlineBytes(secret.chain_pem));
    rpc::PutBytes(content, 2, InlineBytes(secret.identity.key.pem()));
    rpc::PutBytes(message, 2, content);
  } else if (name == "ROOTCA") {
    const base::Result<std::string> revoked =
        crl_file.empty() ? std::string() : base::ReadFile(crl_file);
    static const MeshTrust kNone;
    content = (secret.mesh_trust == nullptr ? kNone : *secret.mesh_trust)
                  .Validation(secret.trust_domain, secret.root_pem,
                              revoked.ok() ? *revoked : std::string());
    if (!crl_file.empty()) {
      std::string file;
      rpc::PutBytes(file, 1, crl_file);
      rpc::PutBytes(content, 7, file);
    }
    rpc::PutBytes(message, 4, content);
  } else {
    return {};
  }
  return message;
}

std::string MakeFileSecret(std::string_view name) {
  std::string message;
  std::string content;
  rpc::PutBytes(message, 1, name);
  std::string_view files = name;
  if (base::ConsumePrefix(files, kCertificateFilePrefix)) {
    const auto [certificate, key] = base::Cut(files, "~");
    if (!base::Exists(std::string(certificate)) || !base::Exists(std::string(key))) return "";
    rpc::PutBytes(content, 1, FileSource(certificate));
    rpc::PutBytes(content, 2, FileSource(key));
    rpc::PutBytes(message, 2, content);
    return message;
  }
  if (!base::ConsumePrefix(files, kRootFilePrefix)) return "";
  std::string file(files);
  if (file == "system") file = SystemRootsFile();
  if (file.empty() || !base::Exists(file)) return "";
  rpc::PutBytes(content, 1, FileSource(file));
  rpc::PutBytes(message, 4, content);
  return message;
}

base::Result<std::unique_ptr<http::Server>> ServeOnSocket(base::Loop& loop, const std::string& path,
                                                          http::Handler handler) {
  if (const size_t slash = path.rfind('/'); slash != std::string::npos)
    RETURN_IF_ERROR(base::MakeDirs(path.substr(0, slash), 0750), "folder of the socket");
  RETURN_IF_ERROR(base::RemoveFile(path), "socket of an earlier run");
  http::ServerOptions options;
  options.address = "unix:" + path;
  // Envoy on the same machine: a stream may be silent for days.
  options.keepalive = base::Duration::zero();
  auto server = std::make_unique<http::Server>(loop, std::move(options), std::move(handler));
  RETURN_IF_ERROR(server->Start(), path);
  if (chmod(path.c_str(), 0666) != 0)
    return base::Error(Code::kInternal, "{}: {}", path, strerror(errno));
  return server;
}

struct SdsServer::Impl {
  base::Loop& loop;
  WorkloadSecretSource& source;
  std::string path;
  rpc::Router router{};
  std::unique_ptr<http::Server> server{};
};

SdsServer::SdsServer(base::Loop& loop, WorkloadSecretSource& source, std::string socket_path)
    : impl_(std::make_shared<Impl>(Impl{loop, source, std::move(socket_path)})) {
  const auto add = [this](const char* method, XdsForm form) {
    impl_->router.Add(std::string(kService) + method,
                      [impl = impl_.get(), form](std::shared_ptr<rpc::ServerCall> call) {
                        std::make_shared<SdsStream>(form, std::move(call), impl->source)->Start();
                      });
  };
  add("StreamSecrets", XdsForm::kStateOfTheWorld);
  add("DeltaSecrets", XdsForm::kDelta);
}
SdsServer::~SdsServer() = default;

base::Status SdsServer::Start() {
  ASSIGN_OR_RETURN(impl_->server,
                   ServeOnSocket(impl_->loop, impl_->path,
                                 [impl = impl_.get()](std::shared_ptr<http::ServerStream> stream) {
                                   impl->router.Serve(std::move(stream));
                                 }),
                   "secrets server");
  return {};
}

}  // namespace isthmus::agent
