#include "pki/signer.h"

#include <openssl/err.h>

#include <algorithm>

#include "pki/digest.h"
#include "pki/openssl.h"

namespace isthmus::pki {
namespace {

using base::Code;

// Leaves are valid a little before they are made, for clocks that are behind.
constexpr seconds kClockSkew{120};

struct Draft {
  EVP_PKEY* subject_key = nullptr;
  Names names;
  base::Time not_before;
  base::Time not_after;
  std::string basic_constraints;
  std::string key_usage;
  std::string extended_key_usage;
};

base::Status AddExtension(X509* x509, X509* issuer, int nid, const std::string& value) {
  if (value.empty()) return {};
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, x509, nullptr, nullptr, 0);
  std::unique_ptr<X509_EXTENSION, Freer<X509_EXTENSION_free>> extension(
      X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()));
  if (extension == nullptr || X509_add_ext(x509, extension.get(), -1) != 1)
    return OpenSslError(Code::kInternal, fmt::format("extension {}", OBJ_nid2sn(nid)));
  return {};
}

base::Status SetSerial(X509* x509) {
  // 128 random bits; the first bit is kept zero, so that the integer is positive and has no extra
  // byte.
  std::string bytes = RandomBytes(16);
  bytes[0] = static_cast<char>((bytes[0] & 0x7f) | 0x40);
  BIGNUM* number = BN_bin2bn(reinterpret_cast<const unsigned char*>(bytes.data()), 16, nullptr);
  const bool ok = BN_to_ASN1_INTEGER(number, X509_get_serialNumber(x509)) != nullptr;
  BN_free(number);
  return ok ? base::Status() : OpenSslError(Code::kInternal, "serial number");
}

base::Status SetSubject(X509* x509, const Names& names) {
  X509_NAME* subject = X509_get_subject_name(x509);
  for (const std::string& organization : names.organizations)
    RETURN_IF_ERROR(AddNameValue(subject, NID_organizationName, organization), "organization");
  if (!names.common_name.empty())
    RETURN_IF_ERROR(AddNameValue(subject, NID_commonName, names.common_name), "common name");
  if (!names.locality.empty())
    RETURN_IF_ERROR(AddNameValue(subject, NID_localityName, names.locality), "locality");
  return {};
}

base::Status SetSans(X509* x509, const Names& names) {
  ASSIGN_OR_RETURN(NamesPtr sans, MakeSans(names.uri_sans, names.dns_sans, names.ip_sans),
                   "alternative names");
  if (sk_GENERAL_NAME_num(sans.get()) == 0) return {};
  // RFC 5280: critical when the subject is empty; workload certificates have it critical always.
  const bool critical =
      !names.uri_sans.empty() || X509_NAME_entry_count(X509_get_subject_name(x509)) == 0;
  if (X509_add1_ext_i2d(x509, NID_subject_alt_name, sans.get(), critical ? 1 : 0,
                        X509V3_ADD_DEFAULT) != 1)
    return OpenSslError(Code::kInternal, "alternative names");
  return {};
}

