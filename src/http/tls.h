#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "pki/certificate.h"
#include "pki/trust_bundle.h"

namespace isthmus::http {

/// How a server proves itself and what it asks of clients. The functions are called for each new
/// connection, so a renewed certificate or a changed root counts from the next one on.
struct TlsServerOptions {
  std::function<std::shared_ptr<const pki::KeyCertificate>()> certificate;
  enum class ClientCertificate { kIgnore, kOptional, kRequired };
  ClientCertificate client_certificate = ClientCertificate::kIgnore;
  /// Roots for client certificates; null refuses every client certificate.
  std::function<std::shared_ptr<const pki::TrustBundle>()> client_roots;
  std::vector<std::string> alpn = {"h2", "http/1.1"};
};

/// How a client checks its server and proves itself.
struct TlsClientOptions {
  /// Null skips the check of the server (kubectl's insecure-skip-tls-verify).
  std::shared_ptr<const pki::TrustBundle> roots;
  /// The name checked against the certificate's DNS or IP SANs, and sent as SNI; empty takes the
  /// URL's host.
  std::string server_name;
  std::function<std::shared_ptr<const pki::KeyCertificate>()> certificate;
  std::vector<std::string> alpn = {"h2", "http/1.1"};
};

/// What a finished handshake told about the other side.
struct PeerInfo {
  std::string address;  ///< "10.0.0.1:4711", or the path of a unix socket.
  bool tls = false;
  /// The verified chain, leaf first; empty without a (verified) certificate.
  std::vector<pki::Certificate> chain;
};

}  // namespace isthmus::http
