#include "lab/node/event_writer.h"

#include "base/clock.h"
#include "base/encoding.h"
#include "kubeapi/meta.h"
#include "kubeapi/resources.h"

namespace isthmus::lab::node {
namespace {
using kubeapi::Json;
using std::chrono_literals::operator""s;
constexpr size_t kMostKnown = 2000;
}  // namespace

void EventWriter::Write(const Json& pod, std::string_view container, bool warning,
                        std::string_view reason, const std::string& message) {
  const std::string ns = kubeapi::NamespaceOf(pod);
  const std::string key =
      fmt::format("{}|{}|{}|{}", kubeapi::UidOf(pod), container, reason, message);
  const base::Time now = base::SystemClock().Now();
  const std::string now_text = base::FormatTime(now);
  if (known_.size() > kMostKnown) known_.clear();
  auto [entry, fresh] = known_.try_emplace(key);
  if (!fresh) {
    ++entry->second.count;
    if (now - entry->second.written < 5s) return;
    entry->second.written = now;
    client_.Patch(kubeapi::kEvents, ns, entry->second.name, kubeclient::PatchType::kMerge,
                  {{"count", entry->second.count}, {"lastTimestamp", now_text}},
                  [](const base::Result<Json>&) {});
    return;
  }
  entry->second.name =
      fmt::format("{}.{:x}{:x}", kubeapi::NameOf(pod), now.time_since_epoch().count(), next_++);
  entry->second.written = now;
  Json involved = {{"apiVersion", "v1"},
                   {"kind", "Pod"},
                   {"namespace", ns},
                   {"name", kubeapi::NameOf(pod)},
                   {"uid", kubeapi::UidOf(pod)},
                   {"resourceVersion", kubeapi::ResourceVersionOf(pod)}};
  if (!container.empty()) involved["fieldPath"] = fmt::format("spec.containers{{{}}}", container);
  const Json event = {{"apiVersion", "v1"},
                      {"kind", "Event"},
                      {"metadata", {{"name", entry->second.name}, {"namespace", ns}}},
                      {"involvedObject", involved},
                      {"reason", reason},
                      {"message", message.substr(0, 1024)},
                      {"type", warning ? "Warning" : "Normal"},
                      {"count", 1},
                      {"firstTimestamp", now_text},
                      {"lastTimestamp", now_text},
                      {"source", {{"component", "kubelet"}, {"host", node_}}},
                      {"reportingComponent", "kubelet"},
                      {"reportingInstance", node_}};
  client_.Create(kubeapi::kEvents, ns, event, [](const base::Result<Json>&) {});
}

}  // namespace isthmus::lab::node
