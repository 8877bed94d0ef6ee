#include "lab/node/status_writer.h"

#include "base/log.h"
#include "kubeapi/meta.h"
#include "kubeapi/resources.h"

namespace isthmus::lab::node {

using kubeapi::Json;
using std::chrono_literals::operator""s;

void StatusWriter::Write(const Json& pod, const Json& status) {
  const std::string uid = kubeapi::UidOf(pod);
  Entry& entry = entries_[uid];
  // The last status has been written; news of it must not put the deletion off for ever.
  if (entry.deleting) return;
  entry.ns = kubeapi::NamespaceOf(pod);
  entry.name = kubeapi::NameOf(pod);
  entry.waiting = status;
  entry.has_waiting = true;
  Next(uid);
}

void StatusWriter::Delete(const Json& pod) {
  const std::string uid = kubeapi::UidOf(pod);
  Entry& entry = entries_[uid];
  entry.ns = kubeapi::NamespaceOf(pod);
  entry.name = kubeapi::NameOf(pod);
  entry.deleting = true;
  Next(uid);
}

void StatusWriter::Next(const std::string& uid) {
  Entry& entry = entries_[uid];
  if (entry.sending || entry.retry.active()) return;
  if (entry.has_waiting || entry.deleting) return Send(uid, entry);
  entries_.erase(uid);
}

void StatusWriter::Send(const std::string& uid, Entry& entry) {
  entry.sending = true;
  if (!entry.has_waiting) {
    client_.Delete(
        kubeapi::kPods, entry.ns, entry.name,
        [this, uid, weak = std::weak_ptr<int>(alive_)](const base::Result<Json>& done) {
          if (weak.expired()) return;
          Entry& now = entries_[uid];
          const bool over = done.ok() || done.status().code() == base::Code::kNotFound;
          now.deleting = !over;
          Sent(uid, over ? base::Status() : done.status(), Json());
        },
        0);
    return;
  }
  entry.has_waiting = false;
  // With the uid, so that a new pod of the same name is never taken for the old one.
  const Json patch = {{"metadata", {{"uid", uid}}}, {"status", entry.waiting}};
  client_.Patch(
      kubeapi::kPods, entry.ns, entry.name, kubeclient::PatchType::kMerge, patch,
      [this, uid, state = entry.waiting,
       weak = std::weak_ptr<int>(alive_)](const base::Result<Json>& done) mutable {
        if (!weak.expired())
          Sent(uid, done.ok() ? base::Status() : done.status(), std::move(state));
      },
      "status");
}

void StatusWriter::Sent(const std::string& uid, const base::Status& status, Json state) {
  Entry& entry = entries_[uid];
  entry.sending = false;
  const bool hopeless = status.code() == base::Code::kNotFound ||
                        status.code() == base::Code::kInvalidArgument ||
                        status.code() == base::Code::kAborted;
  if (!status.ok() && !hopeless) {
    LOG_WARN("node", "writing the status of pod {}/{}: {}", entry.ns, entry.name, status.message());
    if (!entry.has_waiting && !state.is_null()) {
      entry.waiting = std::move(state);
      entry.has_waiting = true;
    }
    entry.retry = base::Timer::After(loop_, 1s, [this, uid] {
      entries_[uid].retry.Cancel();
      Next(uid);
    });
    return;
  }
  if (status.code() == base::Code::kInvalidArgument)
    LOG_ERROR("node", "status of pod {}/{} refused: {}", entry.ns, entry.name, status.message());
  Next(uid);
}

}  // namespace isthmus::lab::node
