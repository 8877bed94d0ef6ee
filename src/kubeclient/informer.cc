#include "kubeclient/informer.h"

#include <fmt/format.h>

#include <chrono>
#include <set>
#include <unordered_map>
#include <utility>

#include "base/backoff.h"
#include "base/log.h"
#include "kubeapi/meta.h"
#include "kubeclient/watch.h"

namespace isthmus::kubeclient {
namespace {

using base::Code;
using base::Status;
using std::chrono::milliseconds;
using std::chrono::seconds;
using SteadyClock = std::chrono::steady_clock;

constexpr auto kAbsentRetry = seconds(30);

base::Backoff::Options BackoffOptions() {
  base::Backoff::Options options;
  options.initial = milliseconds(200);
  options.max = seconds(10);
  return options;
}

}  // namespace

struct Informer::Impl : std::enable_shared_from_this<Informer::Impl> {
  Impl(base::Loop& l, Client& c, Resource r, std::string n, ListOptions o, InformerEvents e)
      : loop(l),
        client(c),
        resource(std::move(r)),
        ns(std::move(n)),
        options(std::move(o)),
        events(std::move(e)) {}

  base::Loop& loop;
  Client& client;
  const Resource resource;
  const std::string ns;
  const ListOptions options;
  InformerEvents events;

  /// Key to resource version of what was reported and not withdrawn.
  std::unordered_map<std::string, std::string> known;
  std::string version;
  std::unique_ptr<Watch> watch;
  base::Timer retry;
  base::Backoff backoff{BackoffOptions()};
  bool synced = false;
  bool stopped = false;
  bool healthy = true;
  SteadyClock::time_point last_heard = SteadyClock::now();
  SteadyClock::time_point watch_started;

  void List() {
    auto seen = std::make_shared<std::set<std::string>>();
    const std::weak_ptr<Impl> weak = weak_from_this();
    client.ListEach(
        resource, ns, options,
        [weak, seen](Json item) {
          auto self = weak.lock();
          if (self == nullptr || self->stopped) return;
          seen->insert(kubeapi::KeyOf(item));
          self->Report(item);
        },
        [weak, seen](base::Result<std::string> list_version) {
          auto self = weak.lock();
          if (self == nullptr || self->stopped) return;
          self->OnListed(*seen, std::move(list_version));
        });
  }

  void OnListed(const std::set<std::string>& seen, base::Result<std::string> list_version) {
    if (!list_version.ok()) {
      // A kind that the server does not know has no objects; a CRD may bring it later.
      if (list_version.status().code() != Code::kNotFound) return Fail(list_version.status(), true);
      WithdrawAllBut({});
      Heard();
      Synced();
      if (!stopped) After(kAbsentRetry, true);
      return;
    }
    WithdrawAllBut(seen);
    version = *list_version;
    Heard();
    Synced();
    if (!stopped) StartWatch();
  }

  /// Only called with a complete list.
  void WithdrawAllBut(const std::set<std::string>& seen) {
    std::vector<std::string> gone;
    for (const auto& [key, unused] : known)
      if (!seen.contains(key)) gone.push_back(key);
    for (const std::string& key : gone) Withdraw(key);
  }

  void Report(const Json& object) {
    const std::string key = kubeapi::KeyOf(object);
    std::string object_version = kubeapi::ResourceVersionOf(object);
    std::string& have = known[key];
    if (!have.empty() && have == object_version) return;
    have = std::move(object_version);
    if (events.changed) events.changed(key, &object);
  }

  void Withdraw(const std::string& key) {
    if (known.erase(key) != 0 && events.changed) events.changed(key, nullptr);
  }

  void Synced() {
    if (synced || stopped) return;
    synced = true;
    if (events.synced) events.synced();
  }

  void StartWatch() {
    watch_started = SteadyClock::now();
    const std::weak_ptr<Impl> weak = weak_from_this();
    Watch::Events watch_events;
    watch_events.open = [weak] {
      if (auto self = weak.lock(); self && !self->stopped) self->Heard();
    };
    watch_events.event = [weak](WatchEvent event) {
      if (auto self = weak.lock(); self && !self->stopped) self->OnEvent(std::move(event));
    };
    watch_events.closed = [weak](Status reason) {
      if (auto self = weak.lock(); self && !self->stopped) self->OnWatchClosed(std::move(reason));
    };
    watch = std::make_unique<Watch>(loop, client, resource, ns, options, version,
                                    std::move(watch_events));
  }

  void OnEvent(WatchEvent event) {
    last_heard = SteadyClock::now();
    std::string object_version = kubeapi::ResourceVersionOf(event.object);
    if (!object_version.empty()) version = object_version;
    if (event.type == WatchEvent::Type::kBookmark) return;
    if (!event.object.contains("kind")) event.object["kind"] = resource.kind;
    if (event.type == WatchEvent::Type::kDeleted)
      Withdraw(kubeapi::KeyOf(event.object));
    else
      Report(event.object);
  }

  void OnWatchClosed(Status reason) {
    if (reason.code() == Code::kOutOfRange) return After(milliseconds(0), true);
    // The usual end of a watch. One that ends at once is treated as a failure, lest we spin.
    if (reason.ok() && SteadyClock::now() - watch_started > seconds(1))
      return After(milliseconds(0), false);
    if (reason.ok()) return After(backoff.Next(), false);
    // A server that is away keeps its versions; one that refuses may have lost them.
    Fail(reason, reason.code() != Code::kUnavailable);
  }

  void Heard() {
    last_heard = SteadyClock::now();
    backoff.Reset();
    if (healthy) return;
    healthy = true;
    if (events.health) events.health(Status());
  }

  void Fail(const Status& why, bool relist) {
    if (healthy) {
      healthy = false;
      LOG_WARN("kubeclient", "watching {} of {}: {}", resource.plural, client.config().server,
               why.message());
      if (events.health) events.health(why);
      if (stopped) return;
    }
    After(backoff.Next(), relist);
  }

  /// Tries again later; with `relist` from a new list, else the watch from where it was.
  void After(base::Duration delay, bool relist) {
    const std::weak_ptr<Impl> weak = weak_from_this();
    retry = base::Timer::After(loop, delay, [weak, relist] {
      auto self = weak.lock();
      if (self == nullptr || self->stopped) return;
      self->watch.reset();
      if (relist || self->version.empty())
        self->List();
      else
        self->StartWatch();
    });
  }
};

Informer::Informer(base::Loop& loop, Client& client, Resource resource, std::string ns,
                   ListOptions options, InformerEvents events)
    : impl_(std::make_shared<Impl>(loop, client, std::move(resource), std::move(ns),
                                   std::move(options), std::move(events))) {
  // Not inside the constructor's call: receivers may want to keep the pointer first.
  impl_->After(std::chrono::nanoseconds(0), true);
}

Informer::~Informer() {
  impl_->stopped = true;
  impl_->retry.Cancel();
  impl_->watch.reset();
}

bool Informer::synced() const { return impl_->synced; }

base::Duration Informer::stale_for() const {
  return impl_->healthy ? base::Duration::zero() : SteadyClock::now() - impl_->last_heard;
}

}  // namespace isthmus::kubeclient
