#include "pki/certificate.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "base/encoding.h"
#include "pki/digest.h"
#include "pki/openssl.h"

namespace isthmus::pki {
namespace {

using base::Code;

// More than any real chain or bundle; keeps hostile input from costing much.
constexpr size_t kMaxPemBytes = 4 << 20;

int RefusePassword(char*, int, int, void*) { return -1; }

std::shared_ptr<X509> Share(X509* x509) { return std::shared_ptr<X509>(x509, X509_free); }

std::shared_ptr<EVP_PKEY> Share(EVP_PKEY* key) {
  return std::shared_ptr<EVP_PKEY>(key, EVP_PKEY_free);
}

base::Time ToTime(const ASN1_TIME* time) {
  std::tm parts = {};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return {};
  // system_clock ends in 2262; certificates may say 9999.
  constexpr time_t kLast = 9214646400;
  return std::chrono::system_clock::from_time_t(std::min(timegm(&parts), kLast));
}

std::vector<std::string> Sans(X509* x509, int type) {
  NamesPtr names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(x509, NID_subject_alt_name, nullptr, nullptr)));
  ERR_clear_error();
  return names == nullptr ? std::vector<std::string>() : SansOf(names.get(), type);
}

}  // namespace

base::Result<Certificate> Certificate::FromPem(std::string_view pem) {
  base::Result<std::vector<Certificate>> chain = ChainFromPem(pem);
  if (!chain.ok()) return chain.status();
  return std::move(chain->front());
}

base::Result<Certificate> Certificate::FromDer(std::string_view der) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(der.data());
  const auto* const end = bytes + der.size();
  X509* x509 = d2i_X509(nullptr, &bytes, static_cast<long>(der.size()));
  if (x509 == nullptr) return OpenSslError(Code::kInvalidArgument, "no certificate in DER form");
  Certificate certificate(Share(x509));
  if (bytes != end) return base::Error(Code::kInvalidArgument, "bytes after the certificate");
  return certificate;
}

base::Result<std::vector<Certificate>> Certificate::ChainFromPem(std::string_view pem) {
  if (pem.size() > kMaxPemBytes)
    return base::Error(Code::kInvalidArgument, "PEM text of {} bytes is too long", pem.size());
  std::vector<Certificate> chain;
  BioPtr bio = ReadOnlyBio(pem);
  ERR_clear_error();
  while (X509* x509 = PEM_read_bio_X509(bio.get(), nullptr, RefusePassword, nullptr))
    chain.emplace_back(Share(x509));
  const unsigned long error = ERR_peek_last_error();
  const bool at_end =
      ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
  if (!at_end)
    return OpenSslError(Code::kInvalidArgument,
                        fmt::format("certificate {} of the PEM text is broken", chain.size() + 1));
  ERR_clear_error();
  if (chain.empty()) return base::Error(Code::kInvalidArgument, "no certificate in PEM text");
  return chain;
}

std::string Certificate::pem() const {
  BioPtr bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509(bio.get(), x509_.get());
  return BioText(bio.get());
}

std::string Certificate::der() const {
  unsigned char* bytes = nullptr;
  const int size = i2d_X509(x509_.get(), &bytes);
  if (size < 0) return {};
  std::string der(reinterpret_cast<char*>(bytes), static_cast<size_t>(size));
  OPENSSL_free(bytes);
  return der;
}

std::string Certificate::subject() const { return NameText(X509_get_subject_name(x509_.get())); }
std::string Certificate::issuer() const { return NameText(X509_get_issuer_name(x509_.get())); }

std::string Certificate::serial() const {
  const ASN1_INTEGER* serial = X509_get0_serialNumber(x509_.get());
  return base::HexEncode({reinterpret_cast<const char*>(ASN1_STRING_get0_data(serial)),
                          static_cast<size_t>(ASN1_STRING_length(serial))});
}

