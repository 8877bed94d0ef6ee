#pragma once

#include "ca/authority.h"
#include "tests/pki/pki_fixture.h"

namespace isthmus::ca {

using pki::Must;
using pki::TestTime;

inline constexpr char kSleep[] = "spiffe://cluster.local/ns/sample/sa/sleep";

/// Keys as a user plugs them in, of one cluster under the test root.
inline KeySet PluggedKeys(const pki::TestCa& test, const pki::KeyCertificate& intermediate) {
  return {{"ca-cert.pem", intermediate.chain.front().pem()},
          {"ca-key.pem", intermediate.key.pem()},
          {"root-cert.pem", test.root.chain_pem()},
          {"cert-chain.pem", intermediate.chain.front().pem() + test.root.chain_pem()}};
}
inline KeySet PluggedKeys(const pki::TestCa& test) { return PluggedKeys(test, test.intermediate); }

inline SigningMaterial Material(const pki::TestCa& test) {
  return std::move(*Must(ParsePluggedIn(PluggedKeys(test), test.clock, {})));
}

inline std::string CsrPem(const pki::Names& names = {}) {
  return Must(pki::MakeCsr(Must(pki::PrivateKey::GenerateEcdsaP256()), names));
}

}  // namespace isthmus::ca
