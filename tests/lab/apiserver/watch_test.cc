#include <unistd.h>

#include "tests/lab/apiserver/api_fixture.h"

namespace isthmus::lab::apiserver {
namespace {

class WatchTest : public ApiTest {
 protected:
  void Make(const std::string& name, const std::string& color = "") {
    Json map = {{"metadata", {{"name", name}}}};
    if (!color.empty()) map["metadata"]["labels"]["color"] = color;
    ASSERT_EQ(Post(kConfigMaps, map).status, 201);
  }
  void Paint(const std::string& name, const std::string& color) {
    ASSERT_EQ(
        Patch(std::string(kConfigMaps) + "/" + name,
              {{"metadata", {{"labels", {{"color", color}}}}}}, "application/merge-patch+json")
            .status,
        200);
  }
};

TEST_F(WatchTest, ReplaysFromAVersionAndGoesOn) {
  Make("a");
  const std::string from = std::to_string(store_->version());
  Make("b");
  auto seen = StartWatch(std::string(kConfigMaps) + "?watch=true&resourceVersion=" + from);
  EXPECT_EQ(seen->Types(), "ADDED");
  Paint("b", "red");
  ASSERT_EQ(Delete(std::string(kConfigMaps) + "/b").status, 200);
  EXPECT_EQ(seen->Types(), "ADDED MODIFIED DELETED");
  const int64_t deleted =
      std::stoll(seen->events[2]["object"]["metadata"]["resourceVersion"].get<std::string>());
  EXPECT_EQ(deleted, store_->version()) << "a deletion has a version of its own";
}

TEST_F(WatchTest, VersionZeroBringsWhatIsThere) {
  Make("a");
  Make("b");
  auto seen = StartWatch(std::string(kConfigMaps) + "?watch=true&resourceVersion=0");
  EXPECT_EQ(seen->Types(), "ADDED ADDED");
}

TEST_F(WatchTest, SelectorsTurnChangesIntoArrivalsAndDepartures) {
  Make("a");
  auto seen = StartWatch(std::string(kConfigMaps) +
                         "?watch=true&resourceVersion=0&labelSelector=color=red");
  EXPECT_EQ(seen->Types(), "");
  Paint("a", "red");
  Paint("a", "red");
  Paint("a", "blue");
  EXPECT_EQ(seen->Types(), "ADDED DELETED");
  EXPECT_EQ(seen->events[1]["object"]["metadata"]["labels"]["color"], "red")
      << "it leaves as it last was here";
  EXPECT_EQ(seen->events[1]["object"]["metadata"]["resourceVersion"],
            std::to_string(store_->version()));
  Make("b", "red");
  ASSERT_EQ(Delete(std::string(kConfigMaps) + "/b").status, 200);
  EXPECT_EQ(seen->Types(), "ADDED DELETED ADDED DELETED");
}

TEST_F(WatchTest, ByNameAndNamespace) {
  auto seen = StartWatch(std::string(kConfigMaps) +
                         "?watch=true&resourceVersion=0&fieldSelector=metadata.name=a");
  Make("a");
  Make("b");
  Post("/api/v1/namespaces/kube-system/configmaps", {{"metadata", {{"name", "a"}}}});
  EXPECT_EQ(seen->Types(), "ADDED");
}

TEST_F(WatchTest, AnOldVersionIsGone) {
  auto store = Store::Open(":memory:", 2000);
  ASSERT_TRUE(store.ok());
  api_.reset();
  store_ = std::move(*store);
  api_ = std::move(*Handler::Create(*store_, clock_, options_));
  api_->Bootstrap("10.0.0.1", 6443);
  auto seen = StartWatch(std::string(kConfigMaps) + "?watch=true&resourceVersion=2");
  ASSERT_EQ(seen->Types(), "ERROR");
  EXPECT_EQ(seen->events[0]["object"]["code"], 410);
  EXPECT_EQ(seen->events[0]["object"]["reason"], "Expired");
  EXPECT_TRUE(seen->ended);
}

TEST_F(WatchTest, BookmarksTellHowFarItGot) {
  auto seen = StartWatch(std::string(kConfigMaps) +
                         "?watch=true&allowWatchBookmarks=true&sendInitialEvents=true&"
                         "resourceVersionMatch=NotOlderThan");
  ASSERT_EQ(seen->Types(), "BOOKMARK");
  EXPECT_EQ(seen->events[0]["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"],
            "true");
  Post("/api/v1/namespaces/default/secrets", {{"metadata", {{"name", "s"}}}});
  seen->watch->Bookmark();
  EXPECT_EQ(seen->events[1]["object"]["metadata"]["resourceVersion"],
            std::to_string(store_->version()));
}

TEST_F(WatchTest, TablesBringTheirColumnsOnce) {
  auto seen = StartWatch(std::string(kConfigMaps) + "?watch=true&resourceVersion=0",
                         "application/json;as=Table;v=v1;g=meta.k8s.io,application/json");
  Make("a");
  Make("b");
  ASSERT_EQ(seen->events.size(), 2u);
  EXPECT_EQ(seen->events[0]["object"]["kind"], "Table");
  EXPECT_EQ(seen->events[0]["object"]["columnDefinitions"][0]["name"], "Name");
  EXPECT_TRUE(seen->events[1]["object"]["columnDefinitions"].is_null());
  EXPECT_EQ(seen->events[1]["object"]["rows"][0]["cells"][0], "b");
}

TEST_F(WatchTest, ListsComeInChunksAndRememberTheirVersion) {
  for (const char* name : {"a", "b", "c", "d", "e"}) Make(name);
  const Json first = Parse(Get(std::string(kConfigMaps) + "?limit=2"));
  EXPECT_EQ(first["items"].size(), 2u);
  EXPECT_EQ(first["metadata"]["remainingItemCount"], 3);
  Make("f");
  const Json second = Parse(Get(std::string(kConfigMaps) + "?limit=2&continue=" +
                                first["metadata"]["continue"].get<std::string>()));
  EXPECT_EQ(second["items"][0]["metadata"]["name"], "c");
  EXPECT_EQ(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
  EXPECT_EQ(Get(std::string(kConfigMaps) + "?continue=nonsense").status, 400);
}

TEST_F(WatchTest, FieldSelectorsKnowTheirKind) {
  Post(kPods, Pod("a"));
  EXPECT_EQ(Parse(Get(std::string(kPods) + "?fieldSelector=status.phase=Running"))["items"].size(),
            0u);
  EXPECT_EQ(Parse(Get(std::string(kPods) + "?fieldSelector=status.phase!=Running"))["items"].size(),
            1u);
  EXPECT_EQ(Get(std::string(kPods) + "?fieldSelector=spec.color=red").status, 400);
  EXPECT_EQ(Get(std::string(kPods) + "?labelSelector=a in (").status, 400);
}

TEST(StoreTest, SurvivesReopeningAndForgetsItsHistory) {
  const std::string path = ::testing::TempDir() + "/isthmus-store-" + std::to_string(::getpid());
  for (const char* end : {"", "-wal", "-shm"}) ::unlink((path + end).c_str());
  int64_t version = 0;
  {
    auto store = Store::Open(path);
    ASSERT_TRUE(store.ok()) << store.status().message();
    Json object = {{"apiVersion", "v1"}, {"kind", "ConfigMap"}, {"metadata", {{"name", "a"}}}};
    ASSERT_TRUE((*store)->Put({"configmaps", "default", "a"}, &object, nullptr).ok());
    EXPECT_EQ(object["kind"], "ConfigMap");
    version = (*store)->version();
  }
  auto store = Store::Open(path);
  ASSERT_TRUE(store.ok());
  EXPECT_EQ((*store)->version(), version);
  EXPECT_TRUE((*store)->Get({"configmaps", "default", "a"}).has_value());
  EXPECT_TRUE((*store)->Replay(version, [](const StoreEvent&) { FAIL(); }));
  EXPECT_FALSE((*store)->Replay(version - 1, [](const StoreEvent&) {}));
  for (const char* end : {"", "-wal", "-shm"}) ::unlink((path + end).c_str());
}

TEST(StoreTest, AnObserverThatWritesKeepsTheOrderForOthers) {
  auto opened = Store::Open(":memory:");
  ASSERT_TRUE(opened.ok());
  Store& store = **opened;
  std::vector<int64_t> versions;
  auto late = store.Observe([&](const StoreEvent& event) { versions.push_back(event.version); });
  auto writer = store.Observe([&](const StoreEvent& event) {
    if (event.key.name != "a") return;
    Json other = {{"metadata", {{"name", "b"}}}};
    (void)store.Put({"x", "", "b"}, &other, nullptr);
  });
  Json object = {{"metadata", {{"name", "a"}}}};
  ASSERT_TRUE(store.Put({"x", "", "a"}, &object, nullptr).ok());
  EXPECT_EQ(versions, (std::vector<int64_t>{2, 3}));
}

}  // namespace
}  // namespace isthmus::lab::apiserver
