#pragma once

#include <set>
#include <string>
#include <vector>

#include "kubeapi/json.h"

namespace isthmus::cli {

/// Whom an explanation is for: a proxy, as its own node metadata says.
struct ExplainedProxy {
  std::string cluster;
  std::string network;
};

/// One endpoint of a service and what becomes of it for that proxy.
struct ExplainedEndpoint {
  std::string address;  ///< "ip:port"
  std::string cluster;
  std::string network;  ///< With how it was decided: "network2 (pod label)"
  std::string source;   ///< "EndpointSlice cluster2 sample/helloworld-x7f2k"
  std::string sent_as;  ///< The addresses that the proxy should hold for it, or why there is none.
  bool held = false;    ///< Whether its Envoy holds one of them.
};

/// Works it out of /debug/endpointShardz and /debug/networkz of a control plane and of the
/// addresses that the proxy holds for the service. `port` limits it to one port of the service, by
/// its name; empty: all. Pure.
std::vector<ExplainedEndpoint> Explain(const ExplainedProxy& proxy, const std::string& host,
                                       const std::string& port_name, const kubeapi::Json& shards,
                                       const kubeapi::Json& networks,
                                       const std::set<std::string>& held);

}  // namespace isthmus::cli
