#pragma once

#include "ads/authenticator.h"
#include "ca/authenticator.h"

namespace isthmus::controlplane {

/// Lets the ADS server ask the CA's authenticators.
class XdsAuthenticator final : public ads::Authenticator {
 public:
  explicit XdsAuthenticator(ca::Authenticator& authenticator) : authenticator_(authenticator) {}
  void Authenticate(const rpc::ServerCall& call,
                    std::function<void(base::Result<std::vector<std::string>>)> done) override {
    authenticator_.Authenticate(call.peer(), call.metadata(),
                                [done = std::move(done)](base::Result<ca::Caller> caller) {
                                  if (caller.ok())
                                    done(std::move(caller->identities));
                                  else
                                    done(caller.status());
                                });
  }

 private:
  ca::Authenticator& authenticator_;
};

}  // namespace isthmus::controlplane
