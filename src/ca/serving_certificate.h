#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/loop.h"
#include "ca/authority.h"

namespace isthmus::ca {

struct ServingNames {
  std::string ns = "istio-system";
  std::string revision;           ///< "" and "default" add no name.
  std::string custom_hosts;       ///< ISTIOD_CUSTOM_HOST, comma list.
  std::string discovery_address;  ///< Of mesh config: "istiod.istio-system.svc:15012".
};
/// The DNS names under which proxies and API servers reach the control plane, sorted and unique.
std::vector<std::string> DnsNamesOf(const ServingNames& names);

/// The control plane's own TLS certificate, signed by its authority: new whenever the authority
/// changes and when half of its life is over. Its key is only ever in memory. Lives on its loop;
/// loop, clock and authority outlive it.
class ServingCertificate {
 public:
  ServingCertificate(base::Loop& loop, const base::Clock& clock, Authority& authority,
                     std::vector<std::string> dns_names,
                     std::chrono::seconds ttl = 3650 * pki::kDay);
  ServingCertificate(const ServingCertificate&) = delete;
  ServingCertificate& operator=(const ServingCertificate&) = delete;

  /// For http::TlsServerOptions; null until the authority is ready.
  std::shared_ptr<const pki::KeyCertificate> Get() const { return current_; }

 private:
  void Renew();
  void CheckAge();

  const base::Clock& clock_;
  Authority& authority_;
  std::vector<std::string> dns_names_;
  std::chrono::seconds ttl_;
  std::shared_ptr<const pki::KeyCertificate> current_;
  base::Time issued_;
  base::Timer timer_;
  std::shared_ptr<void> subscription_;
};

}  // namespace isthmus::ca
