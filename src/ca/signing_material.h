#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "pki/signer.h"

namespace isthmus::ca {

/// What a CA signs with, checked, and how its answers are made up. A value.
struct SigningMaterial {
  enum class Source { kPluggedIn, kSelfSigned };
  Source source;
  pki::IssuingCa ca;
  /// Between leaf and roots in an answer; empty for a self-signed root.
  std::vector<std::string> chain_pem;
  /// The trust anchors, as they were given.
  std::string roots_pem;
};

/// File names or secret keys with their contents.
using KeySet = std::map<std::string, std::string>;

/// Reads plugged-in keys in Istio's form (ca-cert.pem, ca-key.pem, root-cert.pem, cert-chain.pem)
/// or, when tls.crt is there, as kubernetes.io/tls (tls.crt, tls.key, ca.crt). Nothing when none of
/// them is there. A partial set is an error that names what is missing, as is a chain that does not
/// lead to the root now, a certificate that is no CA's, or a key that does not fit.
base::Result<std::optional<SigningMaterial>> ParsePluggedIn(const KeySet& keys,
                                                            const base::Clock& clock,
                                                            pki::IssueLimits limits);
/// The same from the files of a folder, which may be absent.
base::Result<std::optional<SigningMaterial>> LoadPluggedIn(const std::string& folder,
                                                           const base::Clock& clock,
                                                           pki::IssueLimits limits);

/// Reads the keys of Secret istio-ca-secret. `extra_roots` is appended to the trust anchors.
base::Result<SigningMaterial> ParseSelfSigned(const KeySet& keys, const std::string& extra_roots,
                                              const base::Clock& clock, pki::IssueLimits limits);

}  // namespace isthmus::ca
