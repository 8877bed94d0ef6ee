#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/strings.h"
#include "http/server.h"
#include "kubeclient/client.h"
#include "tests/ca/ca_fixture.h"

namespace isthmus::ca {

using kubeapi::Json;

/// The least of an API server that the CA needs: objects by path, with list, watch, create,
/// replace, merge patch and delete. What a test wants refused is refused.
class FakeApi {
 public:
  explicit FakeApi(base::Loop& loop) : loop_(loop) {
    server_ = std::make_unique<http::Server>(
        loop, http::ServerOptions{}, [this](std::shared_ptr<http::ServerStream> stream) {
          http::ServerStream* raw = stream.get();
          raw->ReadBody(1 << 20, [this, stream = std::move(stream)](std::string body) {
            Handle(stream, body);
          });
        });
    const base::Status status = server_->Start();
    EXPECT_TRUE(status.ok()) << status.message();
  }

  std::unique_ptr<kubeclient::Client> MakeClient() {
    kubeclient::RestConfig config;
    config.server = "http://127.0.0.1:" + std::to_string(server_->port());
    return Must(kubeclient::Client::Create(loop_, config));
  }

  /// As if somebody else had written: stores and tells watchers.
  void Put(const std::string& path, Json object) {
    const bool is_new = !objects.contains(path);
    object["metadata"]["resourceVersion"] = std::to_string(++version_);
    object["metadata"]["name"] = path.substr(path.rfind('/') + 1);
    if (const size_t at = path.find("/namespaces/");
        at != path.npos && path.find('/', at + 12) != path.npos)
      object["metadata"]["namespace"] = path.substr(at + 12, path.find('/', at + 12) - at - 12);
    objects[path] = object;
    Tell(path, is_new ? "ADDED" : "MODIFIED", object);
  }
  void Remove(const std::string& path) {
    Json object = objects[path];
    object["metadata"]["resourceVersion"] = std::to_string(++version_);
    objects.erase(path);
    Tell(path, "DELETED", object);
  }
  static std::string RootMap(const std::string& ns) {
    return "/api/v1/namespaces/" + ns + "/configmaps/istio-ca-root-cert";
  }
  std::string RootsIn(const std::string& ns) const {
    const auto at = objects.find(RootMap(ns));
    return at == objects.end() ? "" : kubeapi::StringAt(at->second, {"data", "root-cert.pem"});
  }

  std::map<std::string, Json> objects;
  std::map<std::string, int>
      refuse;  ///< "METHOD path" to a status, answered once for each entry made.
  std::vector<std::string> writes;
  std::function<Json(const Json&)> review;  ///< Answers TokenReviews.

 private:
  struct Watch {
    std::string collection;
    std::shared_ptr<http::ServerStream> stream;
  };

  struct Event {
    int version;
    std::string path;
    Json text;
  };

  /// "/api/v1/namespaces/x/configmaps/y" is in "/api/v1/configmaps" as well as in its own
  /// namespace's.
  static bool IsIn(const std::string& path, const std::string& collection) {
    const std::string parent = path.substr(0, path.rfind('/'));
    if (parent == collection) return true;
    const std::string kind = parent.substr(parent.rfind('/'));
    return path.find("/namespaces/") != path.npos && parent.size() > kind.size() + 8 &&
           collection == "/api/v1" + kind && kind != "/namespaces";
  }

  void Tell(const std::string& path, const std::string& type, const Json& object) {
    history_.push_back({version_, path, {{"type", type}, {"object", object}}});
    for (const Watch& watch : watches_)
      if (IsIn(path, watch.collection))
        watch.stream->SendData(base::Slice(Json{{"type", type}, {"object", object}}.dump() + "\n"));
  }

  static void Answer(http::ServerStream& stream, int status, const Json& body) {
    stream.Respond(status, "application/json", body.dump());
  }
  static void Fail(http::ServerStream& stream, int status, const std::string& reason) {
    Answer(stream, status,
           {{"kind", "Status"},
            {"apiVersion", "v1"},
            {"status", "Failure"},
            {"code", status},
            {"reason", reason},
            {"message", reason}});
  }

  void Handle(const std::shared_ptr<http::ServerStream>& stream, const std::string& text) {
    const std::string& method = stream->head().method;
    std::string path = stream->head().path();
    if (method != "GET") writes.push_back(method + " " + path);
    if (const auto at = refuse.find(method + " " + path); at != refuse.end()) {
      const int status = at->second;
      refuse.erase(at);
      return Fail(*stream, status,
                  status == 403   ? "Forbidden"
                  : status == 409 ? "AlreadyExists"
                                  : "InternalError");
    }
    const base::Result<Json> body = text.empty() ? Json() : kubeapi::ParseJson(text);
    if (path.ends_with("/tokenreviews")) return Answer(*stream, 201, review(*body));
    if (method == "POST") {
      std::string name = kubeapi::StringAt(*body, {"metadata", "name"});
      if (name.empty())
        name = kubeapi::StringAt(*body, {"metadata", "generateName"}) + std::to_string(version_);
      return Create(*stream, path + "/" + name, *body);
    }
    if (path.ends_with("/approval")) path.resize(path.rfind('/'));
    const bool is_object = objects.contains(path);
    if (method == "GET" && stream->head().query_value("watch") == "true") {
      stream->SendHeaders(200, {{"content-type", "application/json"}});
      watches_.push_back({path, stream});
      const std::string since = stream->head().query_value("resourceVersion");
      for (const Event& event : history_)
        if (event.version > std::atoi(since.c_str()) && IsIn(event.path, path))
          stream->SendData(base::Slice(event.text.dump() + "\n"));
      return;
    }
    if (method == "GET" && is_object) return Answer(*stream, 200, objects[path]);
    const std::string last = path.substr(path.rfind('/') + 1);
    if (method == "GET" && (last == "namespaces" || last == "configmaps"))
      return List(*stream, path);
    if (!is_object) return Fail(*stream, 404, "NotFound");
    if (method == "DELETE") {
      const Json gone = objects[path];
      Remove(path);
      return Answer(*stream, 200, gone);
    }
    if (method == "PUT") {
      const std::string given = kubeapi::StringAt(*body, {"metadata", "resourceVersion"});
      if (!given.empty() &&
          given != kubeapi::StringAt(objects[path], {"metadata", "resourceVersion"}))
        return Fail(*stream, 409, "Conflict");
      Put(path, *body);
    } else if (method == "PATCH") {
      Json merged = objects[path];
      merged.merge_patch(*body);
      Put(path, merged);
    }
    Answer(*stream, 200, objects[path]);
  }

  void Create(http::ServerStream& stream, const std::string& path, const Json& object) {
    if (objects.contains(path)) return Fail(stream, 409, "AlreadyExists");
    Put(path, object);
    Answer(stream, 201, objects[path]);
  }

  void List(http::ServerStream& stream, const std::string& collection) {
    Json items = Json::array();
    for (const auto& [path, object] : objects)
      if (IsIn(path, collection)) items.push_back(object);
    Answer(stream, 200,
           {{"kind", "List"},
            {"metadata", {{"resourceVersion", std::to_string(version_)}}},
            {"items", items}});
  }

  base::Loop& loop_;
  std::unique_ptr<http::Server> server_;
  std::vector<Watch> watches_;
  std::vector<Event> history_;
  int version_ = 1;
};

}  // namespace isthmus::ca
