#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/loop.h"
#include "http/server.h"

namespace isthmus::lab::node {

/// Carries connections of a client (kubectl port-forward) to ports of a pod's loopback: over
/// SPDY/3.1, over SPDY in a WebSocket (kubectl since 1.31), or over the older WebSocket channels.
/// `network_namespace` is the pod's, empty for the node's own. Keeps itself alive until the client
/// has gone.
void ServePortForward(base::Loop& loop, const std::shared_ptr<http::ServerStream>& stream,
                      const std::string& network_namespace);

}  // namespace isthmus::lab::node
