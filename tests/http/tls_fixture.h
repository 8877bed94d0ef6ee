#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "pki/signer.h"

namespace isthmus::http {

/// A certificate authority for tests.
class TestCa {
 public:
  TestCa() {
    auto key = pki::PrivateKey::GenerateEcdsaP256();
    pki::RootOptions options;
    options.names.organizations = {"test"};
    auto root = pki::MakeSelfSignedRoot(std::move(key).value(), options, clock_.Now());
    pki::TrustBundle roots({root->chain.front()});
    ca_ = std::make_unique<pki::IssuingCa>(
        pki::IssuingCa::Create(std::move(root).value(), std::move(roots), clock_).value());
  }
  std::shared_ptr<const pki::KeyCertificate> Issue(std::vector<std::string> dns,
                                                   std::vector<std::string> ips = {},
                                                   std::vector<std::string> uris = {}) const {
    pki::Names names;
    names.dns_sans = std::move(dns);
    names.ip_sans = std::move(ips);
    names.uri_sans = std::move(uris);
    return std::make_shared<pki::KeyCertificate>(ca_->IssueLeaf(names, {}, pki::kDay).value());
  }
  std::shared_ptr<const pki::TrustBundle> roots() const {
    return std::make_shared<pki::TrustBundle>(ca_->roots());
  }

 private:
  base::SystemClock clock_;
  std::unique_ptr<pki::IssuingCa> ca_;
};

}  // namespace isthmus::http
