#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"

typedef struct x509_st X509;
typedef struct evp_pkey_st EVP_PKEY;

namespace isthmus::pki {

/// An X.509 certificate. An immutable value; copying shares it. Any thread may read it.
class Certificate {
 public:
  static base::Result<Certificate> FromPem(std::string_view pem);
  static base::Result<Certificate> FromDer(std::string_view der);
  /// All certificates of a PEM file in order; an error when there is none or one is broken.
  static base::Result<std::vector<Certificate>> ChainFromPem(std::string_view pem);

  std::string pem() const;
  std::string der() const;
  std::string subject() const;  ///< RFC 2253 form: "CN=Root CA,O=Istio".
  std::string issuer() const;
  std::string serial() const;  ///< Lower-case hexadecimal.
  base::Time not_before() const;
  base::Time not_after() const;
  bool is_ca() const;
  std::vector<std::string> uri_sans() const;
  std::vector<std::string> dns_sans() const;
  std::vector<std::string> ip_sans() const;
  /// Common name of the subject, and its organisations (Kubernetes' user and groups).
  std::string common_name() const;
  std::vector<std::string> organizations() const;
  std::string sha256() const;  ///< Fingerprint of the DER form, lower-case hexadecimal.
  bool operator==(const Certificate& other) const { return sha256() == other.sha256(); }

  /// For pki and http only.
  explicit Certificate(std::shared_ptr<X509> x509) : x509_(std::move(x509)) {}
  X509* x509() const { return x509_.get(); }

 private:
  std::shared_ptr<X509> x509_;
};

/// A private key. An immutable value; copying shares it. Never logged, never written to disk by us.
class PrivateKey {
 public:
  static base::Result<PrivateKey> GenerateRsa(int bits);
  static base::Result<PrivateKey> GenerateEcdsaP256();
  static base::Result<PrivateKey> FromPem(std::string_view pem);
  std::string pem() const;         ///< PKCS#8.
  std::string public_pem() const;  ///< SubjectPublicKeyInfo.

  explicit PrivateKey(std::shared_ptr<EVP_PKEY> key) : key_(std::move(key)) {}
  EVP_PKEY* evp() const { return key_.get(); }

 private:
  std::shared_ptr<EVP_PKEY> key_;
};

/// A key with its certificate chain, leaf first, as a TLS endpoint presents it.
struct KeyCertificate {
  PrivateKey key;
  std::vector<Certificate> chain;
  /// An error when a part does not parse or the key does not fit the first certificate.
  static base::Result<KeyCertificate> FromPem(std::string_view key_pem, std::string_view chain_pem);
  std::string chain_pem() const;
};

}  // namespace isthmus::pki
