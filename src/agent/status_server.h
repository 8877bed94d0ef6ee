#pragma once

#include <functional>
#include <memory>
#include <string>

#include "agent/app_probe.h"
#include "agent/metrics_merge.h"
#include "agent/name_table.h"
#include "agent/readiness.h"
#include "http/server.h"

namespace isthmus::agent {

/// What the status port can do; the callbacks are the agent's.
struct StatusActions {
  Readiness& readiness;
  MetricsMerger& metrics;
  AppProber& prober;
  std::function<std::shared_ptr<const NameTable>()> name_table;
  std::function<void()> quit;   ///< Ends the agent without draining.
  std::function<void()> drain;  ///< Drains listeners now; the end later does not drain again.
};

/// The agent's HTTP port (15020): readiness, merged metrics, the application's probes, and orders
/// of the pod's own containers. Lives on its loop; the actions outlive it.
class StatusServer {
 public:
  StatusServer(base::Loop& loop, const std::string& address, int port, StatusActions actions);
  base::Status Start() { return server_.Start(); }
  uint16_t port() const { return server_.port(); }

 private:
  void Handle(std::shared_ptr<http::ServerStream> stream);
  void HandleOrder(http::ServerStream& stream, const std::function<void()>& order);

  StatusActions actions_;
  http::Server server_;
};

}  // namespace isthmus::agent
