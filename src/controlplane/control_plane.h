#pragma once

#include <functional>
#include <memory>

#include "base/clock.h"
#include "base/loop.h"
#include "base/result.h"
#include "controlplane/settings.h"
#include "kubeclient/config.h"

namespace isthmus::controlplane {

/// The control plane: the one place with a start order.
///
///   made --Start--> loading --world read, CA ready--> serving --Shutdown--> draining --> done
///
/// While loading, only readiness, metrics and debug are served. xDS, CA and webhooks open when the
/// first snapshot is there, so that no proxy is ever sent an empty world. Lives on its loop.
class ControlPlane {
 public:
  ControlPlane(base::Loop& loop, const base::Clock& clock, Settings settings,
               kubeclient::RestConfig cluster);
  ~ControlPlane();
  ControlPlane(const ControlPlane&) = delete;
  ControlPlane& operator=(const ControlPlane&) = delete;

  /// An error means that it cannot run as it was told to: a port in use, wrong CA files.
  base::Status Start();
  /// Takes no more streams, ends those that are there so that proxies go elsewhere, and calls
  /// `done` when they have gone or the time of --shutdownDuration is over.
  void Shutdown(std::function<void()> done);

  bool ready() const;
  /// Called once if something after Start() makes going on pointless.
  void OnFailure(std::function<void(const base::Status&)> callback);

  /// Ports that are open, 0 for those that are not.
  struct Ports {
    uint16_t grpc = 0;
    uint16_t secure_grpc = 0;
    uint16_t http = 0;
    uint16_t https = 0;
    uint16_t monitoring = 0;
  };
  Ports ports() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace isthmus::controlplane
