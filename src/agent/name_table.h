#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "agent/dns_message.h"
#include "base/result.h"

namespace isthmus::agent {

/// The hosts of the mesh and their addresses, as the control plane sends them. Immutable once
/// parsed.
class NameTable {
 public:
  /// `message`: a serialised istio.networking.nds.v1.NameTable.
  static base::Result<NameTable> Parse(std::string_view message);

  struct Host {
    std::vector<std::string> addresses;  ///< 4 or 16 raw bytes each.
    bool kubernetes = false;
    std::string shortname;
    std::string ns;
  };
  const std::map<std::string, Host, std::less<>>& hosts() const { return hosts_; }
  /// As /debug/ndsz shows it.
  std::string ToJson() const;

 private:
  std::map<std::string, Host, std::less<>> hosts_;  // Lower case, without the last dot.
};

/// Which short names a pod may use.
struct NameScope {
  std::string ns;      ///< Of the pod.
  std::string domain;  ///< "svc.cluster.local"
  std::string search;  ///< The first search domain of resolv.conf; empty: none.
};

struct NameAnswer {
  bool known = false;  ///< Otherwise the question goes upstream.
  std::vector<DnsRecord> records;
};
/// Answers a question for a host of the table: under its full name, as <service>,
/// <service>.<namespace> or <service>.<namespace>.svc for Kubernetes services, and each of these
/// with the search domain appended (as resolvers do; answered by a CNAME to the name without it). A
/// wildcard host matches by dropping labels.
NameAnswer LookUp(const NameTable& table, const NameScope& scope, std::string_view name,
                  uint16_t type);

}  // namespace isthmus::agent
