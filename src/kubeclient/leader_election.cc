#include "kubeclient/leader_election.h"

#include <fmt/format.h>

#include <utility>

#include "base/log.h"
#include "kubeapi/meta.h"
#include "kubeapi/resources.h"

namespace isthmus::kubeclient {
namespace {

using base::Code;
using base::Result;
using base::Status;
using kubeapi::StringAt;
using std::chrono::duration_cast;
using std::chrono::seconds;
using SteadyClock = std::chrono::steady_clock;

constexpr std::string_view kAnnotation = "control-plane.alpha.kubernetes.io/leader";

using Lock = LeaderElectionOptions::Lock;

/// The record, whichever form it is kept in; times as written.
struct Record {
  std::string holder;
  int64_t lease_seconds = 0;
  std::string acquired;
  std::string renewed;
  int64_t transitions = 0;
  bool operator==(const Record&) const = default;
};

Record Read(const Json& object, Lock lock) {
  if (lock == Lock::kLease)
    return {StringAt(object, {"spec", "holderIdentity"}),
            kubeapi::IntAt(object, {"spec", "leaseDurationSeconds"}),
            StringAt(object, {"spec", "acquireTime"}), StringAt(object, {"spec", "renewTime"}),
            kubeapi::IntAt(object, {"spec", "leaseTransitions"})};
  const auto json = kubeapi::ParseJson(kubeapi::AnnotationOf(object, kAnnotation));
  if (!json.ok()) return {};
  return {StringAt(*json, {"holderIdentity"}), kubeapi::IntAt(*json, {"leaseDurationSeconds"}),
          StringAt(*json, {"acquireTime"}), StringAt(*json, {"renewTime"}),
          kubeapi::IntAt(*json, {"leaderTransitions"})};
}

void Write(Json& object, const Record& record, Lock lock) {
  if (lock == Lock::kLease) {
    Json& spec = kubeapi::Ensure(object, {"spec"});
    spec["holderIdentity"] = record.holder;
    spec["leaseDurationSeconds"] = record.lease_seconds;
    spec["acquireTime"] = record.acquired;
    spec["renewTime"] = record.renewed;
    spec["leaseTransitions"] = record.transitions;
    return;
  }
  kubeapi::SetAnnotation(object, kAnnotation,
                         kubeapi::ToJson({{"holderIdentity", record.holder},
                                          {"leaseDurationSeconds", record.lease_seconds},
                                          {"acquireTime", record.acquired},
                                          {"renewTime", record.renewed},
                                          {"leaderTransitions", record.transitions}}));
}

/// Leases want microseconds.
std::string TimeText(base::Time now, Lock lock) {
  std::string text = base::FormatTime(now);
  if (lock == Lock::kLease) text.insert(text.size() - 1, ".000000");
  return text;
}

}  // namespace

struct LeaderElection::Impl : std::enable_shared_from_this<LeaderElection::Impl> {
  Impl(base::Loop& l, Client& c, const base::Clock& k, LeaderElectionOptions o,
       std::function<void(bool)> f)
      : loop(l), client(c), clock(k), options(std::move(o)), changed(std::move(f)) {}

  base::Loop& loop;
  Client& client;
  const base::Clock& clock;
  const LeaderElectionOptions options;
  std::function<void(bool)> changed;
  base::Timer next;
  base::Timer deadline;
  bool leading = false;
  bool stopped = false;
  Record seen;
  /// When the record last changed, by our own clock: other machines' times are not to be trusted.
  SteadyClock::time_point seen_at;

  const Resource& resource() const {
    return options.lock == Lock::kLease ? kubeapi::kLeases : kubeapi::kConfigMaps;
  }

  void Later(base::Duration delay) {
    next = base::Timer::After(loop, delay, [weak = weak_from_this()] {
      if (auto self = weak.lock(); self && !self->stopped) self->Try();
    });
  }

