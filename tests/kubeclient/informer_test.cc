// The informer against a server that behaves badly on purpose.
#include "kubeclient/informer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "http/server.h"
#include "kubeclient/client.h"
#include "kubeclient/sync.h"

namespace isthmus::kubeclient {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;

const Resource kPods{"", "v1", "pods", "Pod", true};

/// An API server with one list of pods whose every answer the test decides.
class FakeServer {
 public:
  explicit FakeServer(base::Loop& loop, uint16_t port = 0) {
    http::ServerOptions options;
    options.port = port;
    server_ = std::make_unique<http::Server>(
        loop, options, [this](std::shared_ptr<http::ServerStream> stream) { Handle(stream); });
    const base::Status started = server_->Start();
    EXPECT_TRUE(started.ok()) << started.message();
  }

  RestConfig config() const {
    RestConfig config;
    config.server = "http://127.0.0.1:" + std::to_string(server_->port());
    config.request_timeout = 2s;
    return config;
  }
  uint16_t port() const { return server_->port(); }

  void Put(const std::string& name, int version) { pods[name] = version; }
  void Event(const std::string& type, const std::string& name, int version) {
    Json object = {
        {"kind", "Pod"},
        {"metadata",
         {{"name", name}, {"namespace", "n"}, {"resourceVersion", std::to_string(version)}}}};
    Send({{"type", type}, {"object", object}});
  }
  void Send(const Json& event) {
    ASSERT_NE(watch, nullptr);
    watch->SendData(base::Slice(kubeapi::ToJson(event) + "\n"));
  }

  std::map<std::string, int> pods;
  int list_version = 100;
  int fail_lists_with = 0;
  int fail_watches_with = 0;
  std::vector<std::string> requests;
  std::shared_ptr<http::ServerStream> watch;

 private:
  void Handle(std::shared_ptr<http::ServerStream> stream) {
    const bool watching = stream->head().query_value("watch") == "true";
    requests.push_back(watching ? "watch " + stream->head().query_value("resourceVersion")
                                : "list " + stream->head().query_value("continue"));
    const int failure = watching ? fail_watches_with : fail_lists_with;
    if (failure != 0) {
      stream->Respond(failure, "text/plain", "no");
      return;
    }
    if (watching) {
      stream->SendHeaders(200, {{"content-type", "application/json"}});
      watch = std::move(stream);
      return;
    }
    // Pages of one item each, so that continuation is always exercised.
    Json list = {{"kind", "PodList"},
                 {"metadata", {{"resourceVersion", std::to_string(list_version)}}},
                 {"items", Json::array()}};
    const std::string from = stream->head().query_value("continue");
    for (const auto& [name, version] : pods) {
      if (name <= from) continue;
      list["items"].push_back(
          {{"metadata",
            {{"name", name}, {"namespace", "n"}, {"resourceVersion", std::to_string(version)}}}});
      if (name != pods.rbegin()->first) list["metadata"]["continue"] = name;
      break;
    }
    stream->Respond(200, "application/json", kubeapi::ToJson(list));
  }

  std::unique_ptr<http::Server> server_;
};

class InformerTest : public ::testing::Test {
 protected:
  void Start() {
    auto client = Client::Create(loop_, server_->config());
    ASSERT_TRUE(client.ok());
    client_ = std::move(*client);
    InformerEvents events;
    events.changed = [this](const std::string& key, const Json* now) {
      log_.push_back((now == nullptr ? "-" : "+") + key);
    };
    events.synced = [this] { log_.push_back("synced"); };
    events.health = [this](const base::Status& status) { health_.push_back(status.ok()); };
    informer_ =
        std::make_unique<Informer>(loop_, *client_, kPods, "n", ListOptions(), std::move(events));
  }
  bool Until(const std::function<bool()>& done) { return loop_.RunUntil(done, 10s); }
  bool UntilWatch() {
    return Until([this] { return server_->watch != nullptr; });
  }

