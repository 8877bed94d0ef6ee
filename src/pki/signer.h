#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "pki/certificate.h"
#include "pki/csr.h"
#include "pki/trust_bundle.h"

namespace isthmus::pki {

using std::chrono::seconds;

inline constexpr seconds kDay = std::chrono::hours(24);

struct RootOptions {
  Names names;  ///< Only subject parts are used; Istio's own root has just O=<trust domain>.
  seconds ttl = 3650 * kDay;
};
/// A root certificate that `key` signs for itself: CA:true, keyUsage keyCertSign alone, valid from
/// now. Called again with the same key it renews the root.
base::Result<KeyCertificate> MakeSelfSignedRoot(PrivateKey key, const RootOptions& options,
                                                base::Time now);

/// Which extended key usages a leaf certificate gets.
struct Usages {
  bool server_auth = true;
  bool client_auth = true;
};

struct IssueLimits {
  seconds default_ttl = kDay;   ///< For requests that ask for none.
  seconds max_ttl = 90 * kDay;  ///< A request for more is refused.
};

/// Signs certificates with a CA's key.
///
/// Invariant: the signing certificate is a CA certificate, its key fits, and its chain leads to one
/// of the roots. A leaf never outlives the chain it hangs on: its end is cut; with an expired chain
/// nothing is signed. Immutable; `clock` must outlive it.
class IssuingCa {
 public:
  /// `signing` holds the CA's key with its chain, signing certificate first; the root may be in it.
  static base::Result<IssuingCa> Create(KeyCertificate signing, TrustBundle roots,
                                        const base::Clock& clock, IssueLimits limits = {});

  /// A workload's certificate: critical URI SANs as given, what the request says of names is
  /// ignored but that a common name asks for one. `ttl` zero or less takes the default.
  base::Result<Certificate> SignWorkload(const Csr& csr, const std::vector<std::string>& uri_sans,
                                         seconds ttl) const;
  /// A leaf with these names for the request's key, for any lifetime up to that of the chain. For
  /// serving certificates and Kubernetes' client certificates.
  base::Result<Certificate> SignLeaf(const Csr& csr, const Names& names, Usages usages,
                                     seconds ttl) const;
  /// The same with a new ECDSA P-256 key, whatever the CA's own is: it costs a server a twentieth
  /// of RSA's work for each handshake. The chain holds the intermediates, not the root.
  base::Result<KeyCertificate> IssueLeaf(const Names& names, Usages usages, seconds ttl) const;
  /// An intermediate CA (CA:true, path length as given, at least 0). Refused when it would outlive
  /// the chain, or when the signing certificate's own path length forbids it.
  base::Result<KeyCertificate> IssueIntermediate(PrivateKey key, const Names& names,
                                                 int path_length, seconds ttl) const;

  const Certificate& certificate() const { return signing_.chain.front(); }
  /// The signing certificate first.
  const std::vector<Certificate>& chain() const { return signing_.chain; }
  const PrivateKey& key() const { return signing_.key; }
  const TrustBundle& roots() const { return roots_; }
  const IssueLimits& limits() const { return limits_; }
  /// When the first certificate of the signing chain ends.
  base::Time not_after() const;

 private:
  IssuingCa(KeyCertificate signing, TrustBundle roots, const base::Clock& clock, IssueLimits limits)
      : signing_(std::move(signing)), roots_(std::move(roots)), clock_(&clock), limits_(limits) {}
  base::Result<base::Time> EndOf(base::Time now, seconds ttl) const;
  std::vector<Certificate> WithChain(Certificate leaf) const;

  KeyCertificate signing_;
  TrustBundle roots_;
  const base::Clock* clock_;
  IssueLimits limits_;
};

}  // namespace isthmus::pki
