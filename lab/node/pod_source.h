#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "kubeapi/json.h"

namespace isthmus::lab::node {

struct ServiceAccountToken {
  std::string token;
  base::Time expires;
};

/// What a pod needs of its cluster. The node answers from its watches; tests from maps. Lives on
/// the node's loop.
class PodSource {
 public:
  virtual ~PodSource() = default;
  /// Null while there is none (or it is not known yet). Valid until the loop's next turn.
  virtual const kubeapi::Json* ConfigMap(std::string_view ns, std::string_view name) = 0;
  virtual const kubeapi::Json* Secret(std::string_view ns, std::string_view name) = 0;
  /// "KUBERNETES_SERVICE_HOST=..." and, with `links`, those of the namespace's services.
  virtual std::vector<std::string> ServiceEnv(std::string_view ns, bool links) = 0;
  /// A token of the pod's service account, bound to the pod. Empty audience: the API server's own.
  virtual void RequestToken(const kubeapi::Json& pod, const std::string& audience, int64_t seconds,
                            std::function<void(base::Result<ServiceAccountToken>)> done) = 0;
  /// Writes an Event about the pod. `container` may be empty.
  virtual void Event(const kubeapi::Json& pod, std::string_view container, bool warning,
                     std::string_view reason, const std::string& message) = 0;
};

/// The machine as pods see it.
struct NodeFacts {
  std::string name;
  std::string address;
  int64_t cpu_milli = 2000;
  int64_t memory_bytes = int64_t{4} << 30;
};

}  // namespace isthmus::lab::node
