#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "lab/apiserver/handler.h"
#include "lab/apiserver/tokens.h"
#include "lab/apiserver/watch.h"

namespace isthmus::lab::apiserver {

/// A whole API server without sockets, on a store in memory and a clock that stands still.
class ApiTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto store = Store::Open(":memory:");
    ASSERT_TRUE(store.ok()) << store.status().message();
    store_ = std::move(*store);
    auto handler = Handler::Create(*store_, clock_, options_);
    ASSERT_TRUE(handler.ok()) << handler.status().message();
    api_ = std::move(*handler);
    api_->Bootstrap("10.0.0.1", 6443);
    Post("/api/v1/namespaces/default/serviceaccounts", {{"metadata", {{"name", "default"}}}});
  }

  static Json Parse(const Response& response) { return Json::parse(response.body, nullptr, false); }

  Response Send(Request request) {
    const size_t question = request.path.find('?');
    if (question != std::string::npos) {
      std::string query = request.path.substr(question + 1);
      request.path.resize(question);
      while (!query.empty()) {
        const size_t end = std::min(query.find('&'), query.size());
        const std::string pair = query.substr(0, end);
        const size_t equal = std::min(pair.find('='), pair.size());
        request.query.emplace_back(pair.substr(0, equal),
                                   equal < pair.size() ? pair.substr(equal + 1) : "");
        query.erase(0, std::min(end + 1, query.size()));
      }
    }
    if (request.user.name == "system:anonymous") request.user = admin_;
    std::optional<Response> out;
    api_->Handle(request, [&](Response response) { out = std::move(response); });
    EXPECT_TRUE(out.has_value()) << request.method << " " << request.path << " was not answered";
    return out ? std::move(*out) : Response{};
  }
  Response Get(const std::string& path, const std::string& accept = "application/json") {
    return Send({"GET", path, {}, {{"accept", accept}}, "", User{}});
  }
  Response Post(const std::string& path, const Json& body) {
    return Send({"POST", path, {}, {{"content-type", "application/json"}}, body.dump(), User{}});
  }
  Response Put(const std::string& path, const Json& body) {
    return Send({"PUT", path, {}, {{"content-type", "application/json"}}, body.dump(), User{}});
  }
  Response Patch(const std::string& path, const Json& body,
                 const std::string& type = "application/strategic-merge-patch+json") {
    return Send({"PATCH",
                 path,
                 {},
                 {{"content-type", type}, {"user-agent", "tester/1"}},
                 body.dump(),
                 User{}});
  }
  Response Apply(const std::string& path, const Json& body, const std::string& manager,
                 bool force = false) {
    return Patch(path + "?fieldManager=" + manager + (force ? "&force=true" : ""), body,
                 "application/apply-patch+yaml");
  }
  Response Delete(const std::string& path, const Json& options = Json()) {
    return Send({"DELETE",
                 path,
                 {},
                 {{"content-type", "application/json"}},
                 options.is_null() ? "" : options.dump(),
                 User{}});
  }

  static Json PodSpec(const std::string& image = "nginx") {
    return {{"containers", Json::array({{{"name", "a"}, {"image", image}}})}};
  }
  static Json Pod(const std::string& name, Json labels = Json::object()) {
    return {{"apiVersion", "v1"},
            {"kind", "Pod"},
            {"metadata", {{"name", name}, {"labels", std::move(labels)}}},
            {"spec", PodSpec()}};
  }
  static Json Deployment(const std::string& name, int replicas = 1) {
    return {{"apiVersion", "apps/v1"},
            {"kind", "Deployment"},
            {"metadata", {{"name", name}}},
            {"spec",
             {{"replicas", replicas},
              {"selector", {{"matchLabels", {{"app", name}}}}},
              {"template", {{"metadata", {{"labels", {{"app", name}}}}}, {"spec", PodSpec()}}}}}};
  }

  /// A watch whose events gather in a list.
  struct Seen {
    std::shared_ptr<Watch> watch;
    std::vector<Json> events;
    bool ended = false;
    std::string Types() const {
      std::string out;
      for (const Json& event : events)
        out += (out.empty() ? "" : " ") + event["type"].get<std::string>();
      return out;
    }
  };
  std::shared_ptr<Seen> StartWatch(const std::string& path,
                                   const std::string& accept = "application/json") {
    Response response = Get(path, accept);
    EXPECT_EQ(response.status, 200) << response.body;
    auto seen = std::make_shared<Seen>();
    seen->watch = response.watch;
    EXPECT_TRUE(seen->watch);
    if (seen->watch)
      seen->watch->Run(
          [raw = seen.get()](base::Slice line) { raw->events.push_back(Json::parse(line.view())); },
          [raw = seen.get()] { raw->ended = true; });
    return seen;
  }

  HandlerOptions options_;
  base::ManualClock clock_{base::Time(std::chrono::seconds(1795000000))};
  std::unique_ptr<Store> store_;
  std::unique_ptr<Handler> api_;
  User admin_{"admin", "", {"system:masters", "system:authenticated"}, {}};
};

inline constexpr char kPods[] = "/api/v1/namespaces/default/pods";
inline constexpr char kServices[] = "/api/v1/namespaces/default/services";
inline constexpr char kDeployments[] = "/apis/apps/v1/namespaces/default/deployments";
inline constexpr char kConfigMaps[] = "/api/v1/namespaces/default/configmaps";

}  // namespace isthmus::lab::apiserver
