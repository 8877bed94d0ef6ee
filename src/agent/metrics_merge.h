#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/loop.h"
#include "base/metrics.h"
#include "http/client.h"

namespace isthmus::agent {

/// Where the application shows its metrics.
struct ScrapeTarget {
  int port = 0;
  std::string path = "/metrics";
};
/// Reads ISTIO_PROMETHEUS_ANNOTATIONS; nothing when scraping is not asked for.
base::Result<std::vector<ScrapeTarget>> ParseScrapeTargets(const std::string& json);

/// Puts the agent's, Envoy's and the application's metrics together. A part that fails is left out
/// and counted. Lives on its loop.
class MetricsMerger {
 public:
  MetricsMerger(base::Loop& loop, base::MetricRegistry& own, int envoy_port,
                std::vector<ScrapeTarget> targets);

  /// `query`: of the scraper's request, goes on to Envoy.
  void Collect(const std::string& query, std::function<void(std::string)> done);

 private:
  struct Part {
    std::string type;  ///< "envoy" or "application".
    std::string path;
    std::unique_ptr<http::Client> client;
  };
  base::MetricRegistry& own_;
  std::vector<Part> parts_;
};

/// Without OpenMetrics' end marker, and ending in a line's end.
std::string AsPart(std::string_view metrics);

}  // namespace isthmus::agent
