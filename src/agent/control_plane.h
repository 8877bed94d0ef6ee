#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/loop.h"
#include "http/client.h"
#include "pki/certificate.h"

namespace isthmus::agent {

struct ControlPlaneOptions {
  /// "host:port", best first. All of them are believed by the same roots.
  std::vector<std::string> addresses;
  bool plaintext = false;
  /// The name in the server's certificate; empty: the address's host.
  std::string server_name;
  std::string
      root_file;  ///< Read for every new connection. "SYSTEM": the operating system's roots.
  std::string token_file;  ///< Read for every call; a token that cannot be read is left out.
  std::string cluster_id;
  http::Headers headers;  ///< Extra metadata (XDS_HEADER_*, CA_HEADER_*).
  /// Our own certificate for mTLS, or null. With it a call needs no token review, and works while
  /// the API server of the control plane is down.
  std::function<std::shared_ptr<const pki::KeyCertificate>()> certificate;
};

/// The way to one of several control planes. Keeps the connection that works; after a failure the
/// next client() is a new connection, to the next address. A certificate of ours that a server may
/// not like (expired, another root) is left out on every other attempt after a failure. Lives on
/// its loop.
class ControlPlane {
 public:
  ControlPlane(base::Loop& loop, const base::Clock& clock, ControlPlaneOptions options);
  ~ControlPlane();
  ControlPlane(const ControlPlane&) = delete;
  ControlPlane& operator=(const ControlPlane&) = delete;

  /// The client to start calls on; an error when the roots cannot be read. Valid until the loop
  /// turns after Failed().
  base::Result<http::Client*> client();
  /// Metadata of a call, with a token read now.
  http::Headers metadata() const;
  const std::string& address() const;

  /// A call failed in a way that may be the connection's fault.
  void Failed();
  /// A call was answered.
  void Worked() { failures_ = 0; }
  /// Closes the connection until it is needed again.
  void Rest();

 private:
  base::Loop& loop_;
  const base::Clock& clock_;
  ControlPlaneOptions options_;
  std::shared_ptr<http::Client> client_;
  size_t at_ = 0;
  int failures_ = 0;
  bool used_certificate_ = false;
};

}  // namespace isthmus::agent
