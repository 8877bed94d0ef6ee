#pragma once

#include <gtest/gtest.h>

#include "base/clock.h"
#include "pki/signer.h"

namespace isthmus::pki {

/// Takes the value of a Result, or fails the test with its error.
template <typename T>
T Must(base::Result<T> result) {
  if (!result.ok()) {
    ADD_FAILURE() << result.status().message();
    std::abort();
  }
  return std::move(result).value();
}

inline base::Time TestTime() { return Must(base::ParseTime("2026-11-21T12:00:00Z")); }

/// A clock, one root, and an intermediate of it that signs.
struct TestCa {
  base::ManualClock clock{TestTime()};
  KeyCertificate root = Must(MakeSelfSignedRoot(
      Must(PrivateKey::GenerateEcdsaP256()),
      {.names = {.common_name = "Root CA", .organizations = {"Istio"}}}, clock.Now()));
  TrustBundle roots{root.chain};
  IssuingCa root_ca = Must(IssuingCa::Create(root, roots, clock));
  KeyCertificate intermediate = Must(root_ca.IssueIntermediate(
      Must(PrivateKey::GenerateEcdsaP256()),
      {.common_name = "Intermediate CA", .organizations = {"Istio"}, .locality = "cluster1"}, 0,
      365 * kDay));
  IssuingCa ca = Must(IssuingCa::Create(intermediate, roots, clock));

  Csr Request(const Names& names = {}) {
    return Must(Csr::FromPem(Must(MakeCsr(Must(PrivateKey::GenerateEcdsaP256()), names))));
  }
};

}  // namespace isthmus::pki
