#include "bench/ads_load.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "base/files.h"
#include "base/strings.h"
#include "bench/ads_client.h"
#include "bench/world.h"
#include "kubeapi/resources.h"
#include "kubeclient/client.h"
#include "kubeclient/informer.h"
#include "kubeclient/sync.h"

namespace isthmus::bench {
namespace {

using kubeclient::Json;
using std::chrono::steady_clock;

constexpr auto kPatience = std::chrono::seconds(120);

double Millis(steady_clock::duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

struct Usage {
  double cpu_ms = 0;
  double resident_kb = 0;
  double anonymous_kb = 0;
};

// CPU time and memory of a process; zeros when it is not ours to see.
Usage UsageOf(int pid) {
  Usage usage;
  if (pid == 0) return usage;
  const auto stat = base::ReadFile(fmt::format("/proc/{}/stat", pid));
  if (stat.ok()) {
    const auto fields = base::Split(stat->substr(stat->rfind(')') + 2), ' ');
    const double ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
    if (fields.size() > 12)
      usage.cpu_ms =
          1000 * (std::stod(std::string(fields[11])) + std::stod(std::string(fields[12]))) / ticks;
  }
  const auto status = base::ReadFile(fmt::format("/proc/{}/status", pid));
  if (status.ok()) {
    for (std::string_view line : base::Split(*status, '\n')) {
      const auto number = [&line] {
        return std::stod(std::string(base::Trim(line.substr(line.find(':') + 1))));
      };
      if (line.starts_with("VmRSS:")) usage.resident_kb = number();
      if (line.starts_with("RssAnon:")) usage.anonymous_kb = number();
    }
  }
  return usage;
}

std::string Spread(std::vector<double> values) {
  if (values.empty()) return "nothing measured";
  std::sort(values.begin(), values.end());
  const auto at = [&values](double part) {
    return values[std::min(values.size() - 1, static_cast<size_t>(part * values.size()))];
  };
  return fmt::format("p50 {:.1f}  p99 {:.1f}  last {:.1f} ms", at(0.5), at(0.99), values.back());
}

class Load {
 public:
  explicit Load(const LoadOptions& options) : options_(options) {}

  int Run() {
    if (!Connect() || !OpenAll()) return 1;
    if (!options_.kubeconfig.empty()) MakeChanges();
    Settle(std::chrono::seconds(options_.hold_seconds));
    return failed_ ? 1 : 0;
  }

 private:
  using Done = kubeclient::Client::Done;

  void MakeChanges() {
    Changes("endpoint change", "EDS", [this](int i, auto done) { ChangeEndpoint(i, done); });
    Changes("VirtualService change", "RDS", [this](int i, auto done) { ChangeRoute(i, done); });
  }

  bool Connect() {
    if (options_.kubeconfig.empty()) return true;
    auto config = kubeclient::LoadKubeconfig(options_.kubeconfig, "");
    if (!config.ok()) return Fail(config.status());
    auto client = kubeclient::Client::Create(loop_, *config);
    if (!client.ok()) return Fail(client.status());
    api_ = std::move(*client);
    // Our own watch tells when the change could be known: what the server needs after that is its
    // own.
    for (const kubeclient::Resource& resource : {kubeapi::kEndpointSlices, kVirtualServices}) {
      kubeclient::InformerEvents events;
      events.changed = [this](const std::string&, const Json*) { seen_ = steady_clock::now(); };
      informers_.push_back(std::make_unique<kubeclient::Informer>(
          loop_, *api_, resource, NamespaceName(0), kubeclient::ListOptions{}, std::move(events)));
    }
    return loop_.RunUntil([this] { return informers_[0]->synced() && informers_[1]->synced(); },
                          kPatience);
  }

  bool Fail(const base::Status& status) {
    if (!std::exchange(failed_, true))
      std::fprintf(stderr, "isthmus-bench: %s\n", status.message().c_str());
    return false;
  }

  bool OpenAll() {
    const Usage before = UsageOf(options_.pid);
    const auto start = steady_clock::now();
    for (int i = 0; i < options_.proxies; ++i) {
      const std::string ns = NamespaceName(i % options_.namespaces);
      AdsClient::Options client{options_.url,
                                fmt::format("sidecar~{}~{}.{}~{}.svc.cluster.local",
                                            PodAddress(i, 0), PodName(i, 0), ns, ns),
                                options_.cluster_id, ns};
      clients_.push_back(std::make_unique<AdsClient>(
          loop_, std::move(client), names_,
          [this](AdsClient&, std::string_view type, const std::vector<std::string_view>&) {
            if (type == awaited_) arrivals_.push_back(steady_clock::now());
          },
          [this](const base::Status& status) { Fail(status); }));
      clients_.back()->Connect();
    }
    const bool all = loop_.RunUntil(
        [this] {
          return failed_ ||
                 std::ranges::all_of(clients_, [](const auto& each) { return each->configured(); });
        },
        kPatience);
    if (failed_) return false;
    if (!all)
      return Fail(
          base::Error(base::Code::kDeadlineExceeded, "not all proxies were configured in time"));
    const auto end = steady_clock::now();
    std::vector<double> each;
    size_t bytes = 0;
    for (const auto& client : clients_) {
      each.push_back(Millis(client->configured_at() - client->started()));
      bytes += client->bytes();
    }
    Settle(std::chrono::milliseconds(500));
    const Usage after = UsageOf(options_.pid);
    std::printf("%d proxies configured in %.0f ms, each: %s\n", options_.proxies,
                Millis(end - start), Spread(each).c_str());
    std::printf("  %.2f MB of configuration each\n",
                static_cast<double>(bytes) / options_.proxies / 1e6);
    std::printf(
        "  server: %.2f ms CPU and %.1f KB resident (%.1f KB anonymous) a proxy; %.1f MB resident "
        "in all\n",
        (after.cpu_ms - before.cpu_ms) / options_.proxies,
        (after.resident_kb - before.resident_kb) / options_.proxies,
        (after.anonymous_kb - before.anonymous_kb) / options_.proxies, after.resident_kb / 1024);
    return true;
  }

  void Settle(base::Duration time) {
    bool over = false;
    const base::Timer pause = base::Timer::After(loop_, time, [&over] { over = true; });
    loop_.RunUntil([&over] { return over; }, time * 4);
  }

  // Makes the change some times, and each time waits until every proxy has been sent it.
  void Changes(const char* what, const char* type, const std::function<void(int, Done)>& change) {
    std::vector<double> all;
    std::vector<double> last;
    const Usage before = UsageOf(options_.pid);
    int made = 0;
    for (; made < options_.changes && !failed_; ++made) {
      awaited_ = type;
      arrivals_.clear();
      seen_ = {};
      bool answered = false;
      change(made, [this, &answered](base::Result<Json> result) {
        answered = true;
        if (!result.ok()) Fail(result.status());
      });
      const bool arrived = loop_.RunUntil(
          [this, &answered] {
            return failed_ ||
                   (answered && seen_ != SteadyTime() && arrivals_.size() >= clients_.size());
          },
          std::chrono::seconds(20));
      if (failed_) return;
      if (!arrived) {
        std::printf("%s %d: only %zu of %zu proxies got it\n", what, made, arrivals_.size(),
                    clients_.size());
        failed_ = true;
        return;
      }
      for (SteadyTime at : arrivals_) all.push_back(std::max(0.0, Millis(at - seen_)));
      last.push_back(std::max(0.0, Millis(arrivals_.back() - seen_)));
      Settle(std::chrono::milliseconds(200));
    }
    const Usage after = UsageOf(options_.pid);
    std::printf("%s, %d times: a proxy %s\n", what, made, Spread(all).c_str());
    std::printf("  the last proxy: %s; server: %.2f ms CPU a change\n", Spread(last).c_str(),
                (after.cpu_ms - before.cpu_ms) / std::max(1, made));
  }

  void ChangeEndpoint(int i, Done done) {
    const Json patch = Json::array(
        {{{"op", "replace"}, {"path", "/endpoints/0/conditions/ready"}, {"value", i % 2 == 1}}});
    api_->Patch(kubeapi::kEndpointSlices, NamespaceName(0), SliceName(0),
                kubeclient::PatchType::kJson, patch, std::move(done));
  }
  void ChangeRoute(int i, Done done) {
    const Json object = RouteOf(0, fmt::format("/v{}", i));
    api_->Patch(kVirtualServices, NamespaceName(0), kubeapi::StringAt(object, {"metadata", "name"}),
                kubeclient::PatchType::kApply, object, std::move(done));
  }

  const LoadOptions options_;
  base::Loop loop_;
  NameCache names_;
  std::unique_ptr<kubeclient::Client> api_;
  std::vector<std::unique_ptr<kubeclient::Informer>> informers_;
  std::vector<std::unique_ptr<AdsClient>> clients_;
  std::string awaited_;
  std::vector<SteadyTime> arrivals_;
  SteadyTime seen_;
  bool failed_ = false;
};

}  // namespace

int RunLoad(const LoadOptions& options) { return Load(options).Run(); }

}  // namespace isthmus::bench
