#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/loop.h"
#include "kubeclient/client.h"

namespace isthmus::controlplane {

/// Makes the validating webhook binding once it is known to work: it stays on failurePolicy Ignore,
/// so that nothing is refused while we cannot be reached, until the API server has asked us about
/// an object that is always refused (a dry run). Tries for ever, with growing pauses. Lives on its
/// loop; the client outlives it.
class ValidationGate {
 public:
  ValidationGate(base::Loop& loop, kubeclient::Client& client, std::string ns,
                 std::string revision);
  ~ValidationGate();
  ValidationGate(const ValidationGate&) = delete;
  ValidationGate& operator=(const ValidationGate&) = delete;

  /// A ValidatingWebhookConfiguration of ours that has its CA bundle.
  void Consider(const kubeclient::Json& object);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

/// The JSON patch that sets failurePolicy Fail in every entry; empty when all have it.
kubeclient::Json FailPatch(const kubeclient::Json& object);

}  // namespace isthmus::controlplane
