#pragma once

#include <string>

#include "agent/settings.h"
#include "base/result.h"

namespace isthmus::agent {

/// Where the agent and Envoy meet. Relative paths, as both run in the same folder ("/" in a
/// container).
inline constexpr char kSdsSocket[] = "./var/run/secrets/workload-spiffe-uds/socket";
std::string XdsSocket(const Settings& settings);      ///< "<configPath>/XDS"
std::string BootstrapPath(const Settings& settings);  ///< "<configPath>/envoy-rev.json"

/// The node as the control plane sees it: id, cluster, locality, metadata.
base::Result<Json> MakeNode(const Settings& settings);

/// Envoy's whole start configuration. Holds nothing that the stock build of Envoy does not know.
base::Result<std::string> MakeBootstrap(const Settings& settings);

/// Envoy's command line, the program first.
std::vector<std::string> EnvoyArguments(const Settings& settings,
                                        const std::string& bootstrap_path);

}  // namespace isthmus::agent
