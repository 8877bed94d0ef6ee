#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "rpc/server.h"

namespace isthmus::ads {

/// Finds out who the caller of a stream is. Lives on the ADS loop.
class Authenticator {
 public:
  virtual ~Authenticator() = default;
  /// The caller's identities as SPIFFE URIs, or kUnauthenticated. `done` is called once, at once or
  /// later, also when the call has ended meanwhile.
  virtual void Authenticate(const rpc::ServerCall& call,
                            std::function<void(base::Result<std::vector<std::string>>)> done) = 0;
};

}  // namespace isthmus::ads
