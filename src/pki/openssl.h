#pragma once

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"

/// What the .cc files of pki share about OpenSSL. For pki only.
namespace isthmus::pki {

template <auto kFree>
struct Freer {
  template <typename T>
  void operator()(T* object) const {
    kFree(object);
  }
};
using BioPtr = std::unique_ptr<BIO, Freer<BIO_free_all>>;
using NamesPtr = std::unique_ptr<GENERAL_NAMES, Freer<GENERAL_NAMES_free>>;

/// An error that ends in OpenSSL's own reason; empties OpenSSL's error queue.
base::Status OpenSslError(base::Code code, std::string_view what);

BioPtr ReadOnlyBio(std::string_view text);
std::string BioText(BIO* bio);
std::string NameText(const X509_NAME* name);
/// The values of all attributes `nid` of a name, as UTF-8.
std::vector<std::string> NameValues(const X509_NAME* name, int nid);
/// The alternative names of one type (GEN_URI, GEN_DNS, GEN_IPADD) as text.
std::vector<std::string> SansOf(const GENERAL_NAMES* names, int type);
/// SANs as OpenSSL wants them; an error for one that cannot be written into a certificate.
base::Result<NamesPtr> MakeSans(const std::vector<std::string>& uris,
                                const std::vector<std::string>& dns_names,
                                const std::vector<std::string>& ips);
/// Appends an attribute to a name; an empty value is allowed, as Istio's agents send an empty O.
base::Status AddNameValue(X509_NAME* name, int nid, std::string_view value);
/// The digest with which a key signs: null for Ed25519, SHA-384 for P-384, else SHA-256.
const EVP_MD* SigningDigest(EVP_PKEY* key);

}  // namespace isthmus::pki
