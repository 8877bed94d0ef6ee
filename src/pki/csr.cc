#include "pki/csr.h"

#include <openssl/err.h>
#include <openssl/pem.h>

#include "pki/openssl.h"

namespace isthmus::pki {
namespace {

using base::Code;

constexpr size_t kMaxCsrBytes = 64 << 10;

struct ExtensionsFreer {
  void operator()(STACK_OF(X509_EXTENSION) * stack) const {
    sk_X509_EXTENSION_pop_free(stack, X509_EXTENSION_free);
  }
};
using ExtensionsPtr = std::unique_ptr<STACK_OF(X509_EXTENSION), ExtensionsFreer>;

std::string First(std::vector<std::string> values) {
  return values.empty() ? std::string() : std::move(values.front());
}

Names NamesOf(X509_REQ* request) {
  const X509_NAME* subject = X509_REQ_get_subject_name(request);
  Names names;
  names.common_name = First(NameValues(subject, NID_commonName));
  names.organizations = NameValues(subject, NID_organizationName);
  names.locality = First(NameValues(subject, NID_localityName));
  ExtensionsPtr extensions(X509_REQ_get_extensions(request));
  NamesPtr sans(extensions == nullptr
                    ? nullptr
                    : static_cast<GENERAL_NAMES*>(X509V3_get_d2i(
                          extensions.get(), NID_subject_alt_name, nullptr, nullptr)));
  if (sans != nullptr) {
    names.uri_sans = SansOf(sans.get(), GEN_URI);
    names.dns_sans = SansOf(sans.get(), GEN_DNS);
    names.ip_sans = SansOf(sans.get(), GEN_IPADD);
  }
  ERR_clear_error();
  return names;
}

base::Status CheckKey(EVP_PKEY* key) {
  if (key == nullptr)
    return OpenSslError(Code::kInvalidArgument, "request without a usable public key");
  const int bits = EVP_PKEY_get_bits(key);
  if (EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA && (bits < 2048 || bits > 8192))
    return base::Error(Code::kInvalidArgument, "RSA key of {} bits: 2048 to 8192 are accepted",
                       bits);
  return {};
}

}  // namespace

base::Result<std::string> MakeCsr(const PrivateKey& key, const Names& names) {
  std::shared_ptr<X509_REQ> request(X509_REQ_new(), X509_REQ_free);
  X509_REQ_set_version(request.get(), X509_REQ_VERSION_1);
  X509_NAME* subject = X509_REQ_get_subject_name(request.get());
  for (const std::string& organization : names.organizations)
    RETURN_IF_ERROR(AddNameValue(subject, NID_organizationName, organization), "organization");
  if (!names.common_name.empty())
    RETURN_IF_ERROR(AddNameValue(subject, NID_commonName, names.common_name), "common name");
  if (!names.locality.empty())
    RETURN_IF_ERROR(AddNameValue(subject, NID_localityName, names.locality), "locality");
  ASSIGN_OR_RETURN(NamesPtr sans, MakeSans(names.uri_sans, names.dns_sans, names.ip_sans),
                   "alternative names");
  if (sk_GENERAL_NAME_num(sans.get()) > 0) {
    STACK_OF(X509_EXTENSION)* raw = nullptr;
    const int added =
        X509V3_add1_i2d(&raw, NID_subject_alt_name, sans.get(), 1, X509V3_ADD_DEFAULT);
    ExtensionsPtr extensions(raw);
    if (added != 1 || X509_REQ_add_extensions(request.get(), extensions.get()) != 1)
      return OpenSslError(Code::kInternal, "adding alternative names to a request");
  }
  if (X509_REQ_set_pubkey(request.get(), key.evp()) != 1 ||
      X509_REQ_sign(request.get(), key.evp(), SigningDigest(key.evp())) <= 0) {
    return OpenSslError(Code::kInternal, "signing a certificate request");
  }
  BioPtr bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509_REQ(bio.get(), request.get());
  return BioText(bio.get());
}

base::Result<Csr> Csr::FromPem(std::string_view pem) {
  if (pem.size() > kMaxCsrBytes)
    return base::Error(Code::kInvalidArgument, "certificate request of {} bytes is too long",
                       pem.size());
  BioPtr bio = ReadOnlyBio(pem);
  X509_REQ* parsed = PEM_read_bio_X509_REQ(bio.get(), nullptr, nullptr, nullptr);
  if (parsed == nullptr)
    return OpenSslError(Code::kInvalidArgument, "no certificate request in PEM text");
  std::shared_ptr<X509_REQ> request(parsed, X509_REQ_free);
  EVP_PKEY* key = X509_REQ_get0_pubkey(parsed);
  if (base::Status status = CheckKey(key); !status.ok()) return status;
  if (X509_REQ_verify(parsed, key) != 1)
    return OpenSslError(Code::kInvalidArgument, "the request's signature does not fit its key");
  Names names = NamesOf(parsed);
  return Csr(std::move(request), std::move(names));
}

std::string Csr::public_pem() const {
  BioPtr bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_PUBKEY(bio.get(), public_key());
  return BioText(bio.get());
}

EVP_PKEY* Csr::public_key() const { return X509_REQ_get0_pubkey(request_.get()); }

}  // namespace isthmus::pki
