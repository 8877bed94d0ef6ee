#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/loop.h"
#include "kubeclient/client.h"

namespace isthmus::kubeclient {

struct LeaderElectionOptions {
  /// Where the record is kept: as annotation control-plane.alpha.kubernetes.io/leader of a
  /// ConfigMap (what istiods share among themselves), or as a coordination.k8s.io Lease.
  enum class Lock { kConfigMap, kLease } lock = Lock::kConfigMap;
  std::string ns = "istio-system";
  std::string name;      ///< Of the ConfigMap or Lease: "istio-leader" ...
  std::string identity;  ///< Ours, unique: the pod's name.
  base::Duration lease = std::chrono::seconds(30);  ///< How long a silent leader keeps its place.
  base::Duration renew_every = std::chrono::seconds(8);
};

/// Makes one of several programs the leader, by a record in the API server that the leader renews.
/// At most one believes to be it at a time as long as clocks run at the same speed: a leader that
/// could not renew for two thirds of the lease steps down before another may take over. Lives on
/// its client's loop; destroying it gives the place up.
class LeaderElection {
 public:
  /// `changed` is called with true when we become leader and with false when we no longer are;
  /// never inside this call.
  LeaderElection(base::Loop& loop, Client& client, const base::Clock& clock,
                 LeaderElectionOptions options, std::function<void(bool leading)> changed);
  ~LeaderElection();
  LeaderElection(const LeaderElection&) = delete;
  LeaderElection& operator=(const LeaderElection&) = delete;

  bool leading() const;
  /// Who holds the record, as far as we have seen.
  const std::string& holder() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace isthmus::kubeclient
