// The client against a real API server; skipped unless KUBEBUILDER_ASSETS is set.
#include <gtest/gtest.h>

#include "kubeapi/meta.h"
#include "kubeclient/client.h"
#include "kubeclient/informer.h"
#include "kubeclient/sync.h"
#include "tests/real_servers/cluster.h"

namespace isthmus::kubeclient {
namespace {

using base::Code;
using namespace std::chrono_literals;

const Resource kMaps{"", "v1", "configmaps", "ConfigMap", true};

class RealServer : public ::testing::Test {
 protected:
  void SetUp() override {
    cluster_ = RealCluster::Get();
    if (cluster_ == nullptr) GTEST_SKIP() << "KUBEBUILDER_ASSETS is not set";
    auto client = Client::Create(loop_, cluster_->admin());
    ASSERT_TRUE(client.ok()) << client.status().message();
    client_ = std::move(*client);
  }

  base::Result<Json> Call(const std::function<void(Client::Done)>& start) {
    return Await<Json>(loop_, 20s, start);
  }
  Json Map(const std::string& name, const std::string& value) {
    return {{"apiVersion", "v1"},
            {"kind", "ConfigMap"},
            {"metadata", {{"name", name}}},
            {"data", {{"k", value}}}};
  }
  base::Status Create(const std::string& name) {
    return Call([&](auto done) { client_->Create(kMaps, "default", Map(name, "1"), done); })
        .status();
  }

