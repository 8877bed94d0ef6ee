#include "tests/registry/fake_api_server.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>

#include "base/files.h"
#include "base/strings.h"
#include "config/kinds.h"
#include "kubeapi/meta.h"
#include "kubeapi/selector.h"

namespace isthmus::registry {
namespace {

using kubeapi::Json;

std::string PluralOf(const std::string& kind) {
  if (const config::Kind* row = config::FindKindByName(kind)) return row->plural;
  return base::ToLower(kind) + "s";
}

}  // namespace

FakeApiServer::FakeApiServer(base::Loop& loop) : loop_(loop) { Start(); }

void FakeApiServer::Start() {
  http::ServerOptions options;
  options.port = port_;
  watchers_.clear();
  server_ = std::make_unique<http::Server>(loop_, options,
                                           [this](auto stream) { Handle(std::move(stream)); });
  const base::Status status = server_->Start();
  ASSERT_TRUE(status.ok()) << status.message();
  port_ = server_->port();
}

std::string FakeApiServer::url() const { return fmt::format("http://127.0.0.1:{}", port_); }

std::string FakeApiServer::Kubeconfig(const std::string& token) const {
  return fmt::format(R"(apiVersion: v1
kind: Config
clusters: [{{name: c, cluster: {{server: "{}"}}}}]
users: [{{name: u, user: {{token: {}}}}}]
contexts: [{{name: x, context: {{cluster: c, user: u}}}}]
current-context: x
)",
                     url(), token);
}

void FakeApiServer::PutFile(const std::string& name) {
  auto text = base::ReadFile(std::string(ISTHMUS_SOURCE_DIR) + "/tests/registry/testdata/" + name);
  ASSERT_TRUE(text.ok()) << text.status().message();
  Put(*text);
}

void FakeApiServer::Put(std::string_view yaml) {
  auto objects = kubeapi::ParseYamlStream(yaml);
  ASSERT_TRUE(objects.ok()) << objects.status().message();
  for (Json& object : *objects) {
    const std::string plural = PluralOf(kubeapi::KindOf(object));
    const std::string key = kubeapi::KeyOf(object);
    object["metadata"]["resourceVersion"] = std::to_string(++version_);
    objects_[plural][key] = object;
    for (const auto& watcher : watchers_) {
      if (watcher->plural != plural ||
          !Matches(object, watcher->ns, watcher->labels, watcher->fields))
        continue;
      Send(*watcher, watcher->seen.insert(key).second ? "ADDED" : "MODIFIED", object);
    }
  }
}

void FakeApiServer::Delete(const std::string& kind, const std::string& key) {
  auto& objects = objects_[PluralOf(kind)];
  auto held = objects.find(key);
  ASSERT_TRUE(held != objects.end()) << kind << " " << key;
  held->second["metadata"]["resourceVersion"] = std::to_string(++version_);
  for (const auto& watcher : watchers_)
    if (watcher->plural == PluralOf(kind) && watcher->seen.erase(key) > 0)
      Send(*watcher, "DELETED", held->second);
  deleted_.emplace_back(PluralOf(kind), held->second);
  objects.erase(held);
}

bool FakeApiServer::Matches(const Json& object, const std::string& ns, const std::string& labels,
                            const std::string& fields) {
  auto by_label = kubeapi::LabelSelector::Parse(labels);
  auto by_field = kubeapi::FieldSelector::Parse(fields);
  return (ns.empty() || kubeapi::NamespaceOf(object) == ns) && by_label.ok() &&
         by_label->MatchesObject(object) && by_field.ok() && by_field->Matches(object);
}

void FakeApiServer::Send(Watcher& watcher, const char* type, const Json& object) {
  watcher.stream->SendData(
      base::Slice(kubeapi::ToJson(Json{{"type", type}, {"object", object}}) + "\n"));
}

