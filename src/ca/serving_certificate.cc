#include "ca/serving_certificate.h"

#include <set>

#include "base/log.h"
#include "base/net.h"
#include "base/strings.h"

namespace isthmus::ca {

std::vector<std::string> DnsNamesOf(const ServingNames& names) {
  std::set<std::string> all;
  for (const std::string& host : base::SplitList(names.custom_hosts)) all.insert(host);
  if (base::Result<base::HostPort> address = base::HostPort::Parse(names.discovery_address);
      address.ok() && !address->host.empty() && !base::IsIpAddress(address->host)) {
    all.insert(address->host);
  }
  for (const char* service : {"istiod", "istiod-remote", "istio-pilot"})
    all.insert(fmt::format("{}.{}.svc", service, names.ns));
  if (!names.revision.empty() && names.revision != "default")
    all.insert(fmt::format("istiod-{}.{}.svc", names.revision, names.ns));
  return {all.begin(), all.end()};
}

ServingCertificate::ServingCertificate(base::Loop& loop, const base::Clock& clock,
                                       Authority& authority, std::vector<std::string> dns_names,
                                       std::chrono::seconds ttl)
    : clock_(clock), authority_(authority), dns_names_(std::move(dns_names)), ttl_(ttl) {
  subscription_ = authority_.OnChange([this] { Renew(); });
  if (authority_.ready()) Renew();
  // A timer to the half of ten years would not follow a clock that steps; a look every minute does.
  timer_ = base::Timer::Every(loop, std::chrono::minutes(1), [this] { CheckAge(); });
}

void ServingCertificate::CheckAge() {
  if (!authority_.ready()) return;
  if (current_ == nullptr) return Renew();
  const base::Time end = current_->chain.front().not_after();
  if (clock_.Now() >= issued_ + (end - issued_) / 2) Renew();
}

void ServingCertificate::Renew() {
  base::Result<pki::KeyCertificate> next =
      authority_.material().ca.IssueLeaf({.dns_sans = dns_names_}, pki::Usages{}, ttl_);
  if (!next.ok()) {
    LOG_ERROR("serverca", "own serving certificate: {}", next.status().message());
    return;
  }
  issued_ = clock_.Now();
  LOG_INFO("serverca", "own serving certificate for {} valid until {}",
           base::Join(dns_names_, ", "), base::FormatTime(next->chain.front().not_after()));
  current_ = std::make_shared<const pki::KeyCertificate>(std::move(*next));
}

}  // namespace isthmus::ca
