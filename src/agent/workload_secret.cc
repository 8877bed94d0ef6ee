#include "agent/workload_secret.h"

#include <algorithm>
#include <random>

#include "base/files.h"
#include "base/log.h"
#include "base/strings.h"
#include "pki/csr.h"
#include "pki/trust_bundle.h"

namespace isthmus::agent {
namespace {

using base::Code;

base::Backoff RetryBackoff() {
  return base::Backoff({.initial = std::chrono::milliseconds(500),
                        .max = std::chrono::minutes(1),
                        .random = nullptr});
}

double RandomFraction() {
  static std::mt19937_64 generator{std::random_device{}()};
  return std::uniform_real_distribution<double>(0, 1)(generator);
}

std::string TrustDomainOf(std::string_view spiffe_id) {
  base::ConsumePrefix(spiffe_id, "spiffe://");
  return std::string(base::Cut(spiffe_id, "/").first);
}

}  // namespace

base::Time RenewalTime(base::Time received, base::Time not_after, double ratio) {
  const auto life = std::max(not_after - received, base::Time::duration::zero());
  const double seconds = std::chrono::duration<double>(life).count() * std::clamp(ratio, 0.0, 1.0);
  return not_after -
         std::chrono::duration_cast<base::Time::duration>(std::chrono::duration<double>(seconds));
}

WorkloadSecretSource::WorkloadSecretSource(base::Loop& loop, const base::Clock& clock, CaClient& ca,
                                           WorkloadSecretOptions options)
    : loop_(loop), clock_(clock), ca_(ca), options_(std::move(options)), backoff_(RetryBackoff()) {
  if (!options_.random) options_.random = RandomFraction;
}
WorkloadSecretSource::~WorkloadSecretSource() = default;

void WorkloadSecretSource::Start() { Generate(); }

std::shared_ptr<void> WorkloadSecretSource::OnChange(std::function<void()> changed) {
  auto listener = std::make_shared<std::function<void()>>(std::move(changed));
  listeners_.push_back(listener);
  return listener;
}

void WorkloadSecretSource::Generate() {
  base::Result<pki::PrivateKey> key = options_.rsa_bits == 0
                                          ? pki::PrivateKey::GenerateEcdsaP256()
                                          : pki::PrivateKey::GenerateRsa(options_.rsa_bits);
  base::Result<std::string> csr =
      key.ok() ? pki::MakeCsr(*key, {.organizations = {""}, .uri_sans = {options_.spiffe_id}})
               : key.status();
  if (!csr.ok()) {
    LOG_ERROR("cache", "certificate request: {}", csr.status().message());
    timer_ = base::Timer::After(loop_, backoff_.Next(), [this] { Generate(); });
    return;
  }
  ca_.Sign(std::move(*csr), options_.ttl,
           [this, key = *key](base::Result<std::vector<std::string>> chain) {
             OnChain(key, std::move(chain));
           });
}

void WorkloadSecretSource::OnChain(pki::PrivateKey key,
                                   base::Result<std::vector<std::string>> chain) {
  const base::Status status = chain.ok() ? Take(std::move(key), *chain) : chain.status();
  if (!status.ok()) {
    const base::Duration delay = backoff_.Next();
    LOG_WARN("cache", "no certificate for {}: {}; trying again in {} ms{}", options_.spiffe_id,
             status.message(), std::chrono::duration_cast<std::chrono::milliseconds>(delay).count(),
             current_ == nullptr ? "" : ", the old certificate stays in use");
    timer_ = base::Timer::After(loop_, delay, [this] { Generate(); });
    return;
  }
  backoff_.Reset();
  WriteFiles();
  ScheduleRenewal();
  TellListeners();
}

void WorkloadSecretSource::SetMeshTrust(MeshTrust trust) {
  if (trust == (mesh_trust_ == nullptr ? MeshTrust() : *mesh_trust_)) return;
  LOG_INFO("cache", "the mesh's further roots have changed");
  mesh_trust_ = trust.empty() ? nullptr : std::make_shared<const MeshTrust>(std::move(trust));
  if (current_ == nullptr) return;
  auto next = std::make_shared<WorkloadSecret>(*current_);
  next->mesh_trust = mesh_trust_;
  current_ = std::move(next);
  TellListeners();
}

void WorkloadSecretSource::TellListeners() {
  std::vector<std::shared_ptr<std::function<void()>>> to_tell;
  for (auto at = listeners_.begin(); at != listeners_.end();) {
    if (auto listener = at->lock()) {
      to_tell.push_back(std::move(listener));
      ++at;
    } else {
      at = listeners_.erase(at);
    }
  }
  for (const auto& listener : to_tell) (*listener)();
}

base::Status WorkloadSecretSource::Take(pki::PrivateKey key,
                                        const std::vector<std::string>& chain) {
  auto next = std::make_shared<WorkloadSecret>(
      WorkloadSecret{.identity = {std::move(key), {}},
                     .chain_pem = {},
                     .root_pem = chain.back(),
                     .received = clock_.Now(),
                     .trust_domain = TrustDomainOf(options_.spiffe_id),
                     .mesh_trust = mesh_trust_});
  for (size_t i = 0; i + 1 < chain.size(); ++i) {
    next->chain_pem += chain[i];
    if (!next->chain_pem.ends_with('\n')) next->chain_pem += '\n';
  }
  // Both are checked here: Envoy would take a broken pair and then fail every connection.
  ASSIGN_OR_RETURN(next->identity,
                   pki::KeyCertificate::FromPem(next->identity.key.pem(), next->chain_pem),
                   "answer of the CA");
  RETURN_IF_ERROR(pki::TrustBundle::FromPem(next->root_pem).status(),
                  "roots in the answer of the CA");
  const pki::Certificate& leaf = next->identity.chain.front();
  if (leaf.not_after() <= clock_.Now())
    return base::Error(Code::kFailedPrecondition,
                       "the CA's certificate ended at {} already: is this machine's clock right?",
                       base::FormatTime(leaf.not_after()));
  LOG_INFO("cache", "certificate for {} valid until {}{}", options_.spiffe_id,
           base::FormatTime(leaf.not_after()),
           current_ != nullptr && current_->root_pem != next->root_pem
               ? ", with other roots than before"
               : "");
  current_ = std::move(next);
  return {};
}

void WorkloadSecretSource::ScheduleRenewal() {
  const double ratio = options_.grace_ratio + (2 * options_.random() - 1) * options_.grace_jitter;
  renew_at_ = RenewalTime(current_->received, current_->identity.chain.front().not_after(), ratio);
  // Looks at the clock again and again instead of sleeping the whole time, so that a clock that
  // steps, or a machine that was suspended, does not make it late.
  const auto step = std::clamp<base::Duration>(
      renew_at_ - clock_.Now(), std::chrono::milliseconds(10), std::chrono::minutes(1));
  timer_ = base::Timer::Every(loop_, step, [this] {
    if (clock_.Now() < renew_at_) return;
    timer_.Cancel();
    Generate();
  });
}

void WorkloadSecretSource::WriteFiles() const {
  if (options_.output_folder.empty()) return;
  const std::string& folder = options_.output_folder;
  const auto write = [&](const char* name, const std::string& content) {
    if (base::Status status = base::WriteFile(folder + "/" + name, content, 0600); !status.ok())
      LOG_ERROR("cache", "OUTPUT_CERTS: {}", status.message());
  };
  write("key.pem", current_->identity.key.pem());
  write("cert-chain.pem", current_->chain_pem);
  write("root-cert.pem", current_->root_pem);
}

}  // namespace isthmus::agent
