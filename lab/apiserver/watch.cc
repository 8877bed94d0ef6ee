#include "lab/apiserver/watch.h"

#include <algorithm>
#include <set>

#include "kubeapi/meta.h"
#include "lab/apiserver/json_path.h"

namespace isthmus::lab::apiserver {
namespace {

const std::map<std::string, std::set<std::string>, std::less<>>& SelectableFields() {
  static const std::map<std::string, std::set<std::string>, std::less<>> fields = {
      {"pods",
       {"spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName",
        "spec.hostNetwork", "status.phase", "status.podIP", "status.podIPs",
        "status.nominatedNodeName"}},
      {"events",
       {"involvedObject.kind", "involvedObject.namespace", "involvedObject.name",
        "involvedObject.uid", "involvedObject.apiVersion", "involvedObject.resourceVersion",
        "involvedObject.fieldPath", "reason", "reportingComponent", "source", "type"}},
      {"events.events.k8s.io",
       {"regarding.kind", "regarding.namespace", "regarding.name", "regarding.uid",
        "regarding.apiVersion", "regarding.fieldPath", "reason", "reportingController", "type"}},
      {"secrets", {"type"}},
      {"nodes", {"spec.unschedulable"}},
      {"namespaces", {"status.phase"}},
      {"services", {"spec.clusterIP", "spec.type"}},
      {"replicationcontrollers", {"status.replicas"}},
      {"replicasets.apps", {"status.replicas"}},
      {"jobs.batch", {"status.successful"}},
      {"certificatesigningrequests.certificates.k8s.io", {"spec.signerName"}},
  };
  return fields;
}

bool Knows(const Kind& kind, const KindVersion& version, const std::string& path) {
  if (path == "metadata.name" || path == "metadata.namespace") return true;
  const auto& table = SelectableFields();
  auto it = table.find(kind.resource_key());
  if (it != table.end() && it->second.count(path)) return true;
  return std::find(version.selectable_fields.begin(), version.selectable_fields.end(),
                   "." + path) != version.selectable_fields.end();
}

}  // namespace

Outcome<Filter> Filter::Of(const Request& request, const RequestInfo& info, const Kind& kind,
                           const KindVersion& version) {
  Filter filter;
  filter.ns = kind.namespaced ? info.ns : "";
  auto labels = kubeapi::LabelSelector::Parse(request.Query("labelSelector"));
  if (!labels.ok())
    return kubeapi::BadRequest("unable to parse requirement: " + labels.status().message());
  filter.labels = std::move(*labels);
  std::string text = request.Query("fieldSelector");
  if (!info.name.empty())
    text += (text.empty() ? "" : ",") + std::string("metadata.name=") + info.name;
  auto fields = kubeapi::FieldSelector::Parse(text);
  if (!fields.ok()) return kubeapi::BadRequest(fields.status().message());
  for (const auto& requirement : fields->requirements())
    if (!Knows(kind, version, requirement.path))
      return kubeapi::BadRequest(fmt::format(
          "Unable to find \"{}\" that match label selector \"{}\", field selector \"{}\": "
          "field label not supported: {}",
          kubeapi::Resource{kind.group, version.name, kind.plural, kind.kind}.api_version() +
              ", Resource=" + kind.plural,
          request.Query("labelSelector"), text, requirement.path));
  filter.fields = std::move(*fields);
  return filter;
}

bool Filter::MatchesKey(const ObjectKey& key) const {
  if (!ns.empty() && key.ns != ns) return false;
  if (const std::string* name = fields.Exact("metadata.name"); name && *name != key.name)
    return false;
  if (const std::string* in = fields.Exact("metadata.namespace"); in && *in != key.ns) return false;
  return true;
}

bool Filter::Matches(const Json& object) const {
  if (!labels.empty() && !labels.MatchesObject(object)) return false;
  for (const auto& requirement : fields.requirements()) {
    std::string value;
    if (requirement.path == "source") {
      value = kubeapi::StringAt(object, {"source", "component"});
    } else {
      const auto found = EvaluatePath(object, requirement.path);
      if (!found.empty()) value = PlainText(*found[0]);
    }
    if (value.empty() &&
        (requirement.path == "spec.unschedulable" || requirement.path == "spec.hostNetwork"))
      value = "false";
    if (value.empty() && requirement.path == "status.replicas") value = "0";
    if ((value == requirement.value) != requirement.equal) return false;
  }
  return true;
}

Watch::Watch(const Engine& engine, KindPtr kind, const KindVersion* version, Filter filter,
             Output output)
    : engine_(engine),
      kind_(std::move(kind)),
      version_(version),
      filter_(std::move(filter)),
      output_(std::move(output)),
      storage_key_(StorageKey(*kind_)) {}

void Watch::Run(std::function<void(base::Slice)> send, std::function<void()> end) {
  send_ = std::move(send);
  const auto self = shared_from_this();
  if (start_.present) {
    engine_.store.List(
        storage_key_, filter_.ns, std::nullopt, [&](const ObjectKey& key, std::string_view text) {
          if (!filter_.MatchesKey(key)) return true;
          if (!filter_.needs_object() || filter_.Matches(engine_.Decode(*kind_, *version_, text)))
            Send("ADDED", text);
          return true;
        });
    if (start_.mark_end) SendBookmark(true);
  } else if (!engine_.store.Replay(start_.version,
                                   [this](const StoreEvent& event) { OnEvent(event); })) {
    const kubeapi::ApiError error = kubeapi::Expired(
        fmt::format("too old resource version: {} ({})", start_.version, engine_.store.version()));
    send_(base::Slice(Json{{"type", "ERROR"}, {"object", error.ToJson()}}.dump() + "\n"));
    end();
    return;
  }
  std::weak_ptr<Watch> weak = self;
  subscription_ = engine_.store.Observe([weak](const StoreEvent& event) {
    if (auto watch = weak.lock()) watch->OnEvent(event);
  });
}

void Watch::OnEvent(const StoreEvent& event) {
  if (event.key.resource != storage_key_ || !filter_.MatchesKey(event.key)) return;
  using Kind = StoreEvent::Kind;
  const char* type = event.kind == Kind::kAdded      ? "ADDED"
                     : event.kind == Kind::kModified ? "MODIFIED"
                                                     : "DELETED";
  if (filter_.needs_object()) {
    const bool is = Picks(event.parsed(), *event.object);
    if (event.kind == Kind::kAdded) {
      if (!is) return;
    } else if (event.kind == Kind::kDeleted) {
      if (!is && !(event.previous && Picks(event.parsed_previous(), *event.previous))) return;
    } else {
      // An object that comes to match is added for this watch, and one that no longer does is
      // deleted.
      const bool was = event.previous && Picks(event.parsed_previous(), *event.previous);
      if (!is && !was) return;
      type = is && was ? "MODIFIED" : is ? "ADDED" : "DELETED";
      if (!is) {
        // It leaves as it last was here, under the version at which it left.
        Json last = event.parsed_previous();
        last["metadata"]["resourceVersion"] = kubeapi::ResourceVersionOf(event.parsed());
        return Send(type, last.dump());
      }
    }
  }
  Send(type, *event.object);
}

bool Watch::Picks(const Json& parsed, std::string_view stored) const {
  return HasConversion(*kind_, *version_)
             ? filter_.Matches(engine_.Decode(*kind_, *version_, stored))
             : filter_.Matches(parsed);
}

void Watch::Send(const char* type, std::string_view stored) {
  std::string line = "{\"type\":\"";
  line.append(type).append("\",\"object\":");
  line += output_.Render(engine_, *kind_, *version_, stored, !columns_sent_);
  line += "}\n";
  columns_sent_ = true;
  send_(base::Slice(std::move(line)));
}

void Watch::Bookmark() {
  if (bookmarks && send_) SendBookmark(false);
}

void Watch::SendBookmark(bool initial_end) {
  Json object = {{"kind", kind_->kind},
                 {"apiVersion", kind_->ApiVersion(*version_)},
                 {"metadata",
                  {{"resourceVersion", std::to_string(engine_.store.version())},
                   {"creationTimestamp", nullptr}}}};
  if (initial_end) object["metadata"]["annotations"]["k8s.io/initial-events-end"] = "true";
  if (output_.form == Output::Form::kPartial) {
    object["kind"] = "PartialObjectMetadata";
    object["apiVersion"] = "meta.k8s.io/v1";
  } else if (output_.form == Output::Form::kTable) {
    Json table = {{"kind", "Table"},
                  {"apiVersion", "meta.k8s.io/v1"},
                  {"metadata", {{"resourceVersion", object["metadata"]["resourceVersion"]}}},
                  {"columnDefinitions", nullptr},
                  {"rows", Json::array({{{"cells", Json::array()}, {"object", object}}})}};
    object = std::move(table);
  }
  send_(base::Slice(Json{{"type", "BOOKMARK"}, {"object", std::move(object)}}.dump() + "\n"));
}

}  // namespace isthmus::lab::apiserver
