#pragma once

#include <set>
#include <string>
#include <vector>

#include "model/ids.h"
#include "model/service.h"

namespace isthmus::model {

enum class ProxyType { kSidecar, kRouter };

/// A connected Envoy as it announced itself: node ID "<type>~<ip>~<pod>.<ns>~<ns>.svc.<domain>" and
/// metadata. A value.
struct Proxy {
  ProxyType type = ProxyType::kSidecar;
  std::string id;  ///< "<pod>.<ns>"
  std::string pod;
  std::string ns;
  std::string domain_suffix;           ///< "cluster.local"
  std::vector<std::string> addresses;  ///< INSTANCE_IPS, or the node ID's.
  ClusterId cluster;
  NetworkId network;
  Labels labels;  ///< From metadata; the registry's win when the pod is known.
  Locality locality;
  std::string service_account;
  std::string node_name;
  std::string version;               ///< ISTIO_VERSION
  std::set<NetworkId> network_view;  ///< REQUESTED_NETWORK_VIEW; empty sees all.
  bool dns_capture = false;
  bool unprivileged = false;  ///< UNPRIVILEGED_POD: ports below 1024 are skipped.
  enum class Interception { kRedirect, kTproxy, kNone } interception = Interception::kRedirect;
  bool http10 = false;
  std::string raw_proxy_config;  ///< PROXY_CONFIG metadata as JSON; empty when absent.
};

}  // namespace isthmus::model