  RealCluster* cluster_ = nullptr;
  base::Loop loop_;
  std::unique_ptr<Client> client_;
};

TEST_F(RealServer, CreatesReadsPatchesDeletes) {
  ASSERT_TRUE(Create("crud").ok());
  EXPECT_EQ(Create("crud"),
            base::Status(Code::kAlreadyExists, "configmaps \"crud\" already exists"));
  auto got = Call([&](auto done) { client_->Get(kMaps, "default", "crud", done); });
  ASSERT_TRUE(got.ok());
  Json stale = *got;
  auto patched = Call([&](auto done) {
    client_->Patch(kMaps, "default", "crud", PatchType::kMerge, {{"data", {{"k", "2"}}}}, done);
  });
  ASSERT_TRUE(patched.ok()) << patched.status().message();
  EXPECT_EQ(kubeapi::StringAt(*patched, {"data", "k"}), "2");
  auto conflict = Call([&](auto done) { client_->Update(kMaps, "default", "crud", stale, done); });
  EXPECT_EQ(conflict.status().code(), Code::kAborted);
  auto applied = Call([&](auto done) {
    client_->Patch(kMaps, "default", "crud", PatchType::kApply, Map("crud", "3"), done);
  });
  ASSERT_TRUE(applied.ok()) << applied.status().message();
  EXPECT_EQ(kubeapi::StringAt(*applied, {"data", "k"}), "3");
  EXPECT_TRUE(Call([&](auto done) { client_->Delete(kMaps, "default", "crud", done); }).ok());
  auto gone = Call([&](auto done) { client_->Get(kMaps, "default", "crud", done); });
  EXPECT_EQ(gone.status(), base::Status(Code::kNotFound, "configmaps \"crud\" not found"));
}

TEST_F(RealServer, TellsWhatIsInvalid) {
  auto bad =
      Call([&](auto done) { client_->Create(kMaps, "default", Map("Not_A_Name", "1"), done); });
  ASSERT_FALSE(bad.ok());
  EXPECT_EQ(bad.status().code(), Code::kInvalidArgument);
  EXPECT_NE(bad.status().message().find("metadata.name"), std::string::npos)
      << bad.status().message();
  RestConfig nobody = cluster_->admin();
  nobody.token = "wrong";
  auto other = Client::Create(loop_, nobody);
  ASSERT_TRUE(other.ok());
  auto refused = Call([&](auto done) { (*other)->Get(kMaps, "default", "x", done); });
  EXPECT_EQ(refused.status().code(), Code::kUnauthenticated) << refused.status().message();
}

TEST_F(RealServer, Discovers) {
  const auto find = [&](const char* version, const char* kind) {
    return Await<Resource>(loop_, 10s, [&](auto done) { client_->Discover(version, kind, done); });
  };
  auto deployment = find("apps/v1", "Deployment");
  ASSERT_TRUE(deployment.ok()) << deployment.status().message();
  EXPECT_EQ(*deployment, (Resource{"apps", "v1", "deployments", "Deployment", true}));
  EXPECT_EQ(find("v1", "Node")->namespaced, false);
  EXPECT_EQ(find("v1", "Nonsense").status().code(), Code::kNotFound);
  EXPECT_EQ(find("none.example.com/v1", "X").status().code(), Code::kNotFound);
}

TEST_F(RealServer, ListsInChunks) {
  constexpr int kCount = 620;
  int left = kCount;
  for (int i = 0; i < kCount; ++i)
    client_->Create(kMaps, "kube-public", Map("m" + std::to_string(i), "x"),
                    [&](base::Result<Json> made) {
                      EXPECT_TRUE(made.ok()) << made.status().message();
                      --left;
                    });
  ASSERT_TRUE(loop_.RunUntil([&] { return left == 0; }, 60s));
  auto list = Call([&](auto done) { client_->List(kMaps, "kube-public", {}, done); });
  ASSERT_TRUE(list.ok()) << list.status().message();
  EXPECT_GE(kubeapi::ItemsAt(*list, {"items"}).size(), static_cast<size_t>(kCount));
  EXPECT_EQ(kubeapi::KindOf(kubeapi::ItemsAt(*list, {"items"})[0]), "ConfigMap");
  auto one = Call([&](auto done) {
    client_->List(kMaps, "kube-public", {"", "metadata.name=m7"}, done);
  });
  EXPECT_EQ(kubeapi::ItemsAt(*one, {"items"}).size(), 1u);
}

TEST_F(RealServer, InformerKeepsUp) {
  std::map<std::string, std::string> seen;
  bool synced = false;
  std::vector<base::Status> health;
  InformerEvents events;
  events.changed = [&](const std::string& key, const Json* now) {
    if (now == nullptr)
      seen.erase(key);
    else
      seen[key] = kubeapi::StringAt(*now, {"data", "k"});
  };
  events.synced = [&] { synced = true; };
  events.health = [&](const base::Status& status) { health.push_back(status); };
  ASSERT_TRUE(Create("before").ok());
  Informer informer(loop_, *client_, kMaps, "default", {}, std::move(events));
  ASSERT_TRUE(loop_.RunUntil([&] { return synced; }, 10s));
  EXPECT_EQ(seen["default/before"], "1");
  ASSERT_TRUE(Create("later").ok());
  EXPECT_TRUE(loop_.RunUntil([&] { return seen.contains("default/later"); }, 10s));
  ASSERT_TRUE(Call([&](auto done) {
                client_->Patch(kMaps, "default", "later", PatchType::kMerge,
                               {{"data", {{"k", "9"}}}}, done);
              }).ok());
  EXPECT_TRUE(loop_.RunUntil([&] { return seen["default/later"] == "9"; }, 10s));
  for (const char* name : {"before", "later"})
    ASSERT_TRUE(Call([&](auto done) { client_->Delete(kMaps, "default", name, done); }).ok());
  EXPECT_TRUE(loop_.RunUntil(
      [&] { return !seen.contains("default/later") && !seen.contains("default/before"); }, 10s));
  EXPECT_TRUE(health.empty());
  EXPECT_EQ(informer.stale_for(), base::Duration::zero());
}

TEST_F(RealServer, InformerOfAnUnknownKindIsEmpty) {
  bool synced = false;
  InformerEvents events;
  events.synced = [&] { synced = true; };
  Informer informer(loop_, *client_, {"none.example.com", "v1", "things", "Thing", true}, "", {},
                    std::move(events));
  EXPECT_TRUE(loop_.RunUntil([&] { return synced; }, 10s));
}

}  // namespace
}  // namespace isthmus::kubeclient
