#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/loop.h"
#include "http/client.h"

namespace isthmus::agent {

/// What Envoy's stats tell about its start.
struct EnvoyStats {
  uint64_t cds_success = 0;
  uint64_t cds_rejected = 0;
  uint64_t lds_success = 0;
  uint64_t lds_rejected = 0;
  uint64_t server_state = 0;  ///< 0: live.
  bool workers_started = false;
};
/// Reads lines "name: value" of /stats.
EnvoyStats ParseEnvoyStats(std::string_view text);
/// Why Envoy is not ready, or "" when it is.
std::string NotReadyBecause(const EnvoyStats& stats);

/// Whether the proxy may get traffic. Once it may, it stays so until Envoy is started again or the
/// agent shuts down, whatever becomes of control planes. Lives on its loop.
class Readiness {
 public:
  /// `waits_for`: says what else is missing, or "".
  Readiness(base::Loop& loop, std::string admin_url, std::function<std::string()> waits_for);

  /// Why not, or "" when ready.
  void Check(std::function<void(std::string)> done);
  void EnvoyStarted() { envoy_ready_ = false; }
  void ShuttingDown() { shutting_down_ = true; }

 private:
  std::function<std::string()> waits_for_;
  http::Client admin_;
  bool envoy_ready_ = false;
  bool shutting_down_ = false;
};

}  // namespace isthmus::agent