  void Try() {
    client.Get(resource(), options.ns, options.name,
               [weak = weak_from_this()](Result<Json> object) {
                 auto self = weak.lock();
                 if (self && !self->stopped) self->OnRecord(std::move(object));
               });
  }

  void OnRecord(Result<Json> object) {
    if (!object.ok() && object.status().code() != Code::kNotFound)
      return OnFailure(object.status());
    const bool absent = !object.ok();
    Json lock = absent ? Json({{"apiVersion", resource().api_version()},
                               {"kind", resource().kind},
                               {"metadata", {{"name", options.name}, {"namespace", options.ns}}}})
                       : std::move(*object);
    const Record record = Read(lock, options.lock);
    if (record != seen) {
      seen = record;
      seen_at = SteadyClock::now();
    }
    const bool ours = record.holder == options.identity;
    const base::Duration patience =
        record.lease_seconds > 0 ? base::Duration(seconds(record.lease_seconds)) : options.lease;
    if (!ours && !record.holder.empty() && SteadyClock::now() - seen_at < patience) {
      Lead(false);
      return Later(options.renew_every);
    }
    const std::string now = TimeText(clock.Now(), options.lock);
    Record mine{options.identity, duration_cast<seconds>(options.lease).count(),
                ours ? record.acquired : now, now,
                record.transitions + (ours || record.holder.empty() ? 0 : 1)};
    if (mine.acquired.empty()) mine.acquired = now;
    Write(lock, mine, options.lock);
    const auto done = [weak = weak_from_this(), mine,
                       started = SteadyClock::now()](const Result<Json>& written) {
      auto self = weak.lock();
      if (self && !self->stopped) self->OnWritten(mine, started, written.status());
    };
    if (absent)
      client.Create(resource(), options.ns, lock, done);
    else
      client.Update(resource(), options.ns, options.name, lock, done);
  }

  void OnWritten(const Record& mine, SteadyClock::time_point started, const Status& status) {
    // A conflict means that another was quicker.
    if (!status.ok()) return OnFailure(status);
    seen = mine;
    seen_at = SteadyClock::now();
    const base::Duration left = options.lease * 2 / 3 - (SteadyClock::now() - started);
    deadline =
        base::Timer::After(loop, left > base::Duration::zero() ? left : base::Duration::zero(),
                           [weak = weak_from_this()] {
                             if (auto self = weak.lock(); self && !self->stopped) self->Lead(false);
                           });
    Later(options.renew_every);
    Lead(true);
  }

  void OnFailure(const Status& why) {
    LOG_DEBUG("kubeclient", "leader election {}: {}", options.name, why.message());
    Later(options.renew_every / 4);
  }

  void Lead(bool now) {
    if (leading == now) return;
    leading = now;
    LOG_INFO("kubeclient", "{} {} of {}/{}", options.identity,
             now ? "is leader" : "is no longer leader", options.ns, options.name);
    if (changed) changed(now);
  }

  /// Lets another begin at once instead of after the lease.
  void GiveUp() {
    if (!leading) return;
    Record none = seen;
    none.holder.clear();
    Json patch = Json::object();
    Write(patch, none, options.lock);
    client.Patch(resource(), options.ns, options.name, PatchType::kMerge, patch,
                 [](const Result<Json>&) {});
  }
};

LeaderElection::LeaderElection(base::Loop& loop, Client& client, const base::Clock& clock,
                               LeaderElectionOptions options, std::function<void(bool)> changed)
    : impl_(std::make_shared<Impl>(loop, client, clock, std::move(options), std::move(changed))) {
  impl_->Later(base::Duration::zero());
}

LeaderElection::~LeaderElection() {
  impl_->stopped = true;
  impl_->next.Cancel();
  impl_->deadline.Cancel();
  impl_->GiveUp();
}

bool LeaderElection::leading() const { return impl_->leading; }
const std::string& LeaderElection::holder() const { return impl_->seen.holder; }

}  // namespace isthmus::kubeclient
