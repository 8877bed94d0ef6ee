#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "pki/certificate.h"

typedef struct X509_req_st X509_REQ;

namespace isthmus::pki {

/// The names that a certificate is asked or issued for.
struct Names {
  std::string common_name;
  std::vector<std::string> organizations;  ///< An empty string is written as an empty O.
  std::string locality;
  std::vector<std::string> uri_sans;
  std::vector<std::string> dns_sans;
  std::vector<std::string> ip_sans;
};

/// A PKCS#10 request in PEM form, signed with `key`. SANs are marked critical.
base::Result<std::string> MakeCsr(const PrivateKey& key, const Names& names);

/// A certificate request whose signature fits its key. What it says of names is the sender's wish,
/// not a fact. An immutable value.
class Csr {
 public:
  /// Refuses what does not parse, RSA keys outside 2048 to 8192 bits, and a signature that does not
  /// fit.
  static base::Result<Csr> FromPem(std::string_view pem);

  const Names& names() const { return names_; }
  std::string public_pem() const;
  /// For pki only.
  EVP_PKEY* public_key() const;

 private:
  Csr(std::shared_ptr<X509_REQ> request, Names names)
      : request_(std::move(request)), names_(std::move(names)) {}
  std::shared_ptr<X509_REQ> request_;
  Names names_;
};

}  // namespace isthmus::pki
