#include "pki/jwt.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/encoding.h"
#include "pki/digest.h"
#include "pki/openssl.h"

namespace isthmus::pki {
namespace {

using base::Code;
using Json = nlohmann::json;

constexpr size_t kMaxTokenBytes = 64 << 10;
constexpr std::string_view kKubernetes = "kubernetes.io";

struct Parts {
  std::string_view signed_text;  ///< "<header>.<payload>"
  Json header;
  Json payload;
  std::string signature;
};

base::Status Malformed(std::string_view why) {
  return base::Error(Code::kUnauthenticated, "token is not a JWT: {}", why);
}

base::Result<Json> DecodeObject(std::string_view part, std::string_view name) {
  const base::Result<std::string> text = base::Base64Decode(part);
  if (!text) return Malformed(fmt::format("{} is not base64url", name));
  // A depth limit, since the parser of nested values recurses when the value is destroyed.
  const auto shallow = [](int depth, Json::parse_event_t, Json&) { return depth <= 16; };
  Json value = Json::parse(*text, shallow, /*allow_exceptions=*/false);
  if (!value.is_object()) return Malformed(fmt::format("{} is not a JSON object", name));
  return value;
}

base::Result<Parts> Split(std::string_view token) {
  if (token.size() > kMaxTokenBytes) return Malformed("too long");
  const size_t first = token.find('.');
  const size_t second = first == token.npos ? first : token.find('.', first + 1);
  if (second == token.npos || token.find('.', second + 1) != token.npos)
    return Malformed("it has not three parts");
  Parts parts;
  parts.signed_text = token.substr(0, second);
  ASSIGN_OR_RETURN(parts.header, DecodeObject(token.substr(0, first), "header"), "header");
  ASSIGN_OR_RETURN(parts.payload,
                   DecodeObject(token.substr(first + 1, second - first - 1), "payload"), "payload");
  base::Result<std::string> signature = base::Base64Decode(token.substr(second + 1));
  if (!signature) return Malformed("signature is not base64url");
  parts.signature = std::move(*signature);
  return parts;
}

std::string TextOf(const Json& object, std::string_view key) {
  const auto at = object.find(key);
  return at != object.end() && at->is_string() ? at->get<std::string>() : std::string();
}

/// Seconds since the epoch; out of range or of another type counts as the epoch itself.
base::Result<base::Time> TimeOf(const Json& object, std::string_view key) {
  const auto at = object.find(key);
  if (at == object.end()) return base::Time();
  if (!at->is_number()) return Malformed(fmt::format("{} is not a number", key));
  const double value = at->get<double>();
  if (!(value >= 0 && value < 9214646400.0))
    return Malformed(fmt::format("{} is out of range", key));
  return base::Time(std::chrono::seconds(static_cast<int64_t>(value)));
}

base::Result<TokenClaims> ClaimsOf(const Json& payload) {
  TokenClaims claims;
  claims.issuer = TextOf(payload, "iss");
  claims.subject = TextOf(payload, "sub");
  claims.id = TextOf(payload, "jti");
  if (const auto aud = payload.find("aud"); aud != payload.end()) {
    if (aud->is_string()) claims.audiences.push_back(aud->get<std::string>());
    if (aud->is_array())
      for (const Json& value : *aud)
        if (value.is_string()) claims.audiences.push_back(value.get<std::string>());
  }
  ASSIGN_OR_RETURN(claims.issued_at, TimeOf(payload, "iat"), "claims");
  ASSIGN_OR_RETURN(claims.not_before, TimeOf(payload, "nbf"), "claims");
  ASSIGN_OR_RETURN(claims.expires, TimeOf(payload, "exp"), "claims");
  const auto kubernetes = payload.find(kKubernetes);
  if (kubernetes != payload.end() && kubernetes->is_object()) {
    claims.ns = TextOf(*kubernetes, "namespace");
    const auto read = [&](const char* key, std::string& name, std::string& uid) {
      const auto at = kubernetes->find(key);
      if (at == kubernetes->end() || !at->is_object()) return;
      name = TextOf(*at, "name");
      uid = TextOf(*at, "uid");
    };
    read("serviceaccount", claims.service_account, claims.service_account_uid);
    read("pod", claims.pod, claims.pod_uid);
    read("node", claims.node, claims.node_uid);
    read("secret", claims.secret, claims.secret_uid);
  }
  return claims;
}

Json PayloadOf(const TokenClaims& claims) {
  const auto seconds_of = [](base::Time time) {
    return std::chrono::system_clock::to_time_t(time);
  };
  Json payload = {{"iss", claims.issuer}, {"sub", claims.subject}};
  if (!claims.audiences.empty()) payload["aud"] = claims.audiences;
  if (!claims.id.empty()) payload["jti"] = claims.id;
  if (claims.issued_at != base::Time()) payload["iat"] = seconds_of(claims.issued_at);
  if (claims.not_before != base::Time()) payload["nbf"] = seconds_of(claims.not_before);
  if (claims.expires != base::Time()) payload["exp"] = seconds_of(claims.expires);
  Json kubernetes = Json::object();
  if (!claims.ns.empty()) kubernetes["namespace"] = claims.ns;
  const auto write = [&](const char* key, const std::string& name, const std::string& uid) {
    if (!name.empty()) kubernetes[key] = {{"name", name}, {"uid", uid}};
  };
  write("serviceaccount", claims.service_account, claims.service_account_uid);
  write("pod", claims.pod, claims.pod_uid);
  write("node", claims.node, claims.node_uid);
  write("secret", claims.secret, claims.secret_uid);
  if (!kubernetes.empty()) payload[std::string(kKubernetes)] = std::move(kubernetes);
  return payload;
}

using ContextPtr = std::unique_ptr<EVP_MD_CTX, Freer<EVP_MD_CTX_free>>;

bool SignatureFits(const Parts& parts, EVP_PKEY* key) {
  if (EVP_PKEY_get_base_id(key) != EVP_PKEY_RSA) return false;
  ContextPtr context(EVP_MD_CTX_new());
  const bool fits =
      EVP_DigestVerifyInit(context.get(), nullptr, EVP_sha256(), nullptr, key) == 1 &&
      EVP_DigestVerify(
          context.get(), reinterpret_cast<const unsigned char*>(parts.signature.data()),
          parts.signature.size(), reinterpret_cast<const unsigned char*>(parts.signed_text.data()),
          parts.signed_text.size()) == 1;
  ERR_clear_error();
  return fits;
}

bool Shares(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  return std::any_of(a.begin(), a.end(), [&](const std::string& value) {
    return std::find(b.begin(), b.end(), value) != b.end();
  });
}

}  // namespace

base::Result<TokenClaims> ParseTokenClaims(std::string_view token) {
  ASSIGN_OR_RETURN(const Parts parts, Split(token), "parsing");
  return ClaimsOf(parts.payload);
}

base::Result<PublicKey> PublicKey::FromPem(std::string_view pem) {
  BioPtr bio = ReadOnlyBio(pem);
  if (EVP_PKEY* key = PEM_read_bio_PUBKEY(bio.get(), nullptr, nullptr, nullptr))
    return PublicKey(std::shared_ptr<EVP_PKEY>(key, EVP_PKEY_free));
  ERR_clear_error();
  if (base::Result<Certificate> certificate = Certificate::FromPem(pem); certificate.ok()) {
    if (EVP_PKEY* key = X509_get_pubkey(certificate->x509()))
      return PublicKey(std::shared_ptr<EVP_PKEY>(key, EVP_PKEY_free));
    return OpenSslError(Code::kInvalidArgument, "certificate without a usable key");
  }
  if (base::Result<PrivateKey> key = PrivateKey::FromPem(pem); key.ok()) return Of(*key);
  return base::Error(Code::kInvalidArgument,
                     "no public key, certificate or private key in PEM text");
}

PublicKey PublicKey::Of(const PrivateKey& key) {
  EVP_PKEY_up_ref(key.evp());
  return PublicKey(std::shared_ptr<EVP_PKEY>(key.evp(), EVP_PKEY_free));
}

std::string PublicKey::pem() const {
  BioPtr bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_PUBKEY(bio.get(), key_.get());
  return BioText(bio.get());
}

std::string PublicKey::id() const {
  unsigned char* der = nullptr;
  const int size = i2d_PUBKEY(key_.get(), &der);
  if (size <= 0) return {};
  std::string id =
      base::Base64UrlEncode(Sha256({reinterpret_cast<char*>(der), static_cast<size_t>(size)}));
  OPENSSL_free(der);
  return id;
}

base::Result<std::string> PublicKey::Jwk() const {
  if (EVP_PKEY_get_base_id(key_.get()) != EVP_PKEY_RSA)
    return base::Error(Code::kInvalidArgument, "only RSA keys are written as JWK");
  const auto number = [&](const char* name) {
    BIGNUM* value = nullptr;
    if (EVP_PKEY_get_bn_param(key_.get(), name, &value) != 1) return std::string();
    std::string bytes(static_cast<size_t>(BN_num_bytes(value)), '\0');
    BN_bn2bin(value, reinterpret_cast<unsigned char*>(bytes.data()));
    BN_free(value);
    return base::Base64UrlEncode(bytes);
  };
  return Json{{"use", "sig"},
              {"kty", "RSA"},
              {"kid", id()},
              {"alg", "RS256"},
              {"n", number(OSSL_PKEY_PARAM_RSA_N)},
              {"e", number(OSSL_PKEY_PARAM_RSA_E)}}
      .dump();
}

base::Result<std::string> SignToken(const PrivateKey& key, const TokenClaims& claims) {
  if (EVP_PKEY_get_base_id(key.evp()) != EVP_PKEY_RSA)
    return base::Error(Code::kInvalidArgument, "tokens are signed with RS256: give an RSA key");
  const Json header = {{"alg", "RS256"}, {"kid", PublicKey::Of(key).id()}};
  const auto dump = [](const Json& value) {
    return base::Base64UrlEncode(value.dump(-1, ' ', false, Json::error_handler_t::replace));
  };
  std::string token = dump(header) + "." + dump(PayloadOf(claims));
  ContextPtr context(EVP_MD_CTX_new());
  const auto* text = reinterpret_cast<const unsigned char*>(token.data());
  size_t size = 0;
  if (EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, key.evp()) != 1 ||
      EVP_DigestSign(context.get(), nullptr, &size, text, token.size()) != 1) {
    return OpenSslError(Code::kInternal, "signing a token");
  }
  std::string signature(size, '\0');
  if (EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(signature.data()), &size, text,
                     token.size()) != 1) {
    return OpenSslError(Code::kInternal, "signing a token");
  }
  signature.resize(size);
  return token + "." + base::Base64UrlEncode(signature);
}

