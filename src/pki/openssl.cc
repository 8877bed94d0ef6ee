#include "pki/openssl.h"

#include <arpa/inet.h>
#include <openssl/err.h>

namespace isthmus::pki {

base::Status OpenSslError(base::Code code, std::string_view what) {
  // The last error of the queue is the outermost one, the first tells the cause.
  const unsigned long error = ERR_peek_error();
  const char* reason = error == 0 ? nullptr : ERR_reason_error_string(error);
  ERR_clear_error();
  if (reason == nullptr) return base::Status(code, std::string(what));
  return base::Error(code, "{}: {}", what, reason);
}

BioPtr ReadOnlyBio(std::string_view text) {
  return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

std::string BioText(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return size <= 0 ? std::string() : std::string(data, static_cast<size_t>(size));
}

std::string NameText(const X509_NAME* name) {
  BioPtr bio(BIO_new(BIO_s_mem()));
  X509_NAME_print_ex(bio.get(), name, 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB);
  return BioText(bio.get());
}

std::vector<std::string> NameValues(const X509_NAME* name, int nid) {
  std::vector<std::string> values;
  for (int at = X509_NAME_get_index_by_NID(name, nid, -1); at >= 0;
       at = X509_NAME_get_index_by_NID(name, nid, at)) {
    unsigned char* text = nullptr;
    const int size =
        ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
    if (size < 0) continue;
    values.emplace_back(reinterpret_cast<char*>(text), static_cast<size_t>(size));
    OPENSSL_free(text);
  }
  ERR_clear_error();
  return values;
}

std::vector<std::string> SansOf(const GENERAL_NAMES* names, int type) {
  std::vector<std::string> values;
  for (int i = 0; i < sk_GENERAL_NAME_num(names); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names, i);
    if (name->type != type) continue;
    const ASN1_STRING* raw = type == GEN_IPADD ? name->d.iPAddress : name->d.ia5;
    const unsigned char* data = ASN1_STRING_get0_data(raw);
    const int size = ASN1_STRING_length(raw);
    if (type != GEN_IPADD) {
      values.emplace_back(reinterpret_cast<const char*>(data), static_cast<size_t>(size));
      continue;
    }
    char text[INET6_ADDRSTRLEN];
    if (size != 4 && size != 16) continue;
    if (inet_ntop(size == 4 ? AF_INET : AF_INET6, data, text, sizeof(text)) != nullptr)
      values.emplace_back(text);
  }
  return values;
}

namespace {

base::Status AddSan(GENERAL_NAMES* names, int type, ASN1_STRING* value) {
  GENERAL_NAME* name = GENERAL_NAME_new();
  GENERAL_NAME_set0_value(name, type, value);
  if (sk_GENERAL_NAME_push(names, name) > 0) return {};
  GENERAL_NAME_free(name);
  return OpenSslError(base::Code::kInternal, "adding an alternative name");
}

base::Status AddTextSan(GENERAL_NAMES* names, int type, const std::string& text) {
  if (text.empty() || text.size() > 2048)
    return base::Error(base::Code::kInvalidArgument, "alternative name of {} bytes", text.size());
  for (const unsigned char c : text) {
    if (c <= 0x20 || c >= 0x7f)
      return base::Error(base::Code::kInvalidArgument,
                         "alternative name \"{}\" has a character outside printable ASCII", text);
  }
  ASN1_IA5STRING* value = ASN1_IA5STRING_new();
  ASN1_STRING_set(value, text.data(), static_cast<int>(text.size()));
  return AddSan(names, type, value);
}

}  // namespace

base::Result<NamesPtr> MakeSans(const std::vector<std::string>& uris,
                                const std::vector<std::string>& dns_names,
                                const std::vector<std::string>& ips) {
  NamesPtr names(GENERAL_NAMES_new());
  for (const std::string& uri : uris) RETURN_IF_ERROR(AddTextSan(names.get(), GEN_URI, uri), "URI");
  for (const std::string& dns : dns_names)
    RETURN_IF_ERROR(AddTextSan(names.get(), GEN_DNS, dns), "DNS name");
  for (const std::string& ip : ips) {
    unsigned char bytes[16];
    const int size = inet_pton(AF_INET, ip.c_str(), bytes) == 1    ? 4
                     : inet_pton(AF_INET6, ip.c_str(), bytes) == 1 ? 16
                                                                   : 0;
    if (size == 0)
      return base::Error(base::Code::kInvalidArgument, "\"{}\" is not an IP address", ip);
    ASN1_OCTET_STRING* value = ASN1_OCTET_STRING_new();
    ASN1_OCTET_STRING_set(value, bytes, size);
    RETURN_IF_ERROR(AddSan(names.get(), GEN_IPADD, value), "IP address");
  }
  return names;
}

base::Status AddNameValue(X509_NAME* name, int nid, std::string_view value) {
  // MBSTRING types are checked against X.520's bounds, which forbid an empty string; a plain type
  // is not.
  const int type = value.empty() ? V_ASN1_PRINTABLESTRING : MBSTRING_UTF8;
  const auto* bytes = reinterpret_cast<const unsigned char*>(value.empty() ? "" : value.data());
  if (X509_NAME_add_entry_by_NID(name, nid, type, bytes, static_cast<int>(value.size()), -1, 0) ==
      1)
    return {};
  return OpenSslError(base::Code::kInvalidArgument, fmt::format("subject value \"{}\"", value));
}

const EVP_MD* SigningDigest(EVP_PKEY* key) {
  const int type = EVP_PKEY_get_base_id(key);
  if (type == EVP_PKEY_ED25519 || type == EVP_PKEY_ED448) return nullptr;
  if (type == EVP_PKEY_EC && EVP_PKEY_get_bits(key) > 256) return EVP_sha384();
  return EVP_sha256();
}

}  // namespace isthmus::pki