  base::Loop loop_;
  std::unique_ptr<FakeServer> server_ = std::make_unique<FakeServer>(loop_);
  std::unique_ptr<Client> client_;
  std::vector<std::string> log_;
  std::vector<bool> health_;
  std::unique_ptr<Informer> informer_;
};

TEST_F(InformerTest, ListsAllPagesThenWatches) {
  server_->Put("a", 1);
  server_->Put("b", 2);
  Start();
  ASSERT_TRUE(UntilWatch());
  EXPECT_THAT(log_, ElementsAre("+n/a", "+n/b", "synced"));
  EXPECT_THAT(server_->requests, ElementsAre("list ", "list a", "watch 100"));
  server_->Event("MODIFIED", "a", 101);
  server_->Event("DELETED", "b", 102);
  server_->Event("ADDED", "c", 103);
  ASSERT_TRUE(Until([this] { return log_.size() == 6; }));
  EXPECT_THAT(log_, ElementsAre("+n/a", "+n/b", "synced", "+n/a", "-n/b", "+n/c"));
}

TEST_F(InformerTest, GoneMeansANewListWithTheDifference) {
  server_->Put("a", 1);
  server_->Put("b", 2);
  Start();
  ASSERT_TRUE(UntilWatch());
  server_->pods = {{"b", 2}, {"c", 9}};
  auto watch = std::exchange(server_->watch, nullptr);
  watch->SendData(base::Slice(std::string(
      R"({"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old"}})"
      "\n")));
  ASSERT_TRUE(UntilWatch());
  EXPECT_THAT(log_, ElementsAre("+n/a", "+n/b", "synced", "+n/c", "-n/a"));
  EXPECT_TRUE(health_.empty());
}

TEST_F(InformerTest, BookmarksMoveTheVersionOn) {
  Start();
  ASSERT_TRUE(UntilWatch());
  server_->Send({{"type", "BOOKMARK"},
                 {"object", {{"kind", "Pod"}, {"metadata", {{"resourceVersion", "555"}}}}}});
  auto watch = std::exchange(server_->watch, nullptr);
  watch->SendData(base::Slice(), true);
  ASSERT_TRUE(UntilWatch());
  EXPECT_EQ(server_->requests.back(), "watch 555");
  EXPECT_THAT(log_, ElementsAre("synced"));
}

TEST_F(InformerTest, NothingIsWithdrawnWhileTheServerIsAway) {
  server_->Put("a", 1);
  server_->Put("b", 1);
  Start();
  ASSERT_TRUE(UntilWatch());
  log_.clear();
  const uint16_t port = server_->port();
  server_.reset();
  ASSERT_TRUE(Until([this] { return !health_.empty(); }));
  EXPECT_THAT(health_, ElementsAre(false));
  EXPECT_TRUE(log_.empty());
  EXPECT_GT(informer_->stale_for(), base::Duration::zero());
  server_ = std::make_unique<FakeServer>(loop_, port);
  server_->fail_watches_with = 410;  // It has forgotten the version.
  server_->Put("b", 1);
  ASSERT_TRUE(Until([this] { return !log_.empty(); }));
  server_->fail_watches_with = 0;
  ASSERT_TRUE(UntilWatch());
  EXPECT_THAT(log_, ElementsAre("-n/a"));
  EXPECT_THAT(health_, ElementsAre(false, true));
}

TEST_F(InformerTest, AFailedListWithdrawsNothing) {
  server_->fail_lists_with = 500;
  server_->Put("a", 1);
  Start();
  ASSERT_TRUE(Until([this] { return !health_.empty(); }));
  EXPECT_FALSE(informer_->synced());
  EXPECT_TRUE(log_.empty());
  server_->fail_lists_with = 0;
  ASSERT_TRUE(UntilWatch());
  EXPECT_THAT(log_, ElementsAre("+n/a", "synced"));
  EXPECT_THAT(health_, ElementsAre(false, true));
}

TEST_F(InformerTest, BrokenEventsEndTheWatchOnly) {
  Start();
  ASSERT_TRUE(UntilWatch());
  auto watch = std::exchange(server_->watch, nullptr);
  watch->SendData(base::Slice(std::string("{\"type\":\"ADDED\"}\nnonsense\n")));
  ASSERT_TRUE(UntilWatch());
  server_->Event("ADDED", "c", 103);
  ASSERT_TRUE(Until([this] { return log_.size() == 2; }));
  EXPECT_THAT(log_, ElementsAre("synced", "+n/c"));
}

TEST_F(InformerTest, MayBeDestroyedByItsCallback) {
  server_->Put("a", 1);
  server_->Put("b", 1);
  auto client = Client::Create(loop_, server_->config());
  ASSERT_TRUE(client.ok());
  int calls = 0;
  InformerEvents events;
  events.changed = [&](const std::string&, const Json*) {
    ++calls;
    informer_.reset();
  };
  informer_ =
      std::make_unique<Informer>(loop_, **client, kPods, "n", ListOptions(), std::move(events));
  ASSERT_TRUE(Until([&] { return informer_ == nullptr; }));
  loop_.RunUntil([] { return false; }, 50ms);
  EXPECT_EQ(calls, 1);
}

TEST(Client, RetriesWhenToldToSlowDown) {
  base::Loop loop;
  int requests = 0;
  http::Server server(loop, {}, [&](std::shared_ptr<http::ServerStream> stream) {
    if (++requests == 1) {
      stream->SendHeaders(429, {{"retry-after", "1"}}, true);
      return;
    }
    EXPECT_EQ(stream->head().headers.Get("authorization"), "Bearer secret");
    stream->Respond(200, "application/json", "{\"kind\":\"Pod\"}");
  });
  ASSERT_TRUE(server.Start().ok());
  RestConfig config;
  config.server = "http://127.0.0.1:" + std::to_string(server.port());
  config.token = "secret";
  auto client = Client::Create(loop, config);
  ASSERT_TRUE(client.ok());
  auto pod = Await<Json>(loop, 10s, [&](auto done) { (*client)->Get(kPods, "n", "p", done); });
  EXPECT_TRUE(pod.ok()) << pod.status().message();
  EXPECT_EQ(requests, 2);
}

}  // namespace
}  // namespace isthmus::kubeclient
