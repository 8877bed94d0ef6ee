#include "kubeclient/watch.h"

#include <fmt/format.h>

#include <random>
#include <utility>

#include "kubeapi/status.h"

namespace isthmus::kubeclient {
namespace {

using base::Code;
using base::Status;

/// A single object is at most about 1.5 MB in etcd; this leaves room for JSON.
constexpr size_t kMaxLine = 32u << 20;
constexpr int kShortestWatch = 300;

/// Spread, so that many watches do not end together.
int WatchSeconds() {
  static thread_local std::minstd_rand random(std::random_device{}());
  return kShortestWatch + static_cast<int>(random() % kShortestWatch);
}

}  // namespace

struct Watch::Impl : std::enable_shared_from_this<Watch::Impl> {
  Events events;
  std::shared_ptr<http::ClientStream> stream;
  base::Timer deadline;
  std::string buffer;
  std::string error_body;
  int status = 0;
  bool over = false;

  void OnHead(const http::ResponseHead& head) {
    status = head.status;
    if (status == 200 && events.open) events.open();
  }

  void OnData(std::string_view data) {
    if (status != 200) {
      if (error_body.size() < 64 * 1024) error_body += data;
      return;
    }
    buffer += data;
    size_t start = 0;
    while (!over) {
      const size_t end = buffer.find('\n', start);
      if (end == buffer.npos) break;
      OnLine(std::string_view(buffer).substr(start, end - start));
      start = end + 1;
    }
    if (over) return;
    buffer.erase(0, start);
    if (buffer.size() > kMaxLine)
      Close(Status(Code::kResourceExhausted, "a watch event is too large"));
  }

  void OnLine(std::string_view line) {
    if (line.empty()) return;
    auto json = kubeapi::ParseJson(line);
    if (!json.ok()) return Close(json.status().In("watch event"));
    const std::string type = kubeapi::StringAt(*json, {"type"});
    Json* object = kubeapi::FindMutable(*json, {"object"});
    if (object == nullptr || !object->is_object())
      return Close(Status(Code::kDataLoss, "a watch event without object"));
    if (type == "ERROR") return Close(kubeapi::FromStatusObject(500, *object).ToStatus());
    WatchEvent event;
    if (type == "ADDED")
      event.type = WatchEvent::Type::kAdded;
    else if (type == "MODIFIED")
      event.type = WatchEvent::Type::kModified;
    else if (type == "DELETED")
      event.type = WatchEvent::Type::kDeleted;
    else if (type == "BOOKMARK")
      event.type = WatchEvent::Type::kBookmark;
    else
      return;
    event.object = std::move(*object);
    events.event(std::move(event));
  }

  void OnClose(Status reason) {
    if (status >= 300) return Close(kubeapi::ParseApiError(status, error_body).ToStatus());
    Close(std::move(reason));
  }

  void Close(Status reason) {
    if (over) return;
    over = true;
    deadline.Cancel();
    if (stream) stream->Cancel();
    if (events.closed) events.closed(std::move(reason));
  }
};

Watch::Watch(base::Loop& loop, Client& client, const Resource& resource, std::string_view ns,
             const ListOptions& options, std::string_view resource_version, Events events)
    : impl_(std::make_shared<Impl>()) {
  impl_->events = std::move(events);
  const int lasts = WatchSeconds();
  http::RequestHead head;
  head.target = fmt::format("{}?watch=true&allowWatchBookmarks=true&timeoutSeconds={}",
                            resource.Path(http::UrlEncode(ns)), lasts);
  if (!resource_version.empty())
    head.target += "&resourceVersion=" + http::UrlEncode(resource_version);
  if (!options.label_selector.empty())
    head.target += "&labelSelector=" + http::UrlEncode(options.label_selector);
  if (!options.field_selector.empty())
    head.target += "&fieldSelector=" + http::UrlEncode(options.field_selector);
  head.headers.Set("accept", "application/json");
  http::ClientEvents stream_events;
  const std::weak_ptr<Impl> weak = impl_;
  stream_events.head = [weak](http::ResponseHead response) {
    if (auto self = weak.lock(); self && !self->over) self->OnHead(response);
  };
  stream_events.data = [weak](std::string_view data) {
    if (auto self = weak.lock(); self && !self->over) self->OnData(data);
  };
  stream_events.close = [weak](Status reason) {
    if (auto self = weak.lock()) self->OnClose(std::move(reason));
  };
  // A server that neither speaks nor ends the watch in time is taken for dead.
  impl_->deadline = base::Timer::After(loop, std::chrono::seconds(lasts + 30), [weak] {
    if (auto self = weak.lock())
      self->Close(Status(Code::kDeadlineExceeded, "the watch did not end in time"));
  });
  impl_->stream = client.Stream(std::move(head), std::move(stream_events));
}

Watch::~Watch() {
  impl_->over = true;
  impl_->deadline.Cancel();
  if (impl_->stream) impl_->stream->Cancel();
}

}  // namespace isthmus::kubeclient
