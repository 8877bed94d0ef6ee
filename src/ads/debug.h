#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "ads/server.h"
#include "ads/stream.h"

namespace isthmus::ads {

/// How far a stream is with one type.
enum class SyncState { kNotSent, kSynced, kStale, kError };
SyncState StateOf(const Subscription& subscription);

/// What debug over xDS answers with besides its own: the body of "/debug/<path>[?query]", or an
/// error.
using DebugPages = std::function<base::Result<std::string>(std::string_view path_and_query)>;

/// Answers istio.io/debug/syncz, istio.io/debug/config_dump and istio.io/debug, for istioctl.
/// Callers of the system namespace, and local ones on the plaintext port, may see everything;
/// others only config_dump, ndsz and edsz of proxies of their own namespace. Lives on the ADS loop.
class Debug final : public DebugAnswerer {
 public:
  Debug(Server& server, ViewSource& views, std::string system_namespace, DebugPages pages);
  base::Result<std::vector<base::Slice>> Answer(const Request& request,
                                                const Stream& caller) override;

  /// The configuration that the proxy "<pod>.<ns>" would be sent now, as Envoy's config dump in
  /// JSON.
  base::Result<std::string> ConfigDumpJson(std::string_view proxy_id) const;
  /// The proxy's subscribed endpoints as JSON: an array of ClusterLoadAssignments.
  base::Result<std::string> EndpointsJson(std::string_view proxy_id) const;
  /// The proxy's name table as JSON.
  base::Result<std::string> NameTableJson(std::string_view proxy_id) const;

 private:
  base::Status Allow(const Request& request, const Stream& caller) const;
  std::vector<base::Slice> SyncStatus() const;
  std::vector<base::Slice> ConfigDump(const Stream& proxy) const;
  base::Result<const Stream*> Connected(std::string_view proxy_id) const;

  Server& server_;
  ViewSource& views_;
  const std::string system_namespace_;
  const DebugPages pages_;
};

}  // namespace isthmus::ads