bool FakeApiServer::HandleObject(const std::string& plural, const std::string& key,
                                 const std::shared_ptr<http::ServerStream>& stream) {
  const std::string method = stream->head().method;
  if (forbidden_.contains(plural)) return false;
  if (method == "PATCH") {
    // Only whole objects, as server-side apply sends them for the first time.
    stream->ReadBody(1 << 20, [this, stream](std::string body) {
      Put(body);
      stream->Respond(200, "application/json", body);
    });
    return true;
  }
  auto& objects = objects_[plural];
  const auto held = objects.find(key);
  if (held == objects.end()) {
    stream->Respond(404, "application/json",
                    R"({"kind":"Status","code":404,"reason":"NotFound","message":"not found"})");
    return true;
  }
  const std::string text = kubeapi::ToJson(held->second);
  if (method == "DELETE") Delete(kubeapi::KindOf(held->second), key);
  stream->Respond(200, "application/json", text);
  return true;
}

const Json* FakeApiServer::Find(const std::string& kind, const std::string& key) const {
  const auto objects = objects_.find(PluralOf(kind));
  if (objects == objects_.end()) return nullptr;
  const auto held = objects->second.find(key);
  return held == objects->second.end() ? nullptr : &held->second;
}

void FakeApiServer::Handle(std::shared_ptr<http::ServerStream> stream) {
  const http::RequestHead& head = stream->head();
  if (hang_) return;
  auto refuse = [&stream](int code, const char* reason) {
    const Json status = {{"kind", "Status"}, {"apiVersion", "v1"}, {"status", "Failure"},
                         {"code", code},     {"reason", reason},   {"message", reason}};
    stream->Respond(code, "application/json", kubeapi::ToJson(status));
  };
  if (!token_.empty() && head.headers.Get("authorization") != "Bearer " + token_)
    return refuse(401, "Unauthorized");
  std::vector<std::string> parts = base::SplitList(head.path(), '/');
  if (const auto at = std::find(parts.begin(), parts.end(), "namespaces");
      parts.end() - at == 4 && HandleObject(*(at + 2), *(at + 1) + "/" + *(at + 3), stream))
    return;
  const std::string plural = parts.back();
  std::string ns;
  if (parts.size() >= 3 && parts[parts.size() - 3] == "namespaces") ns = parts[parts.size() - 2];
  if (forbidden_.contains(plural)) return refuse(403, "Forbidden");
  if (parts[0] == "apis" && parts[1] != "discovery.k8s.io" && !objects_.contains(plural))
    return refuse(404, "NotFound");
  auto watcher = std::make_shared<Watcher>();
  watcher->plural = plural;
  watcher->ns = ns;
  watcher->labels = head.query_value("labelSelector");
  watcher->fields = head.query_value("fieldSelector");
  watcher->stream = stream;
  Json items = Json::array();
  for (const auto& [key, object] : objects_[plural]) {
    if (!Matches(object, ns, watcher->labels, watcher->fields)) continue;
    watcher->seen.insert(key);
    items.push_back(object);
  }
  const std::string watch = head.query_value("watch");
  if (watch != "true" && watch != "1") {
    const Json list = {{"kind", "List"},
                       {"apiVersion", "v1"},
                       {"metadata", {{"resourceVersion", std::to_string(version_)}}},
                       {"items", std::move(items)}};
    return stream->Respond(200, "application/json", kubeapi::ToJson(list));
  }
  stream->SendHeaders(200, {{"content-type", "application/json"}});
  watchers_.push_back(watcher);
  stream->OnClose([this, watcher] { std::erase(watchers_, watcher); });
  // What changed between the list and the watch, and what went.
  const int64_t since = base::ParseInt(head.query_value("resourceVersion")).ok()
                            ? *base::ParseInt(head.query_value("resourceVersion"))
                            : 0;
  for (const auto& [gone, object] : deleted_)
    if (gone == plural && std::stoll(kubeapi::ResourceVersionOf(object)) > since)
      Send(*watcher, "DELETED", object);
  for (const Json& object : items)
    if (std::stoll(kubeapi::ResourceVersionOf(object)) > since) Send(*watcher, "ADDED", object);
}

}  // namespace isthmus::registry
