#include "agent/metrics_merge.h"

#include "base/log.h"
#include "base/strings.h"
#include "kubeapi/json.h"

namespace isthmus::agent {
namespace {

using base::Code;
using kubeapi::Json;

constexpr size_t kMaxPart = 10 << 20;

/// Ports are strings in annotations.
base::Result<int> PortOf(const Json& target, int fallback) {
  int64_t port = kubeapi::IntAt(target, {"port"}, fallback);
  if (const std::string text = kubeapi::StringAt(target, {"port"}); !text.empty()) {
    ASSIGN_OR_RETURN(port, base::ParseInt(text), "port");
  }
  if (port < 1 || port > 65535)
    return base::Error(Code::kInvalidArgument, "port {} is not from 1 to 65535", port);
  return static_cast<int>(port);
}

std::string PathOf(const Json& target) {
  std::string path = kubeapi::StringAt(target, {"path"});
  if (path.empty()) path = "/metrics";
  return path.starts_with('/') ? path : "/" + path;
}

}  // namespace

base::Result<std::vector<ScrapeTarget>> ParseScrapeTargets(const std::string& json) {
  std::vector<ScrapeTarget> targets;
  if (base::Trim(json).empty()) return targets;
  ASSIGN_OR_RETURN(const Json parsed, kubeapi::ParseJson(json),
                   "environment ISTIO_PROMETHEUS_ANNOTATIONS");
  const std::string scrape = kubeapi::StringAt(parsed, {"scrape"});
  if (scrape != "true" && scrape != "True" && scrape != "1") return targets;
  if (const Json* list = kubeapi::Find(parsed, {"targets"});
      list != nullptr && list->is_array() && !list->empty()) {
    for (const Json& item : *list) {
      ScrapeTarget target;
      ASSIGN_OR_RETURN(target.port, PortOf(item, -1),
                       "environment ISTIO_PROMETHEUS_ANNOTATIONS: targets");
      target.path = PathOf(item);
      targets.push_back(std::move(target));
    }
    return targets;
  }
  ScrapeTarget target;
  ASSIGN_OR_RETURN(target.port, PortOf(parsed, 80), "environment ISTIO_PROMETHEUS_ANNOTATIONS");
  target.path = PathOf(parsed);
  targets.push_back(std::move(target));
  return targets;
}

std::string AsPart(std::string_view metrics) {
  std::string text(base::Trim(metrics));
  constexpr std::string_view kEnd = "# EOF";
  if (text == kEnd) return {};
  if (text.ends_with("\n# EOF")) text.resize(text.size() - kEnd.size());
  if (!text.empty() && !text.ends_with('\n')) text += '\n';
  return text;
}

MetricsMerger::MetricsMerger(base::Loop& loop, base::MetricRegistry& own, int envoy_port,
                             std::vector<ScrapeTarget> targets)
    : own_(own) {
  const auto add = [&](const char* type, int port, std::string path) {
    http::ClientOptions options;
    options.url = fmt::format("http://127.0.0.1:{}", port);
    options.connect_timeout = std::chrono::seconds(1);
    parts_.push_back(
        {type, std::move(path), std::make_unique<http::Client>(loop, std::move(options))});
  };
  add("envoy", envoy_port, "/stats/prometheus");
  for (ScrapeTarget& target : targets) add("application", target.port, std::move(target.path));
}

void MetricsMerger::Collect(const std::string& query, std::function<void(std::string)> done) {
  own_.AddCounter("istio_agent_scrapes_total", "Scrapes of the merged metrics.").Add();
  struct Collected {
    std::vector<std::string> texts;
    size_t missing = 0;
    std::function<void(std::string)> done;
  };
  auto collected = std::make_shared<Collected>();
  collected->texts.resize(parts_.size());
  collected->missing = parts_.size();
  collected->done = std::move(done);
  for (size_t i = 0; i < parts_.size(); ++i) {
    http::Request request;
    request.target = parts_[i].path;
    if (parts_[i].type == "envoy" && !query.empty()) request.target += "?" + query;
    request.headers.Set("accept", "text/plain;version=0.0.4");
    parts_[i].client->Fetch(
        std::move(request), std::chrono::seconds(10),
        [this, i, collected](base::Result<http::Response> response) {
          // Cancelled: this object is going.
          if (!response.ok() && response.status().code() == Code::kCancelled) return;
          if (response.ok() && response->status == 200 && response->body.size() <= kMaxPart) {
            collected->texts[i] = AsPart(response->body);
          } else {
            own_.AddCounter("istio_agent_scrape_failures_total", "Parts that could not be scraped.",
                            {{"type", parts_[i].type}})
                .Add();
            LOG_DEBUG(
                "default", "scraping {}: {}", parts_[i].type,
                response.ok() ? fmt::to_string(response->status) : response.status().message());
          }
          if (--collected->missing > 0) return;
          std::string all = own_.Text();
          for (const std::string& text : collected->texts) all += text;
          collected->done(std::move(all));
        });
  }
}

}  // namespace isthmus::agent
