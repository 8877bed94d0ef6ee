#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "agent/control_plane.h"
#include "base/backoff.h"

namespace isthmus::agent {

/// Asks the CA to sign certificate requests. One request at a time. Lives on its loop.
class CaClient {
 public:
  using Done = std::function<void(base::Result<std::vector<std::string>>)>;
  CaClient(base::Loop& loop, ControlPlane& control_plane, std::string cert_signer);

  /// The elements of the answer: leaf, chain, roots; at least two. Tries up to five times when a
  /// retry can help. REQUIRES: no request under way.
  void Sign(std::string csr_pem, std::chrono::seconds ttl, Done done);

 private:
  void Try();
  void OnAnswer(base::Result<std::string> answer);
  void Finish(base::Result<std::vector<std::string>> result);

  base::Loop& loop_;
  ControlPlane& control_plane_;
  std::string cert_signer_;
  std::string request_;
  Done done_;
  int attempts_ = 0;
  base::Backoff backoff_;
  base::Timer retry_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

/// The serialised IstioCertificateRequest; and the elements of a serialised response.
std::string MakeCertificateRequest(std::string_view csr_pem, std::chrono::seconds ttl,
                                   std::string_view cert_signer);
base::Result<std::vector<std::string>> ParseCertificateResponse(std::string_view message);

}  // namespace isthmus::agent
