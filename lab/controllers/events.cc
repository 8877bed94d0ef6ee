#include "lab/controllers/events.h"

#include <fmt/format.h>

#include "kubeapi/meta.h"

namespace isthmus::lab::controllers {
namespace {

constexpr size_t kMostKnown = 2000;
constexpr size_t kLongestMessage = 1024;
constexpr base::Duration kShortestPause = std::chrono::seconds(5);

}  // namespace

void EventRecorder::Record(const Note& note) {
  const std::string ns = kubeapi::NamespaceOf(note.about);
  const base::Time now = clock_.Now();
  const std::string now_text = base::FormatTime(now);
  if (known_.size() > kMostKnown) known_.clear();
  Known& known = known_[kubeapi::UidOf(note.about) + "|" + note.reason + "|" + note.message];
  if (++known.count > 1) {
    if (now - known.written < kShortestPause) return;
    known.written = now;
    client_.Patch(kEvents, ns, known.name, kubeclient::PatchType::kMerge,
                  {{"count", known.count}, {"lastTimestamp", now_text}},
                  [](const base::Result<Json>&) {});
    return;
  }
  known.name = fmt::format("{}.{:x}{:x}", kubeapi::NameOf(note.about),
                           now.time_since_epoch().count(), next_++);
  known.written = now;
  const Json event = {{"apiVersion", "v1"},
                      {"kind", "Event"},
                      {"metadata", {{"name", known.name}, {"namespace", ns}}},
                      {"involvedObject",
                       {{"apiVersion", kubeapi::ApiVersionOf(note.about)},
                        {"kind", kubeapi::KindOf(note.about)},
                        {"namespace", ns},
                        {"name", kubeapi::NameOf(note.about)},
                        {"uid", kubeapi::UidOf(note.about)},
                        {"resourceVersion", kubeapi::ResourceVersionOf(note.about)}}},
                      {"reason", note.reason},
                      {"message", note.message.substr(0, kLongestMessage)},
                      {"type", note.warning ? "Warning" : "Normal"},
                      {"count", 1},
                      {"firstTimestamp", now_text},
                      {"lastTimestamp", now_text},
                      {"source", {{"component", note.component}}},
                      {"reportingComponent", note.component},
                      {"reportingInstance", ""}};
  client_.Create(kEvents, ns, event, [](const base::Result<Json>&) {});
}

}  // namespace isthmus::lab::controllers
