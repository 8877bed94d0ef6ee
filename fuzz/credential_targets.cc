// Tokens, certificates, certificate requests and keys.
#include "base/encoding.h"
#include "base/strings.h"
#include "fuzz.h"
#include "pki/certificate.h"
#include "pki/csr.h"
#include "pki/jwt.h"
#include "pki/spiffe.h"
#include "pki/trust_bundle.h"

namespace isthmus::fuzz {
namespace {

/// Inputs are a token's header and claims, a line each; a third line is its signature.
class TokenTarget final : public Target {
 public:
  TokenTarget() {
    auto key = pki::PrivateKey::GenerateRsa(2048);
    Require(key.ok(), "a key is made");
    keys_ = {pki::PublicKey::Of(*key)};
  }

  void Run(std::string_view input, Random& random) override {
    std::string token;
    for (const std::string_view line : base::Split(input, '\n'))
      token += (token.empty() ? "" : ".") + base::Base64UrlEncode(line);
    Look(token);
    if (!token.empty()) token[random.Below(token.size())] = static_cast<char>(random.Next());
    Look(token);
    Look(input);
  }

 private:
  void Look(std::string_view token) const {
    (void)pki::ParseTokenClaims(token);
    Require(!pki::VerifyToken(token, keys_, {}, {}).ok(), "nobody else can sign");
  }
  std::vector<pki::PublicKey> keys_;
};

/// Inputs are DER; each is read as everything that may come as PEM.
class CertificateTarget final : public Target {
 public:
  void Run(std::string_view input, Random&) override {
    if (const auto certificate = pki::Certificate::FromDer(input); certificate.ok())
      LookAt(*certificate);
    const std::string chain = Pem("CERTIFICATE", input);
    if (const auto certificates = pki::Certificate::ChainFromPem(chain + chain); certificates.ok())
      for (const pki::Certificate& certificate : *certificates) LookAt(certificate);
    if (const auto csr = pki::Csr::FromPem(Pem("CERTIFICATE REQUEST", input)); csr.ok())
      (void)csr->public_pem();
    for (const char* label : {"PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY", "PUBLIC KEY"}) {
      const std::string pem = Pem(label, input);
      (void)pki::PrivateKey::FromPem(pem);
      if (const auto key = pki::PublicKey::FromPem(pem); key.ok()) (void)key->Jwk();
    }
    (void)pki::Certificate::ChainFromPem(input);
    (void)pki::Csr::FromPem(input);
    (void)pki::KeyCertificate::FromPem(input, chain);
  }

 private:
  static std::string Pem(std::string_view label, std::string_view der) {
    return fmt::format("-----BEGIN {}-----\n{}\n-----END {}-----\n", label, base::Base64Encode(der),
                       label);
  }

  static void LookAt(const pki::Certificate& certificate) {
    (void)certificate.subject();
    (void)certificate.issuer();
    (void)certificate.serial();
    (void)certificate.not_before();
    (void)certificate.not_after();
    (void)certificate.is_ca();
    (void)certificate.dns_sans();
    (void)certificate.ip_sans();
    (void)certificate.common_name();
    (void)certificate.organizations();
    for (const std::string& uri : certificate.uri_sans()) (void)pki::SpiffeId::Parse(uri);
    Require(pki::Certificate::FromDer(certificate.der()).ok(), "a certificate's DER is one");
  }
};

}  // namespace

std::unique_ptr<Target> NewTokenTarget() { return std::make_unique<TokenTarget>(); }
std::unique_ptr<Target> NewCertificateTarget() { return std::make_unique<CertificateTarget>(); }

}  // namespace isthmus::fuzz
