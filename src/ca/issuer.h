#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "ca/authority.h"

namespace isthmus::ca {

/// Makes the certificates of workloads whose identity is proven. Lives on one loop.
class Issuer {
 public:
  using Done = std::function<void(base::Result<std::vector<std::string>>)>;
  virtual ~Issuer() = default;
  /// Calls `done` once, in this call or later, with the elements of an answer: leaf, chain, roots.
  /// `signer` is the name that the caller asks for, mostly empty. kInvalidArgument for a bad
  /// request, kInternal when nothing can be issued.
  virtual void Issue(const std::string& csr_pem, const std::vector<std::string>& identities,
                     std::chrono::seconds ttl, const std::string& signer, Done done) = 0;
};

/// Signs with the CA in force. The authority outlives it.
class AuthorityIssuer final : public Issuer {
 public:
  explicit AuthorityIssuer(const Authority& authority) : authority_(authority) {}
  void Issue(const std::string& csr_pem, const std::vector<std::string>& identities,
             std::chrono::seconds ttl, const std::string& /*signer*/, Done done) override {
    done(authority_.Sign(csr_pem, identities, ttl));
  }

 private:
  const Authority& authority_;
};

}  // namespace isthmus::ca