/// `issuer` null: the certificate signs itself.
base::Result<Certificate> Sign(const Draft& draft, X509* issuer, EVP_PKEY* issuer_key) {
  std::shared_ptr<X509> owner(X509_new(), X509_free);
  X509* x509 = owner.get();
  X509_set_version(x509, X509_VERSION_3);
  RETURN_IF_ERROR(SetSerial(x509), "certificate");
  ASN1_TIME_set(X509_getm_notBefore(x509), std::chrono::system_clock::to_time_t(draft.not_before));
  ASN1_TIME_set(X509_getm_notAfter(x509), std::chrono::system_clock::to_time_t(draft.not_after));
  RETURN_IF_ERROR(SetSubject(x509, draft.names), "certificate");
  X509_set_issuer_name(x509, X509_get_subject_name(issuer == nullptr ? x509 : issuer));
  if (X509_set_pubkey(x509, draft.subject_key) != 1)
    return OpenSslError(Code::kInvalidArgument, "public key");
  X509* const signer = issuer == nullptr ? x509 : issuer;
  RETURN_IF_ERROR(AddExtension(x509, signer, NID_basic_constraints, draft.basic_constraints),
                  "certificate");
  RETURN_IF_ERROR(AddExtension(x509, signer, NID_key_usage, draft.key_usage), "certificate");
  RETURN_IF_ERROR(AddExtension(x509, signer, NID_ext_key_usage, draft.extended_key_usage),
                  "certificate");
  RETURN_IF_ERROR(AddExtension(x509, signer, NID_subject_key_identifier, "hash"), "certificate");
  // The Makefile's roots may lack a key identifier; then there is nothing to point at.
  if (issuer != nullptr && X509_get0_subject_key_id(issuer) != nullptr)
    RETURN_IF_ERROR(AddExtension(x509, signer, NID_authority_key_identifier, "keyid"),
                    "certificate");
  RETURN_IF_ERROR(SetSans(x509, draft.names), "certificate");
  if (X509_sign(x509, issuer_key, SigningDigest(issuer_key)) <= 0)
    return OpenSslError(Code::kInternal, "signing a certificate");
  // Parsed anew, so that OpenSSL's cached view of the extensions is made from the final bytes.
  return Certificate::FromDer(Certificate(owner).der());
}

std::string UsageText(Usages usages) {
  if (usages.server_auth && usages.client_auth) return "serverAuth,clientAuth";
  if (usages.server_auth) return "serverAuth";
  return usages.client_auth ? "clientAuth" : "";
}

Draft LeafDraft(EVP_PKEY* key, const Names& names, Usages usages, base::Time now, base::Time end) {
  Draft draft;
  draft.subject_key = key;
  draft.names = names;
  draft.not_before = now - kClockSkew;
  draft.not_after = end;
  draft.basic_constraints = "critical,CA:FALSE";
  draft.key_usage = "critical,digitalSignature,keyEncipherment";
  draft.extended_key_usage = UsageText(usages);
  return draft;
}

}  // namespace

base::Result<KeyCertificate> MakeSelfSignedRoot(PrivateKey key, const RootOptions& options,
                                                base::Time now) {
  Draft draft;
  draft.subject_key = key.evp();
  draft.names.common_name = options.names.common_name;
  draft.names.organizations = options.names.organizations;
  draft.names.locality = options.names.locality;
  draft.not_before = now;
  draft.not_after = now + options.ttl;
  draft.basic_constraints = "critical,CA:TRUE";
  draft.key_usage = "critical,keyCertSign";
  ASSIGN_OR_RETURN(Certificate root, Sign(draft, nullptr, key.evp()), "self-signed root");
  return KeyCertificate{std::move(key), {std::move(root)}};
}

base::Result<IssuingCa> IssuingCa::Create(KeyCertificate signing, TrustBundle roots,
                                          const base::Clock& clock, IssueLimits limits) {
  if (signing.chain.empty()) return base::Error(Code::kInvalidArgument, "no signing certificate");
  const Certificate& certificate = signing.chain.front();
  if (!certificate.is_ca())
    return base::Error(Code::kInvalidArgument,
                       "certificate of \"{}\" is not a CA certificate (CA:true is missing)",
                       certificate.subject());
  if (X509_check_private_key(certificate.x509(), signing.key.evp()) != 1) {
    ERR_clear_error();
    return base::Error(Code::kInvalidArgument, "the key does not fit the certificate of \"{}\"",
                       certificate.subject());
  }
  if (base::Status status = roots.Verify(signing.chain, clock.Now()); !status.ok())
    return base::Status(Code::kInvalidArgument, "signing " + status.message());
  return IssuingCa(std::move(signing), std::move(roots), clock, limits);
}

base::Time IssuingCa::not_after() const {
  base::Time end = signing_.chain.front().not_after();
  for (const Certificate& link : signing_.chain) end = std::min(end, link.not_after());
  return end;
}

base::Result<base::Time> IssuingCa::EndOf(base::Time now, seconds ttl) const {
  const base::Time last = not_after();
  if (now >= last)
    return base::Error(Code::kFailedPrecondition,
                       "the signing certificate of \"{}\" ended at {}: renew it",
                       certificate().subject(), base::FormatTime(last));
  // Compared as lengths: now + ttl could overflow for a hostile ttl.
  const auto left = std::chrono::duration_cast<seconds>(last - now);
  return ttl < left ? now + ttl : last;
}

