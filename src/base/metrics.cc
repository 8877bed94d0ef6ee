#include "base/metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>

namespace isthmus::base {
namespace {

std::string Number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  if (value == std::floor(value) && std::fabs(value) < 1e15)
    return fmt::format("{}", static_cast<int64_t>(value));
  return fmt::format("{}", value);
}

void AppendLabelText(std::string& out, std::string_view text, bool quote) {
  for (const char c : text) {
    if (c == '\\') {
      out += "\\\\";
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '"' && quote) {
      out += "\\\"";
    } else {
      out += c;
    }
  }
}

/// `a="b",c="d"`: the key of a metric within its family, and how it is printed.
std::string LabelText(const Labels& labels) {
  std::string text;
  for (const auto& [name, value] : labels) {
    if (!text.empty()) text += ',';
    text += name;
    text += "=\"";
    AppendLabelText(text, value, true);
    text += '"';
  }
  return text;
}

void AppendSample(std::string& out, std::string_view name, std::string_view labels,
                  std::string_view value) {
  out += name;
  if (!labels.empty()) {
    out += '{';
    out += labels;
    out += '}';
  }
  out += ' ';
  out += value;
  out += '\n';
}

}  // namespace

Histogram::Histogram(std::vector<double> bounds)
    : bounds_(std::move(bounds)), buckets_(bounds_.size() + 1) {}

void Histogram::Observe(double value) {
  const auto bound = std::lower_bound(bounds_.begin(), bounds_.end(), value);
  ++buckets_[static_cast<size_t>(bound - bounds_.begin())];
  ++count_;
  sum_ += value;
}

struct MetricRegistry::Family {
  std::string help;
  std::string type;
  std::map<std::string, Counter> counters;
  std::map<std::string, Gauge> gauges;
  std::map<std::string, std::function<double()>> functions;
  std::map<std::string, Histogram> histograms;

  void AppendHistogram(std::string& out, const std::string& name, const std::string& labels,
                       const Histogram& histogram) const {
    const std::string before = labels.empty() ? "" : labels + ",";
    uint64_t total = 0;
    for (size_t i = 0; i < histogram.bounds().size(); ++i) {
      total += histogram.in_bucket(i);
      AppendSample(out, name + "_bucket",
                   fmt::format("{}le=\"{}\"", before, Number(histogram.bounds()[i])),
                   std::to_string(total));
    }
    AppendSample(out, name + "_bucket", before + "le=\"+Inf\"", std::to_string(histogram.count()));
    AppendSample(out, name + "_sum", labels, Number(histogram.sum()));
    AppendSample(out, name + "_count", labels, std::to_string(histogram.count()));
  }

  void Append(std::string& out, const std::string& name) const {
    out += "# HELP " + name + " ";
    AppendLabelText(out, help, false);
    out += "\n# TYPE " + name + " " + type + "\n";
    for (const auto& [labels, counter] : counters)
      AppendSample(out, name, labels, Number(counter.value()));
    for (const auto& [labels, gauge] : gauges)
      AppendSample(out, name, labels, Number(gauge.value()));
    for (const auto& [labels, read] : functions) AppendSample(out, name, labels, Number(read()));
    for (const auto& [labels, histogram] : histograms)
      AppendHistogram(out, name, labels, histogram);
  }
};

MetricRegistry::MetricRegistry() = default;
MetricRegistry::~MetricRegistry() = default;

MetricRegistry::Family& MetricRegistry::FamilyOf(std::string_view name, std::string_view help,
                                                 std::string_view type) {
  auto it = families_.find(name);
  if (it == families_.end()) {
    auto family = std::make_unique<Family>();
    family->help = help;
    family->type = type;
    it = families_.emplace(std::string(name), std::move(family)).first;
  }
  if (it->second->type != type) {
    fmt::print(stderr, "metric {} is a {} and a {}\n", name, it->second->type, type);
    std::abort();
  }
  return *it->second;
}

Counter& MetricRegistry::AddCounter(std::string_view name, std::string_view help,
                                    const Labels& labels) {
  return FamilyOf(name, help, "counter").counters[LabelText(labels)];
}

Gauge& MetricRegistry::AddGauge(std::string_view name, std::string_view help,
                                const Labels& labels) {
  return FamilyOf(name, help, "gauge").gauges[LabelText(labels)];
}

void MetricRegistry::AddGaugeFunction(std::string_view name, std::string_view help,
                                      const Labels& labels, std::function<double()> read) {
  FamilyOf(name, help, "gauge").functions[LabelText(labels)] = std::move(read);
}

Histogram& MetricRegistry::AddHistogram(std::string_view name, std::string_view help,
                                        std::vector<double> bounds, const Labels& labels) {
  auto& histograms = FamilyOf(name, help, "histogram").histograms;
  return histograms.try_emplace(LabelText(labels), std::move(bounds)).first->second;
}

void MetricRegistry::Remove(std::string_view name, const Labels& labels) {
  const auto it = families_.find(name);
  if (it == families_.end()) return;
  const std::string key = LabelText(labels);
  it->second->counters.erase(key);
  it->second->gauges.erase(key);
  it->second->functions.erase(key);
  it->second->histograms.erase(key);
}

std::string MetricRegistry::Text() const {
  std::string out;
  for (const auto& [name, family] : families_) family->Append(out, name);
  return out;
}

}  // namespace isthmus::base
