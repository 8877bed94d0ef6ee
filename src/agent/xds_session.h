#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "agent/mesh_trust.h"
#include "agent/xds_proxy.h"
#include "base/backoff.h"
#include "rpc/client.h"
#include "rpc/server.h"

namespace isthmus::agent {

/// What all sessions of an XdsProxy share. Outlives them.
struct XdsContext {
  base::Loop& loop;
  ControlPlane& control_plane;
  ConfigStore* store;
  base::MetricRegistry& metrics;
  XdsProxyOptions options;
  std::shared_ptr<const NameTable> name_table;
  std::function<void(MeshTrust)> on_mesh_trust;  ///< May be null.
};

/// One ADS stream of Envoy's with what it is connected to. The states are drawn at XdsProxy. Held
/// by its downstream call's callbacks, and lets everything go when that is over.
class XdsSession : public std::enable_shared_from_this<XdsSession> {
 public:
  XdsSession(XdsContext& context, XdsForm form, std::shared_ptr<rpc::ServerCall> downstream);
  void Start();
  /// Ends both sides.
  void End(const base::Status& status);

 private:
  enum class State { kConnecting, kForwarding, kFromDisk, kOver };

  void OnRequest(std::string_view message);
  void Forward(std::string_view message, const XdsRequest& request);
  void OpenUpstream();
  void SendUpstream(std::string message);
  void OnResponse(std::string_view message);
  void OnNameTable(std::string_view message);
  void OnMeshTrust(std::string_view message);
  void Keep(const XdsResponse& response);
  void OnUpstreamEnd(const base::Status& status);
  bool CanServeFromDisk() const;
  void ServeFromDisk(const base::Status& why);
  void Probe();
  void ScheduleProbe();

  XdsContext& context_;
  const XdsForm form_;
  const std::string method_;
  std::shared_ptr<rpc::ServerCall> downstream_;
  std::shared_ptr<rpc::ClientCall> upstream_;
  State state_ = State::kConnecting;
  bool fresh_ = true;  // Envoy has said that it has nothing yet.
  bool asked_names_ = false;
  bool asked_trust_ = false;
  std::vector<std::string>
      waiting_;  // Requests until the first answer; served from disk they are answered.
  base::Timer patience_;
  base::Timer probe_timer_;
  base::Backoff probe_backoff_;
  std::shared_ptr<rpc::ClientCall> probe_;
  uint64_t nonce_ = 0;
};

}  // namespace isthmus::agent
