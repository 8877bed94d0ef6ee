#include "agent/drain.h"

#include "base/log.h"
#include "base/strings.h"

namespace isthmus::agent {

int64_t ActiveConnections(std::string_view stats) {
  int64_t sum = -1;
  for (const std::string_view line : base::Split(stats, '\n')) {
    const auto [name, value_text] = base::Cut(line, ": ");
    if (!name.starts_with("listener.") || !name.ends_with(".downstream_cx_active")) continue;
    // Those of the workers are in the listener's own number; the rest are not for clients.
    if (name.find(".worker_") != name.npos || name.starts_with("listener.envoy_internal_") ||
        name.starts_with("listener.admin.") || name.find("_15021.") != name.npos ||
        name.find("_15090.") != name.npos)
      continue;
    const base::Result<int64_t> value = base::ParseInt(base::Trim(value_text));
    if (value.ok()) sum = std::max<int64_t>(sum, 0) + *value;
  }
  return sum;
}

Drainer::Drainer(base::Loop& loop, std::string admin_url, bool inbound_only)
    : loop_(loop),
      inbound_only_(inbound_only),
      admin_(loop, {.url = std::move(admin_url),
                    .tls = std::nullopt,
                    .proxy_url = {},
                    .connect_timeout = std::chrono::seconds(1)}) {}

void Drainer::Drain(bool skip_exit, std::function<void()> done) {
  http::Request request;
  request.method = "POST";
  request.target = std::string("/drain_listeners?") + (inbound_only_ ? "inboundonly&" : "") +
                   "graceful" + (skip_exit ? "&skip_exit" : "");
  admin_.Fetch(std::move(request), std::chrono::seconds(2),
               [done = std::move(done)](base::Result<http::Response> response) {
                 if (!response.ok())
                   LOG_WARN("default", "Envoy could not be told to drain: {}",
                            response.status().message());
                 if (done) done();
               });
}

void Drainer::Wait(bool until_idle, base::Duration duration, std::function<void()> done) {
  waited_ = std::move(done);
  timer_ = base::Timer::After(loop_, duration, [this, until_idle] {
    if (until_idle) return CheckIdle();
    std::exchange(waited_, nullptr)();
  });
}

void Drainer::CheckIdle() {
  http::Request request;
  request.target = "/stats?filter=" + http::UrlEncode("^listener\\..*\\.downstream_cx_active$");
  admin_.Fetch(
      std::move(request), std::chrono::seconds(2), [this](base::Result<http::Response> response) {
        if (!response.ok() && response.status().code() == base::Code::kCancelled) return;
        const int64_t active =
            response.ok() && response->status == 200 ? ActiveConnections(response->body) : 0;
        failures_ = response.ok() ? 0 : failures_ + 1;
        if ((response.ok() && active <= 0) || failures_ >= 5)
          return std::exchange(waited_, nullptr)();
        timer_ = base::Timer::After(loop_, std::chrono::seconds(1), [this] { CheckIdle(); });
      });
}

}  // namespace isthmus::agent
