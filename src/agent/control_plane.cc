#include "agent/control_plane.h"

#include <utility>

#include "agent/system_roots.h"
#include "base/files.h"
#include "base/net.h"
#include "base/strings.h"
#include "pki/trust_bundle.h"

namespace isthmus::agent {
namespace {

using base::Code;

base::Result<std::shared_ptr<const pki::TrustBundle>> ReadRoots(std::string path) {
  if (path == "SYSTEM") {
    path = SystemRootsFile();
    if (path.empty())
      return base::Error(Code::kNotFound, "the operating system has no file of roots");
  }
  ASSIGN_OR_RETURN(const std::string pem, base::ReadFile(path), "roots of the control plane");
  ASSIGN_OR_RETURN(pki::TrustBundle roots, pki::TrustBundle::FromPem(pem), path);
  return std::make_shared<const pki::TrustBundle>(std::move(roots));
}

}  // namespace

ControlPlane::ControlPlane(base::Loop& loop, const base::Clock& clock, ControlPlaneOptions options)
    : loop_(loop), clock_(clock), options_(std::move(options)) {}
ControlPlane::~ControlPlane() = default;

const std::string& ControlPlane::address() const { return options_.addresses[at_]; }

base::Result<http::Client*> ControlPlane::client() {
  if (client_ != nullptr) return client_.get();
  http::ClientOptions options;
  options.connect_timeout = std::chrono::seconds(5);
  // A gateway on the way may be gone without a word, and another one there long before a stream
  // that has nothing to say would notice.
  options.lost_after = std::chrono::seconds(10);
  // Istio's control plane takes more than one ping in 15 s amiss.
  options.keepalive = std::chrono::seconds(20);
  options.url = (options_.plaintext ? "http://" : "https://") + address();
  options.http2_prior_knowledge = true;
  if (!options_.plaintext) {
    http::TlsClientOptions tls;
    ASSIGN_OR_RETURN(tls.roots, ReadRoots(options_.root_file), "connecting to " + address());
    ASSIGN_OR_RETURN(const base::HostPort host, base::HostPort::Parse(address()),
                     "address " + address());
    tls.server_name = options_.server_name.empty() ? host.host : options_.server_name;
    tls.alpn = {"h2"};
    used_certificate_ = false;
    if (options_.certificate && failures_ % 2 == 0) {
      const std::shared_ptr<const pki::KeyCertificate> own = options_.certificate();
      if (own != nullptr && own->chain.front().not_after() > clock_.Now()) {
        tls.certificate = [own] { return own; };
        used_certificate_ = true;
      }
    }
    options.tls = std::move(tls);
  }
  client_ = std::make_shared<http::Client>(loop_, std::move(options));
  return client_.get();
}

http::Headers ControlPlane::metadata() const {
  http::Headers metadata = options_.headers;
  metadata.Set("clusterid", options_.cluster_id);
  if (options_.token_file.empty()) return metadata;
  if (base::Result<std::string> token = base::ReadFile(options_.token_file); token.ok()) {
    const std::string_view text = base::Trim(*token);
    if (!text.empty()) metadata.Set("authorization", "Bearer " + std::string(text));
  }
  return metadata;
}

void ControlPlane::Failed() {
  if (client_ == nullptr) {
    ++failures_;
    return;
  }
  // The certificate gets the blame once before the address does.
  const bool blame_certificate = used_certificate_ && failures_ % 2 == 0;
  ++failures_;
  if (!blame_certificate) at_ = (at_ + 1) % options_.addresses.size();
  Rest();
}

void ControlPlane::Rest() {
  if (client_ == nullptr) return;
  // The caller may be inside one of the client's callbacks.
  loop_.Post([old = std::exchange(client_, nullptr)]() mutable { old.reset(); });
}

}  // namespace isthmus::agent
