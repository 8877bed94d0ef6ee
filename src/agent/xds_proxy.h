#pragma once

#include <functional>
#include <memory>
#include <string>

#include "agent/config_store.h"
#include "agent/control_plane.h"
#include "agent/mesh_trust.h"
#include "agent/name_table.h"
#include "base/loop.h"
#include "base/metrics.h"

namespace isthmus::agent {

struct XdsProxyOptions {
  std::string socket_path;
  /// Asks for the name table beside what Envoy asks for.
  bool name_table = false;
  /// How long a freshly started Envoy waits for a control plane before it gets the configuration
  /// kept on disk.
  base::Duration patience = std::chrono::seconds(5);
};

/// Stands between Envoy and a control plane: each ADS stream of Envoy goes on in one upstream
/// stream, and messages pass in both directions as the bytes they are. When either side ends, so
/// does the other, and Envoy comes again by its own backoff. It keeps what Envoy accepted on disk;
/// an Envoy that starts while no control plane answers is served from there, until one does. Lives
/// on its loop; what it is given outlives it.
///
///   connecting --first answer--> forwarding --either side ends--> over
///   connecting --upstream fails or is silent, Envoy is fresh, something is stored--> serving from
///   disk connecting --upstream fails otherwise--> over serving from disk --a control plane
///   answers--> over (Envoy comes again and is forwarded)
class XdsProxy {
 public:
  /// `store` may be null.
  XdsProxy(base::Loop& loop, ControlPlane& control_plane, ConfigStore* store,
           base::MetricRegistry& metrics, XdsProxyOptions options);
  ~XdsProxy();
  XdsProxy(const XdsProxy&) = delete;
  XdsProxy& operator=(const XdsProxy&) = delete;

  /// `changed` is called with the roots that the mesh believes besides the CA's: at once when they
  /// are on disk, and whenever the control plane tells them.
  void OnMeshTrust(std::function<void(MeshTrust)> changed);
  base::Status Start();
  /// Null until one has come (or was found on disk).
  std::shared_ptr<const NameTable> name_table() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

/// What the configuration on disk answers to a delta request; "" for nothing to say. Pure but for
/// the file.
std::string AnswerFromStore(const ConfigStore& store, std::string_view request,
                            std::string_view nonce);

}  // namespace isthmus::agent
