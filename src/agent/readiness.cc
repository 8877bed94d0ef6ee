#include "agent/readiness.h"

#include "base/log.h"
#include "base/strings.h"

namespace isthmus::agent {

EnvoyStats ParseEnvoyStats(std::string_view text) {
  EnvoyStats stats;
  for (const std::string_view line : base::Split(text, '\n')) {
    const auto [name, value_text] = base::Cut(line, ": ");
    const base::Result<int64_t> value = base::ParseInt(base::Trim(value_text));
    if (!value.ok() || *value < 0) continue;
    const auto number = static_cast<uint64_t>(*value);
    if (name == "cluster_manager.cds.update_success") stats.cds_success = number;
    if (name == "cluster_manager.cds.update_rejected") stats.cds_rejected = number;
    if (name == "listener_manager.lds.update_success") stats.lds_success = number;
    if (name == "listener_manager.lds.update_rejected") stats.lds_rejected = number;
    if (name == "server.state") stats.server_state = number;
    if (name == "listener_manager.workers_started") stats.workers_started = number == 1;
  }
  return stats;
}

std::string NotReadyBecause(const EnvoyStats& stats) {
  if (stats.cds_success == 0 || stats.lds_success == 0)
    return fmt::format(
        "config not fully received from XDS server: cds updates: {} successful, {} rejected; "
        "lds updates: {} successful, {} rejected",
        stats.cds_success, stats.cds_rejected, stats.lds_success, stats.lds_rejected);
  if (stats.server_state != 0)
    return fmt::format("server is not live, current state is {}", stats.server_state);
  if (!stats.workers_started) return "workers have not yet started";
  return {};
}

Readiness::Readiness(base::Loop& loop, std::string admin_url,
                     std::function<std::string()> waits_for)
    : waits_for_(std::move(waits_for)),
      admin_(loop, {.url = std::move(admin_url),
                    .tls = std::nullopt,
                    .proxy_url = {},
                    .connect_timeout = std::chrono::seconds(1)}) {}

void Readiness::Check(std::function<void(std::string)> done) {
  if (shutting_down_) return done("the proxy is shutting down");
  if (std::string missing = waits_for_(); !missing.empty()) return done(std::move(missing));
  if (envoy_ready_) return done({});
  http::Request request;
  request.target =
      "/stats?filter=" +
      http::UrlEncode(
          "^(cluster_manager\\.cds|listener_manager\\.lds)\\.update_(success|rejected)$|"
          "^server\\.state$|^listener_manager\\.workers_started$");
  admin_.Fetch(
      std::move(request), std::chrono::seconds(2),
      [this, done = std::move(done)](base::Result<http::Response> response) {
        if (!response.ok()) {
          if (response.status().code() == base::Code::kCancelled) return done("the agent ends");
          return done("Envoy's admin port does not answer: " + response.status().message());
        }
        std::string why = response->status == 200
                              ? NotReadyBecause(ParseEnvoyStats(response->body))
                              : fmt::format("Envoy's admin port answers {}", response->status);
        if (why.empty() && !envoy_ready_) {
          envoy_ready_ = true;
          LOG_INFO("default", "Envoy proxy is ready");
        }
        done(std::move(why));
      });
}

}  // namespace isthmus::agent
