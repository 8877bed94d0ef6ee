#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/loop.h"
#include "http/client.h"

namespace isthmus::agent {

/// Lets Envoy finish its connections. Lives on its loop; destroying it ends waiting silently.
class Drainer {
 public:
  /// Sidecars drain their inbound listeners only: the application still calls others while it ends.
  Drainer(base::Loop& loop, std::string admin_url, bool inbound_only);

  /// Tells Envoy to drain; `done` (may be null) when it has answered or could not be asked.
  void Drain(bool skip_exit, std::function<void()> done);
  /// Waits `duration`; with `until_idle`, from then on until no connection of clients is left (or
  /// its number cannot be read five times in a row).
  void Wait(bool until_idle, base::Duration duration, std::function<void()> done);

 private:
  void CheckIdle();

  base::Loop& loop_;
  bool inbound_only_;
  http::Client admin_;
  std::function<void()> waited_;
  base::Timer timer_;
  int failures_ = 0;
};

/// The connections of clients that /stats shows, leaving out Envoy's own ports; -1 when no listener
/// is shown.
int64_t ActiveConnections(std::string_view stats);

}  // namespace isthmus::agent
