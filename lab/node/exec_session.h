#pragma once

#include <memory>

#include "base/loop.h"
#include "http/server.h"
#include "lab/node/container.h"
#include "lab/node/remote_streams.h"

namespace isthmus::lab::node {

/// Runs `command` in the container for a client that is to be upgraded (kubectl exec). Keeps itself
/// alive until the command has ended or the client has gone; then the command goes too.
void ServeExec(base::Loop& loop, const std::shared_ptr<http::ServerStream>& stream,
               const Container& container, const RemoteRequest& request,
               std::vector<std::string> command);

/// Joins a client to the container's own standard streams (kubectl attach, run -it).
void ServeAttach(base::Loop& loop, const std::shared_ptr<http::ServerStream>& stream,
                 const Container& container, const RemoteRequest& request);

}  // namespace isthmus::lab::node
