#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "base/backoff.h"
#include "base/clock.h"
#include "base/loop.h"
#include "ca/authority.h"
#include "kubeclient/client.h"

namespace isthmus::ca {

struct SelfSignedOptions {
  std::string ns = "istio-system";
  std::string secret = "istio-ca-secret";
  std::string organization = "cluster.local";  ///< The trust domain.
  std::chrono::seconds root_ttl = 3650 * pki::kDay;
  int rsa_bits = 2048;
  /// A root is renewed when less than this part of its life is left.
  int grace_percent = 20;
  base::Duration check_interval = std::chrono::hours(1);
  bool jitter =
      true;  ///< Spreads the first check over the interval, so that replicas do not check at once.
  std::string extra_roots;  ///< root-cert.pem of ROOT_CA_DIR, when it holds nothing else.
  pki::IssueLimits limits;
};

/// A CA of our own making: its root lives in a Secret that all replicas share. Takes the one that
/// is there, or makes it; of replicas that make it at once one wins and the others take the
/// winner's. Renews the root in time, with the same key, so that certificates under the old one
/// stay good. Without a client the root lives in memory only. Lives on its loop; the authority,
/// client and clock outlive it.
class SelfSignedCa {
 public:
  SelfSignedCa(base::Loop& loop, const base::Clock& clock, Authority& authority,
               kubeclient::Client* client, SelfSignedOptions options);
  ~SelfSignedCa();
  SelfSignedCa(const SelfSignedCa&) = delete;
  SelfSignedCa& operator=(const SelfSignedCa&) = delete;

  /// Tries until it succeeds; the authority tells when it has.
  void Start();
  /// Looks at the secret and the root's age now instead of at the next interval.
  void Check();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace isthmus::ca