base::Result<TokenClaims> VerifyToken(std::string_view token, const std::vector<PublicKey>& keys,
                                      const std::vector<std::string>& audiences, base::Time now) {
  ASSIGN_OR_RETURN(const Parts parts, Split(token), "verifying");
  if (TextOf(parts.header, "alg") != "RS256")
    return base::Error(Code::kUnauthenticated, "token algorithm \"{}\" is not RS256",
                       TextOf(parts.header, "alg"));
  const bool fits = std::any_of(keys.begin(), keys.end(), [&](const PublicKey& key) {
    return SignatureFits(parts, key.evp());
  });
  if (!fits)
    return base::Error(Code::kUnauthenticated, "token is signed by none of the known keys");
  ASSIGN_OR_RETURN(TokenClaims claims, ClaimsOf(parts.payload), "verifying");
  if (claims.expires != base::Time() && now >= claims.expires)
    return base::Error(Code::kUnauthenticated, "token expired at {}",
                       base::FormatTime(claims.expires));
  if (claims.not_before != base::Time() && now < claims.not_before)
    return base::Error(Code::kUnauthenticated, "token is not valid before {}",
                       base::FormatTime(claims.not_before));
  if (!audiences.empty() && !Shares(audiences, claims.audiences))
    return base::Error(Code::kUnauthenticated, "token audiences [{}] have none of [{}]",
                       fmt::join(claims.audiences, ", "), fmt::join(audiences, ", "));
  return claims;
}

}  // namespace isthmus::pki
