#include "base/metrics.h"

#include <gtest/gtest.h>

namespace isthmus::base {
namespace {

TEST(MetricsTest, PrintsPrometheusText) {
  MetricRegistry registry;
  registry.AddCounter("pushes_total", "Pushes \\ by\ntype.", {{"type", "cds"}}).Add();
  registry.AddCounter("pushes_total", "", {{"type", "cds"}}).Add(2);
  registry.AddCounter("pushes_total", "", {{"type", "a\"b\\c\nd"}}).Add(0.5);
  registry.AddGauge("clients", "Clients.").Set(-3);
  double read = 7;
  registry.AddGaugeFunction("memory_bytes", "Memory.", {}, [&] { return read; });
  read = 1e18;
  auto& histogram = registry.AddHistogram("seconds", "Time.", {0.1, 1}, {{"k", "v"}});
  histogram.Observe(0.1);
  histogram.Observe(0.5);
  histogram.Observe(20);
  EXPECT_EQ(registry.Text(),
            "# HELP clients Clients.\n# TYPE clients gauge\nclients -3\n"
            "# HELP memory_bytes Memory.\n# TYPE memory_bytes gauge\nmemory_bytes 1e+18\n"
            "# HELP pushes_total Pushes \\\\ by\\ntype.\n# TYPE pushes_total counter\n"
            "pushes_total{type=\"a\\\"b\\\\c\\nd\"} 0.5\npushes_total{type=\"cds\"} 3\n"
            "# HELP seconds Time.\n# TYPE seconds histogram\n"
            "seconds_bucket{k=\"v\",le=\"0.1\"} 1\nseconds_bucket{k=\"v\",le=\"1\"} 2\n"
            "seconds_bucket{k=\"v\",le=\"+Inf\"} 3\nseconds_sum{k=\"v\"} "
            "20.6\nseconds_count{k=\"v\"} 3\n");
}

TEST(MetricsTest, RemoveForgetsOneLabelSet) {
  MetricRegistry registry;
  registry.AddGauge("synced", "", {{"cluster", "c1"}}).Set(1);
  registry.AddGauge("synced", "", {{"cluster", "c2"}}).Set(1);
  registry.Remove("synced", {{"cluster", "c1"}});
  registry.Remove("unknown", {});
  EXPECT_EQ(registry.Text(), "# HELP synced \n# TYPE synced gauge\nsynced{cluster=\"c2\"} 1\n");
}

TEST(MetricsDeathTest, OneNameHasOneType) {
  MetricRegistry registry;
  registry.AddGauge("x", "");
  EXPECT_DEATH(registry.AddCounter("x", ""), "metric x is a gauge and a counter");
}

}  // namespace
}  // namespace isthmus::base
