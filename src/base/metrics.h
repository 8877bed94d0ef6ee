#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace isthmus::base {

/// Label names and values in the order they are printed.
using Labels = std::vector<std::pair<std::string, std::string>>;

/// A number that only grows.
class Counter {
 public:
  void Add(double by = 1) { value_ += by; }
  double value() const { return value_; }

 private:
  double value_ = 0;
};

/// A number that goes up and down.
class Gauge {
 public:
  void Set(double value) { value_ = value; }
  void Add(double by) { value_ += by; }
  double value() const { return value_; }

 private:
  double value_ = 0;
};

/// How often values fell under each bound, their sum and count.
class Histogram {
 public:
  explicit Histogram(std::vector<double> bounds);
  void Observe(double value);
  uint64_t count() const { return count_; }
  double sum() const { return sum_; }
  const std::vector<double>& bounds() const { return bounds_; }
  /// Values at most the i-th bound; not cumulative.
  uint64_t in_bucket(size_t i) const { return buckets_[i]; }

 private:
  std::vector<double> bounds_;
  std::vector<uint64_t> buckets_;  // One more than bounds, for what is above them all.
  uint64_t count_ = 0;
  double sum_ = 0;
};

/// Owns the metrics of one program and prints them in Prometheus' text format. A metric is found by
/// name and labels, made at the first asking, and lives as long as the registry, so keep the
/// reference. Belongs to one loop's thread. One name has one type: asking for another is an error
/// of the program and aborts.
class MetricRegistry {
 public:
  MetricRegistry();
  ~MetricRegistry();
  MetricRegistry(const MetricRegistry&) = delete;
  MetricRegistry& operator=(const MetricRegistry&) = delete;

  Counter& AddCounter(std::string_view name, std::string_view help, const Labels& labels = {});
  Gauge& AddGauge(std::string_view name, std::string_view help, const Labels& labels = {});
  /// A gauge that is read when the metrics are printed.
  void AddGaugeFunction(std::string_view name, std::string_view help, const Labels& labels,
                        std::function<double()> read);
  /// `bounds` in rising order; counts by the bounds of the first asking.
  Histogram& AddHistogram(std::string_view name, std::string_view help, std::vector<double> bounds,
                          const Labels& labels = {});
  /// Forgets one labelled metric, for example of a cluster that has gone; references to it end.
  void Remove(std::string_view name, const Labels& labels);

  /// "text/plain; version=0.0.4".
  std::string Text() const;

 private:
  struct Family;
  Family& FamilyOf(std::string_view name, std::string_view help, std::string_view type);
  std::map<std::string, std::unique_ptr<Family>, std::less<>> families_;
};

}  // namespace isthmus::base
