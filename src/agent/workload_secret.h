#pragma once

#include <chrono>
#include <functional>
#include <list>
#include <memory>
#include <string>

#include "agent/ca_client.h"
#include "agent/mesh_trust.h"
#include "base/backoff.h"
#include "base/clock.h"
#include "base/loop.h"
#include "pki/certificate.h"

namespace isthmus::agent {

/// A workload's key, certificate and trust, as it goes to Envoy. Frozen; the key is only ever in
/// memory, unless the user asked for OUTPUT_CERTS.
struct WorkloadSecret {
  pki::KeyCertificate identity;
  std::string chain_pem;
  std::string root_pem;
  base::Time received;
  std::string trust_domain;
  std::shared_ptr<const MeshTrust> mesh_trust;  ///< Besides root_pem; null for nothing.
};

struct WorkloadSecretOptions {
  std::string spiffe_id;
  std::chrono::seconds ttl{86400};  ///< SECRET_TTL
  double grace_ratio =
      0.5;  ///< SECRET_GRACE_PERIOD_RATIO: renewed when this part of its life is left.
  double grace_jitter = 0.01;
  int rsa_bits = 0;                ///< 0: ECDSA P-256.
  std::string output_folder;       ///< OUTPUT_CERTS
  std::function<double()> random;  ///< In [0, 1); empty takes a random one.
};

/// Gets the workload's certificate from the CA and renews it in time. While a renewal fails, the
/// old certificate stays in use and the renewal is tried again, without end. Lives on its loop.
class WorkloadSecretSource {
 public:
  WorkloadSecretSource(base::Loop& loop, const base::Clock& clock, CaClient& ca,
                       WorkloadSecretOptions options);
  ~WorkloadSecretSource();
  WorkloadSecretSource(const WorkloadSecretSource&) = delete;
  WorkloadSecretSource& operator=(const WorkloadSecretSource&) = delete;

  void Start();
  /// Null until the first certificate has come.
  std::shared_ptr<const WorkloadSecret> current() const { return current_; }
  /// Other roots than before that hold besides the CA's.
  void SetMeshTrust(MeshTrust trust);
  /// `changed` is called after each new certificate and other roots until the handle is dropped.
  [[nodiscard]] std::shared_ptr<void> OnChange(std::function<void()> changed);

 private:
  void Generate();
  void OnChain(pki::PrivateKey key, base::Result<std::vector<std::string>> chain);
  base::Status Take(pki::PrivateKey key, const std::vector<std::string>& chain);
  void ScheduleRenewal();
  void TellListeners();
  void WriteFiles() const;

  base::Loop& loop_;
  const base::Clock& clock_;
  CaClient& ca_;
  WorkloadSecretOptions options_;
  std::shared_ptr<const MeshTrust> mesh_trust_;
  std::shared_ptr<const WorkloadSecret> current_;
  std::list<std::weak_ptr<std::function<void()>>> listeners_;
  base::Backoff backoff_;
  base::Timer timer_;
  base::Time renew_at_;
};

/// When to renew a certificate that came at `received` and ends at `not_after`: when the part
/// `ratio` of its life is left. `ratio` is held between 0 and 1.
base::Time RenewalTime(base::Time received, base::Time not_after, double ratio);

}  // namespace isthmus::agent
