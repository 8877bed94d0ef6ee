#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "model/proxy.h"

namespace isthmus::ads {

/// What a client says of itself in the first message of a stream. A value.
struct Node {
  std::string id;  ///< As sent: "sidecar~10.0.0.1~web-1.shop~shop.svc.cluster.local".
  model::Proxy proxy;
  /// The namespace that the client claims: metadata NAMESPACE, else of the node ID.
  std::string claimed_namespace;
  /// Metadata SERVICE_ACCOUNT; empty when absent.
  std::string claimed_account;
  std::string generator;  ///< Metadata GENERATOR: "event" for debug clients.
  bool is_proxy = false;  ///< Has PROXY_CONFIG metadata, so it is shown in syncz.
};

/// Reads a serialised envoy.config.core.v3.Node. Booleans and numbers of the metadata may be JSON
/// strings.
base::Result<Node> ParseNode(std::string_view bytes);

}  // namespace isthmus::ads