std::vector<Certificate> IssuingCa::WithChain(Certificate leaf) const {
  std::vector<Certificate> chain = {std::move(leaf)};
  for (const Certificate& link : signing_.chain)
    if (link.subject() != link.issuer()) chain.push_back(link);
  return chain;
}

base::Result<Certificate> IssuingCa::SignWorkload(const Csr& csr,
                                                  const std::vector<std::string>& uri_sans,
                                                  seconds ttl) const {
  if (uri_sans.empty()) return base::Error(Code::kInvalidArgument, "no identity to sign for");
  if (ttl > limits_.max_ttl)
    return base::Error(Code::kInvalidArgument,
                       "requested lifetime of {} s is greater than the allowed {} s", ttl.count(),
                       limits_.max_ttl.count());
  Names names;
  names.uri_sans = uri_sans;
  if (!csr.names().common_name.empty() && uri_sans.front().size() <= 64)
    names.common_name = uri_sans.front();
  return SignLeaf(csr, names, Usages{}, ttl <= seconds(0) ? limits_.default_ttl : ttl);
}

base::Result<Certificate> IssuingCa::SignLeaf(const Csr& csr, const Names& names, Usages usages,
                                              seconds ttl) const {
  if (ttl <= seconds(0))
    return base::Error(Code::kInvalidArgument, "lifetime of {} s", ttl.count());
  const base::Time now = clock_->Now();
  ASSIGN_OR_RETURN(const base::Time end, EndOf(now, ttl), "signing");
  return Sign(LeafDraft(csr.public_key(), names, usages, now, end), certificate().x509(),
              signing_.key.evp());
}

base::Result<KeyCertificate> IssuingCa::IssueLeaf(const Names& names, Usages usages,
                                                  seconds ttl) const {
  if (ttl <= seconds(0))
    return base::Error(Code::kInvalidArgument, "lifetime of {} s", ttl.count());
  const base::Time now = clock_->Now();
  ASSIGN_OR_RETURN(const base::Time end, EndOf(now, ttl), "signing");
  ASSIGN_OR_RETURN(PrivateKey key, PrivateKey::GenerateEcdsaP256(), "key");
  ASSIGN_OR_RETURN(
      Certificate leaf,
      Sign(LeafDraft(key.evp(), names, usages, now, end), certificate().x509(), signing_.key.evp()),
      "certificate");
  return KeyCertificate{std::move(key), WithChain(std::move(leaf))};
}

base::Result<KeyCertificate> IssuingCa::IssueIntermediate(PrivateKey key, const Names& names,
                                                          int path_length, seconds ttl) const {
  const base::Time now = clock_->Now();
  if (ttl <= seconds(0) || path_length < 0)
    return base::Error(Code::kInvalidArgument,
                       "intermediate CA with lifetime {} s and path length {}", ttl.count(),
                       path_length);
  if (now >= not_after() || ttl > not_after() - now)
    return base::Error(
        Code::kInvalidArgument,
        "an intermediate CA of {} s would outlive the certificate that signs it, which ends at {}",
        ttl.count(), base::FormatTime(not_after()));
  const long allowed = X509_get_pathlen(certificate().x509());
  if (allowed >= 0 && path_length >= allowed)
    return base::Error(
        Code::kInvalidArgument,
        "\"{}\" has path length {}: it may not sign an intermediate CA of path length {}",
        certificate().subject(), allowed, path_length);
  Draft draft;
  draft.subject_key = key.evp();
  draft.names = names;
  draft.not_before = now;
  draft.not_after = now + ttl;
  draft.basic_constraints = fmt::format("critical,CA:TRUE,pathlen:{}", path_length);
  draft.key_usage = "critical,digitalSignature,nonRepudiation,keyEncipherment,keyCertSign";
  ASSIGN_OR_RETURN(Certificate intermediate, Sign(draft, certificate().x509(), signing_.key.evp()),
                   "intermediate CA");
  return KeyCertificate{std::move(key), WithChain(std::move(intermediate))};
}

}  // namespace isthmus::pki
