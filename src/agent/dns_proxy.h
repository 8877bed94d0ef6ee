#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "agent/name_table.h"
#include "base/loop.h"
#include "base/metrics.h"
#include "base/net.h"

namespace isthmus::agent {

struct DnsProxyOptions {
  std::vector<base::SocketAddress> listen;  ///< UDP and TCP each; port 0 takes a free one.
  std::vector<base::SocketAddress> upstreams;
  NameScope scope;
  base::Duration timeout = std::chrono::seconds(5);  ///< DNS_FORWARD_TIMEOUT, for each upstream.
  /// Null until there is one; until then questions fail, so that nobody remembers a wrong answer.
  std::function<std::shared_ptr<const NameTable>()> table;
};

/// Answers the application's DNS questions for hosts of the mesh; passes all others on to the
/// resolvers of the pod, in random order, as they are. Lives on its loop.
class DnsProxy {
 public:
  DnsProxy(base::Loop& loop, base::MetricRegistry& metrics, DnsProxyOptions options);
  ~DnsProxy();
  DnsProxy(const DnsProxy&) = delete;
  DnsProxy& operator=(const DnsProxy&) = delete;

  base::Status Start();
  /// Where the first address is bound, for UDP and TCP.
  uint16_t udp_port() const;
  uint16_t tcp_port() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

/// The first domain after "search" in the text of a resolv.conf.
std::string FirstSearchDomain(const std::string& resolv_conf);

}  // namespace isthmus::agent
