#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "model/snapshot.h"

namespace isthmus::translate {

enum class MtlsMode { kDisable, kPermissive, kStrict };

/// What a workload demands of its clients: the mode for ports that no entry names, and the entries.
struct WorkloadMtls {
  MtlsMode mode = MtlsMode::kPermissive;
  std::map<int, MtlsMode> ports;  ///< By target port.
  MtlsMode For(int target_port) const;
  bool operator==(const WorkloadMtls&) const = default;
};

/// The effective PeerAuthentication: mesh, then namespace, then workload; the oldest of a level
/// wins, what is unset is inherited. Immutable.
class PeerAuthenticationIndex {
 public:
  PeerAuthenticationIndex(const model::Configs& configs, std::string root_namespace);
  /// Without policies for single workloads: what clients go by.
  MtlsMode ForNamespace(const std::string& ns) const;
  WorkloadMtls ForWorkload(const std::string& ns, const model::Labels& labels) const;
  /// Whether an endpoint refuses mTLS, so that nobody may try it.
  bool Disabled(const model::Endpoint& endpoint) const;

 private:
  using Policy = istio::security::v1::PeerAuthentication;
  model::Configs::List<Policy> held_;
  MtlsMode mesh_ = MtlsMode::kPermissive;
  std::map<std::string, MtlsMode> namespaces_;
  std::map<std::string, std::vector<const Policy*>> workloads_;  ///< Oldest first.
};

}  // namespace isthmus::translate
