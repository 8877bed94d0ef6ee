#include "pki/trust_bundle.h"

#include <openssl/err.h>
#include <openssl/x509_vfy.h>

#include "pki/openssl.h"

namespace isthmus::pki {
namespace {

using StorePtr = std::unique_ptr<X509_STORE, Freer<X509_STORE_free>>;
using StoreContextPtr = std::unique_ptr<X509_STORE_CTX, Freer<X509_STORE_CTX_free>>;
struct StackFreer {
  void operator()(STACK_OF(X509) * stack) const { sk_X509_free(stack); }
};
using StackPtr = std::unique_ptr<STACK_OF(X509), StackFreer>;

/// X509_V_OK, or why the chain does not lead to this one root.
int VerifyAgainst(const Certificate& root, X509* leaf, STACK_OF(X509) * intermediates, time_t now) {
  StorePtr store(X509_STORE_new());
  StoreContextPtr context(X509_STORE_CTX_new());
  if (X509_STORE_add_cert(store.get(), root.x509()) != 1 ||
      X509_STORE_CTX_init(context.get(), store.get(), leaf, intermediates) != 1) {
    return X509_V_ERR_UNSPECIFIED;
  }
  X509_VERIFY_PARAM* parameters = X509_STORE_CTX_get0_param(context.get());
  X509_VERIFY_PARAM_set_time(parameters, now);
  // Whatever stands in the bundle is believed, also an intermediate.
  X509_VERIFY_PARAM_set_flags(parameters, X509_V_FLAG_PARTIAL_CHAIN);
  if (X509_verify_cert(context.get()) == 1) return X509_V_OK;
  const int error = X509_STORE_CTX_get_error(context.get());
  return error == X509_V_OK ? X509_V_ERR_UNSPECIFIED : error;
}

/// Of the reasons that the several roots gave: the one that is not just "another root".
bool TellsMore(int error) {
  return error != X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY &&
         error != X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT &&
         error != X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE &&
         error != X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN &&
         error != X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT;
}

}  // namespace

base::Result<TrustBundle> TrustBundle::FromPem(std::string_view pem) {
  ASSIGN_OR_RETURN(std::vector<Certificate> roots, Certificate::ChainFromPem(pem), "trust bundle");
  return TrustBundle(std::move(roots));
}

std::string TrustBundle::pem() const {
  std::string text;
  for (const Certificate& root : roots_) text += root.pem();
  return text;
}

base::Status TrustBundle::Verify(const std::vector<Certificate>& chain, base::Time now) const {
  using base::Code;
  if (chain.empty()) return base::Error(Code::kUnauthenticated, "no certificate to verify");
  if (roots_.empty())
    return base::Error(Code::kUnauthenticated, "no root to verify certificates with");
  StackPtr intermediates(sk_X509_new_null());
  for (size_t i = 1; i < chain.size(); ++i) sk_X509_push(intermediates.get(), chain[i].x509());
  // Each root in a store of its own: roots that share a subject (every mesh's "O=Istio, CN=Root
  // CA") would hide one another in one store, since OpenSSL takes the first that fits by name.
  int reason = X509_V_OK;
  for (const Certificate& root : roots_) {
    const int error = VerifyAgainst(root, chain.front().x509(), intermediates.get(),
                                    std::chrono::system_clock::to_time_t(now));
    if (error == X509_V_OK) {
      ERR_clear_error();
      return {};
    }
    if (reason == X509_V_OK || TellsMore(error)) reason = error;
  }
  ERR_clear_error();
  const std::vector<std::string> uris = chain.front().uri_sans();
  return base::Error(Code::kUnauthenticated, "certificate of \"{}\" issued by \"{}\": {}",
                     uris.empty() ? chain.front().subject() : uris.front(), chain.front().issuer(),
                     X509_verify_cert_error_string(reason));
}

}  // namespace isthmus::pki