base::Time Certificate::not_before() const { return ToTime(X509_get0_notBefore(x509_.get())); }
base::Time Certificate::not_after() const { return ToTime(X509_get0_notAfter(x509_.get())); }

bool Certificate::is_ca() const {
  // X509_check_ca() also counts version 1 certificates and others without the extension; we do not.
  return (X509_get_extension_flags(x509_.get()) & EXFLAG_BCONS) != 0 &&
         (X509_get_extension_flags(x509_.get()) & EXFLAG_CA) != 0;
}

std::vector<std::string> Certificate::uri_sans() const { return Sans(x509_.get(), GEN_URI); }
std::vector<std::string> Certificate::dns_sans() const { return Sans(x509_.get(), GEN_DNS); }
std::vector<std::string> Certificate::ip_sans() const { return Sans(x509_.get(), GEN_IPADD); }

std::string Certificate::common_name() const {
  std::vector<std::string> names = NameValues(X509_get_subject_name(x509_.get()), NID_commonName);
  return names.empty() ? std::string() : names.front();
}

std::vector<std::string> Certificate::organizations() const {
  return NameValues(X509_get_subject_name(x509_.get()), NID_organizationName);
}

std::string Certificate::sha256() const { return Sha256Hex(der()); }

base::Result<PrivateKey> PrivateKey::GenerateRsa(int bits) {
  if (bits < 2048 || bits > 8192)
    return base::Error(Code::kInvalidArgument, "RSA key of {} bits: give 2048 to 8192", bits);
  EVP_PKEY* key = EVP_RSA_gen(static_cast<unsigned int>(bits));
  if (key == nullptr) return OpenSslError(Code::kInternal, "making an RSA key");
  return PrivateKey(Share(key));
}

base::Result<PrivateKey> PrivateKey::GenerateEcdsaP256() {
  EVP_PKEY* key = EVP_EC_gen("P-256");
  if (key == nullptr) return OpenSslError(Code::kInternal, "making an ECDSA key");
  return PrivateKey(Share(key));
}

base::Result<PrivateKey> PrivateKey::FromPem(std::string_view pem) {
  if (pem.size() > kMaxPemBytes)
    return base::Error(Code::kInvalidArgument, "PEM text of {} bytes is too long", pem.size());
  BioPtr bio = ReadOnlyBio(pem);
  EVP_PKEY* key = PEM_read_bio_PrivateKey(bio.get(), nullptr, RefusePassword, nullptr);
  if (key == nullptr)
    return OpenSslError(Code::kInvalidArgument,
                        "no private key in PEM text (PKCS#8, PKCS#1 or SEC1, not encrypted)");
  return PrivateKey(Share(key));
}

std::string PrivateKey::pem() const {
  BioPtr bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_PKCS8PrivateKey(bio.get(), key_.get(), nullptr, nullptr, 0, nullptr, nullptr);
  return BioText(bio.get());
}

std::string PrivateKey::public_pem() const {
  BioPtr bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_PUBKEY(bio.get(), key_.get());
  return BioText(bio.get());
}

base::Result<KeyCertificate> KeyCertificate::FromPem(std::string_view key_pem,
                                                     std::string_view chain_pem) {
  ASSIGN_OR_RETURN(PrivateKey key, PrivateKey::FromPem(key_pem), "key");
  ASSIGN_OR_RETURN(std::vector<Certificate> chain, Certificate::ChainFromPem(chain_pem),
                   "certificates");
  if (X509_check_private_key(chain.front().x509(), key.evp()) != 1) {
    ERR_clear_error();
    return base::Error(Code::kInvalidArgument, "the key does not fit the certificate of \"{}\"",
                       chain.front().subject());
  }
  return KeyCertificate{std::move(key), std::move(chain)};
}

std::string KeyCertificate::chain_pem() const {
  std::string text;
  for (const Certificate& certificate : chain) text += certificate.pem();
  return text;
}

}  // namespace isthmus::pki
