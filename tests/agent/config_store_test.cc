#include "agent/config_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/files.h"
#include "tests/pki/pki_fixture.h"

namespace isthmus::agent {
namespace {

using pki::Must;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

struct ConfigStoreTest : ::testing::Test {
  std::string folder;
  std::string path;
  void SetUp() override {
    char pattern[] = "/tmp/isthmus-store-XXXXXX";
    folder = mkdtemp(pattern);
    path = folder + "/sub/xds";
  }
  void TearDown() override { std::filesystem::remove_all(folder); }
  std::unique_ptr<ConfigStore> Open() { return Must(ConfigStore::Open(path)); }

  /// A response goes by; `answer`: what Envoy says to it.
  enum Answer { kAck, kNack, kNone };
  void Pass(ConfigStore& store, std::string_view type,
            const std::map<std::string, std::string>& resources,
            const std::vector<std::string>& removed = {}, Answer answer = kAck) {
    std::vector<std::string> wholes;
    for (const auto& [name, value] : resources)
      wholes.push_back(MakeResource(name, "1", MakeAny(type, value)));
    const std::string nonce = std::to_string(++nonce_);
    const std::string message = MakeXdsResponse(XdsForm::kDelta, type, nonce, "v", wholes, removed);
    store.Stage(Must(ParseXdsResponse(XdsForm::kDelta, message)));
    if (answer == kAck) store.Commit(type, nonce);
    if (answer == kNack) store.Drop(type, nonce);
  }
  static std::string ValueOf(const ConfigStore& store, std::string_view type,
                             std::string_view name) {
    const std::string whole = store.Read(type, name);
    const std::string message = MakeXdsResponse(XdsForm::kDelta, type, "", "", {whole});
    const XdsResponse response = Must(ParseXdsResponse(XdsForm::kDelta, message));
    return std::string(AnyValue(response.resources.at(0).any));
  }

 private:
  int nonce_ = 0;
};

TEST_F(ConfigStoreTest, AcknowledgedResourcesSurviveARestart) {
  {
    auto store = Open();
    EXPECT_TRUE(store->empty());
    Pass(*store, kClusterType, {{"a", "one"}, {"b", "two"}});
    Pass(*store, kListenerType, {{"l", "listener"}});
    Pass(*store, kClusterType, {{"b", "two again"}}, {"a"});
  }
  auto store = Open();
  EXPECT_THAT(store->Names(kClusterType), ElementsAre("b"));
  EXPECT_EQ(ValueOf(*store, kClusterType, "b"), "two again");
  EXPECT_EQ(ValueOf(*store, kListenerType, "l"), "listener");
  EXPECT_EQ(store->Read(kClusterType, "a"), "");
}

TEST_F(ConfigStoreTest, RejectedAndUnansweredResponsesDoNotCount) {
  {
    auto store = Open();
    Pass(*store, kClusterType, {{"a", "good"}});
    Pass(*store, kClusterType, {{"a", "bad"}}, {}, kNack);
    Pass(*store, kClusterType, {{"a", "unanswered"}}, {}, kNone);
    EXPECT_EQ(ValueOf(*store, kClusterType, "a"), "good");
  }
  EXPECT_EQ(ValueOf(*Open(), kClusterType, "a"), "good");
}

TEST_F(ConfigStoreTest, SecretsAreNeverOnDisk) {
  auto store = Open();
  Pass(*store, kSecretType, {{"kubernetes://gateway-tls", "PRIVATE KEY"}});
  EXPECT_TRUE(store->empty());
  EXPECT_EQ(Must(base::ReadFile(path)).find("PRIVATE KEY"), std::string::npos);
}

TEST_F(ConfigStoreTest, EveryCutOfTheFileKeepsWhatWasWhole) {
  {
    auto store = Open();
    Pass(*store, kClusterType, {{"a", "one"}});
    Pass(*store, kClusterType, {{"a", "two"}});
  }
  const std::string content = Must(base::ReadFile(path));
  for (size_t size = 0; size <= content.size(); ++size) {
    std::ofstream(path, std::ios::trunc) << content.substr(0, size);
    auto store = Open();
    if (store->empty()) continue;
    const std::string value = ValueOf(*store, kClusterType, "a");
    EXPECT_TRUE(value == "one" || value == "two") << size << value;
    // And it goes on from there.
    Pass(*store, kClusterType, {{"a", "three"}});
    EXPECT_EQ(ValueOf(*Open(), kClusterType, "a"), "three") << size;
  }
}

TEST_F(ConfigStoreTest, GarbageIsReplaced) {
  std::filesystem::create_directories(folder + "/sub");
  std::ofstream(path) << "not ours at all";
  auto store = Open();
  EXPECT_TRUE(store->empty());
  Pass(*store, kClusterType, {{"a", "one"}});
  EXPECT_EQ(ValueOf(*Open(), kClusterType, "a"), "one");
}

TEST_F(ConfigStoreTest, TheFileDoesNotGrowForEver) {
  auto store = Open();
  const std::string big(100 << 10, 'x');
  for (int i = 0; i < 60; ++i)
    Pass(*store, kClusterType, {{"a", big + std::to_string(i)}, {"b", "small"}});
  EXPECT_LT(store->file_size(), 2u << 20);
  EXPECT_EQ(ValueOf(*store, kClusterType, "a"), big + "59");
  EXPECT_EQ(ValueOf(*store, kClusterType, "b"), "small");
  store.reset();
  EXPECT_EQ(ValueOf(*Open(), kClusterType, "a"), big + "59");
}

TEST_F(ConfigStoreTest, AFolderThatCannotBeMadeIsAnError) {
  path = "/proc/no/such";
  EXPECT_FALSE(ConfigStore::Open(path).ok());
}

}  // namespace
}  // namespace isthmus::agent
