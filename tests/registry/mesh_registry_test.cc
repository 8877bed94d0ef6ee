#include "registry/mesh_registry.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "base/encoding.h"
#include "base/files.h"
#include "base/log.h"
#include "istio/mesh/v1alpha1/config.pb.h"
#include "tests/registry/fake_api_server.h"
#include "tests/registry/world.h"

namespace isthmus::registry {
namespace {

using namespace std::chrono_literals;
using model::ClusterId;

class MeshRegistryTest : public testing::Test {
 protected:
  MeshRegistryTest() : own_(loop_), remote_(loop_) {
    base::SetLogLevel(base::LogLevel::kNone);
    own_.PutFile("cluster1.yaml");
    remote_.PutFile("cluster2.yaml");
    options_.cluster_id = ClusterId("cluster1");
    folder_ =
        std::filesystem::temp_directory_path() / ("config-registry-" + std::to_string(::getpid()));
    std::filesystem::remove_all(folder_);
  }
  ~MeshRegistryTest() override {
    registry_.reset();
    std::filesystem::remove_all(folder_);
  }

  void Start() {
    registry_.reset();
    auto config =
        kubeclient::ParseKubeconfig(own_.Kubeconfig(), "", kubeclient::KubeconfigTrust::kOwn);
    ASSERT_TRUE(config.ok()) << config.status().message();
    auto client = kubeclient::Client::Create(loop_, *config);
    ASSERT_TRUE(client.ok()) << client.status().message();
    client_ = std::move(*client);
    snapshots_ = 0;
    registry_ =
        std::make_unique<MeshRegistry>(loop_, *client_, clock_, metrics_, options_,
                                       [this](auto snapshot, const model::ChangeSet& changes) {
                                         ++snapshots_;
                                         snapshot_ = std::move(snapshot);
                                         changes_ = changes;
                                       });
  }
  void PutSecret(const std::string& kubeconfig,
                 const std::string& name = "istio-remote-secret-cluster2",
                 const std::string& cluster = "cluster2") {
    own_.Put("apiVersion: v1\nkind: Secret\nmetadata: {name: " + name +
             ", namespace: istio-system, labels: {istio/multiCluster: 'true'}}\ndata: {" + cluster +
             ": '" + base::Base64Encode(kubeconfig) + "'}\n");
  }
  bool Until(const std::function<bool()>& done) { return loop_.RunUntil(done, 10s); }
  bool UntilReady() {
    return Until([this] { return registry_->ready(); });
  }
  /// The clusters whose endpoints helloworld has: "cluster1 cluster2".
  std::string Seen() {
    if (snapshot_ == nullptr) return "nothing";
    auto found = snapshot_->endpoints->find(std::string(kHello) + "/sample");
    std::string text;
    if (found != snapshot_->endpoints->end())
      for (const auto& shard : found->second->shards)
        text += (text.empty() ? "" : " ") + shard->cluster.text();
    return text;
  }
  bool UntilSeen(const std::string& clusters) {
    return Until([&] { return Seen() == clusters; });
  }
  ClusterStatus Status(size_t row) { return registry_->Clusters().at(row); }

  base::Loop loop_;
  base::SystemClock clock_;
  base::MetricRegistry metrics_;
  FakeApiServer own_;
  FakeApiServer remote_;
  MeshRegistry::Options options_;
  std::filesystem::path folder_;
  std::unique_ptr<kubeclient::Client> client_;
  std::unique_ptr<MeshRegistry> registry_;
  std::shared_ptr<const model::Snapshot> snapshot_;
  model::ChangeSet changes_;
  int snapshots_ = 0;
};

TEST_F(MeshRegistryTest, FirstSnapshotIsWhole) {
  PutSecret(remote_.Kubeconfig());
  Start();
  ASSERT_TRUE(UntilReady());
  EXPECT_EQ(snapshots_, 1);
  EXPECT_TRUE(changes_.everything);
  EXPECT_EQ(Seen(), "cluster1 cluster2");
  EXPECT_EQ(snapshot_->gateways->all().size(), 2u);
  EXPECT_EQ(snapshot_->configs.virtual_services->size(), 2u);
  const auto rows = registry_->Clusters();
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].id.text() + rows[0].secret + rows[0].sync, "cluster1synced");
  EXPECT_EQ(rows[1].secret, "istio-system/istio-remote-secret-cluster2");
  EXPECT_EQ(rows[1].sync, "synced");
  EXPECT_FALSE(rows[1].stale);
  EXPECT_NE(metrics_.Text().find("istiod_managed_clusters{cluster_type=\"remote\"} 1"),
            std::string::npos);
}

TEST_F(MeshRegistryTest, SecretsComeAndGoLive) {
  Start();
  ASSERT_TRUE(UntilReady());
  EXPECT_EQ(Seen(), "cluster1");
  PutSecret(remote_.Kubeconfig());
  ASSERT_TRUE(UntilSeen("cluster1 cluster2"));
  EXPECT_NE(registry_->ClientFor(ClusterId("cluster2")), nullptr);
  EXPECT_EQ(registry_->KnownAs(ClusterId("c")), ClusterId("cluster2")) << "by its kubeconfig";
  EXPECT_EQ(registry_->KnownAs(ClusterId("cluster1")), ClusterId("cluster1"));
  EXPECT_EQ(registry_->KnownAs(ClusterId("nobody")), ClusterId("nobody"));
  own_.Delete("Secret", "istio-system/istio-remote-secret-cluster2");
  ASSERT_TRUE(UntilSeen("cluster1"));
  EXPECT_EQ(registry_->Clusters().size(), 1u);
  EXPECT_EQ(registry_->ClientFor(ClusterId("cluster2")), nullptr);
}

TEST_F(MeshRegistryTest, ChangesOfTheRemoteArriveAlone) {
  PutSecret(remote_.Kubeconfig());
  Start();
  ASSERT_TRUE(UntilReady());
  remote_.Delete("EndpointSlice", "sample/helloworld-x");
  ASSERT_TRUE(UntilSeen("cluster1"));
  EXPECT_EQ(changes_.endpoints, std::set<std::string>{std::string(kHello) + "/sample"});
  EXPECT_FALSE(changes_.everything);
}

TEST_F(MeshRegistryTest, GarbageChangesNothing) {
  PutSecret(remote_.Kubeconfig());
  Start();
  ASSERT_TRUE(UntilReady());
  PutSecret("not: [a kubeconfig");
  ASSERT_TRUE(Until([this] { return !registry_->Problems().empty(); }));
  PutSecret("", "second", "cluster3");
  ASSERT_TRUE(Until([this] { return registry_->Problems().size() == 2; }));
  PutSecret(remote_.Kubeconfig(), "third", "cluster2");
  ASSERT_TRUE(Until([this] { return registry_->Problems().size() == 3; }));
  EXPECT_NE(registry_->Problems().at("Secret/istio-system/third cluster2").find("already given"),
            std::string::npos);
  EXPECT_EQ(Seen(), "cluster1 cluster2");
  EXPECT_EQ(registry_->Clusters().size(), 2u);
}

TEST_F(MeshRegistryTest, ASecretOfAnotherNameTakesTheOldOnesPlace) {
  PutSecret(remote_.Kubeconfig());
  Start();
  ASSERT_TRUE(UntilReady());
  PutSecret(remote_.Kubeconfig("second"), "second");
  ASSERT_TRUE(Until([this] { return registry_->Problems().size() == 1; }));
  bool lost = false;
  own_.Delete("Secret", "istio-system/istio-remote-secret-cluster2");
  ASSERT_TRUE(Until([&] {
    lost = lost || Seen() != "cluster1 cluster2";
    return registry_->Clusters().size() == 2 && Status(1).secret == "istio-system/second" &&
           registry_->ConnectionTo(ClusterId("cluster2"))->token == "second";
  }));
  EXPECT_FALSE(lost);
  EXPECT_TRUE(registry_->Problems().empty());
  own_.Delete("Secret", "istio-system/second");
  EXPECT_TRUE(UntilSeen("cluster1"));
}

TEST_F(MeshRegistryTest, OwnClusterIsNeverRemote) {
  PutSecret(remote_.Kubeconfig(), "own", "cluster1");
  Start();
  ASSERT_TRUE(UntilReady());
  EXPECT_EQ(registry_->Clusters().size(), 1u);
}

TEST_F(MeshRegistryTest, NewCredentialsAreConnectedBeforeTheOldAreDropped) {
  PutSecret(remote_.Kubeconfig("old"));
  remote_.Demand("old");
  Start();
  ASSERT_TRUE(UntilReady());
  // The new token does not work: the old connection goes on serving.
  PutSecret(remote_.Kubeconfig("new"));
  ASSERT_TRUE(Until([this] { return !Status(1).error.empty(); }));
  remote_.Delete("EndpointSlice", "sample/helloworld-x");
  ASSERT_TRUE(UntilSeen("cluster1"));
  const int before = snapshots_;
  FakeApiServer moved(loop_);
  moved.PutFile("cluster2.yaml");
  PutSecret(moved.Kubeconfig());
  ASSERT_TRUE(UntilSeen("cluster1 cluster2"));
  EXPECT_EQ(snapshots_, before + 1);
  EXPECT_EQ(Status(1).server, moved.url());
}

TEST_F(MeshRegistryTest, AnUnreachableRemoteDelaysButDoesNotBlock) {
  options_.remote_timeout = 300ms;
  remote_.Hang(true);
  PutSecret(remote_.Kubeconfig());
  Start();
  ASSERT_TRUE(Until([this] { return registry_->Clusters().size() == 2; }));
  EXPECT_FALSE(registry_->ready());
  EXPECT_NE(registry_->waiting_for().find("cluster2"), std::string::npos);
  ASSERT_TRUE(UntilReady());
  EXPECT_EQ(Seen(), "cluster1");
  EXPECT_EQ(Status(1).sync, "timeout");
  EXPECT_NE(metrics_.Text().find("remote_cluster_sync_timeouts_total{cluster=\"cluster2\"} 1"),
            std::string::npos);
  // It comes up: no restart is needed.
  remote_.Hang(false);
  remote_.Stop();
  remote_.Start();
  ASSERT_TRUE(UntilSeen("cluster1 cluster2"));
  EXPECT_EQ(Status(1).sync, "synced");
}

TEST_F(MeshRegistryTest, EndpointsStayWhileTheServerIsAway) {
  PutSecret(remote_.Kubeconfig());
  Start();
  ASSERT_TRUE(UntilReady());
  remote_.Stop();
  ASSERT_TRUE(Until([this] { return Status(1).stale; }));
  EXPECT_EQ(Seen(), "cluster1 cluster2");
  EXPECT_EQ(Status(1).sync, "synced");
  EXPECT_FALSE(Status(1).error.empty());
  const auto measured_fresh = [this] {
    return metrics_.Text().find("isthmus_remote_cluster_stale_seconds{cluster=\"cluster2\"} 0\n") !=
           std::string::npos;
  };
  EXPECT_FALSE(measured_fresh());
  // Only a complete list withdraws what went meanwhile.
  remote_.Delete("EndpointSlice", "sample/helloworld-x");
  remote_.Start();
  ASSERT_TRUE(Until([this] { return !Status(1).stale; }));
  EXPECT_TRUE(measured_fresh());
  remote_.Put(
      "apiVersion: v1\nkind: Service\nmetadata: {name: fresh, namespace: sample}\nspec: "
      "{clusterIP: 10.69.9.9}\n");
  ASSERT_TRUE(
      Until([this] { return snapshot_->services->contains("fresh.sample.svc.cluster.local"); }));
}

TEST_F(MeshRegistryTest, ExpiredCredentialsMakeStaleAndNewOnesHeal) {
  PutSecret(remote_.Kubeconfig("old"));
  Start();
  ASSERT_TRUE(UntilReady());
  remote_.Stop();
  remote_.Demand("new");
  remote_.Start();
  ASSERT_TRUE(Until([this] { return Status(1).error.find("nauthorized") != std::string::npos; }))
      << Status(1).error;
  EXPECT_TRUE(Status(1).stale);
  EXPECT_EQ(Seen(), "cluster1 cluster2");
  // A wrong replacement changes nothing either.
  PutSecret("garbage");
  EXPECT_TRUE(Until([this] { return !registry_->Problems().empty(); }));
  EXPECT_EQ(Seen(), "cluster1 cluster2");
  PutSecret(remote_.Kubeconfig("new"));
  ASSERT_TRUE(Until([this] { return !Status(1).stale; }));
  EXPECT_EQ(Status(1).error, "");
  EXPECT_EQ(Seen(), "cluster1 cluster2");
  EXPECT_TRUE(registry_->Problems().empty());
}

TEST_F(MeshRegistryTest, HomeIsAControlPlaneOfTheClustersOwn) {
  const auto put = [this](const std::string& name, const std::string& selector) {
    remote_.Put("apiVersion: v1\nkind: Service\nmetadata: {name: " + name +
                ", namespace: istio-system}\nspec: {clusterIP: 10.69.9.9" + selector +
                ", ports: [{name: https-dns, port: 15012}]}\n");
  };
  PutSecret(remote_.Kubeconfig());
  Start();
  ASSERT_TRUE(UntilReady());
  const ClusterId cluster2("cluster2");
  EXPECT_FALSE(registry_->HomeOf(cluster2).present);
  put("istiod", "");  // Leads elsewhere.
  ASSERT_TRUE(Until([&] { return Status(1).services == 3; })) << Status(1).services;
  EXPECT_FALSE(registry_->HomeOf(cluster2).present);
  put("istiod", ", selector: {app: istiod}");
  ASSERT_TRUE(Until([&] { return registry_->HomeOf(cluster2).present; }));
  EXPECT_FALSE(registry_->HomeOf(cluster2).ready);
  // A remote with an istiod for injection only names another one for discovery.
  remote_.Put(
      "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata: "
      "{mesh: "
      "'defaultConfig: {discoveryAddress: \"istiod-remote.istio-system.svc:15012\"}'}\n");
  EXPECT_TRUE(Until([&] { return !registry_->HomeOf(cluster2).present; }));
}

TEST_F(MeshRegistryTest, StoredStateIsServedWhenTheServerIsAwayAtTheStart) {
  options_.state_folder = folder_;
  options_.save_period = 20ms;
  options_.remote_timeout = 0ms;  // For ever: readiness must come from the stored state.
  PutSecret(remote_.Kubeconfig());
  Start();
  ASSERT_TRUE(UntilReady());
  const std::string file = (folder_ / "cluster2.state").string();
  ASSERT_TRUE(Until([&] { return base::Exists(file); }));
  registry_.reset();
  remote_.Stop();
  snapshot_.reset();
  Start();
  ASSERT_TRUE(UntilReady());
  EXPECT_EQ(Seen(), "cluster1 cluster2");
  EXPECT_TRUE(Status(1).stale);
  EXPECT_TRUE(Status(1).from_store);
  // Back again, with fewer endpoints.
  remote_.Delete("EndpointSlice", "sample/helloworld-x");
  remote_.Start();
  ASSERT_TRUE(UntilSeen("cluster1"));
  EXPECT_FALSE(Status(1).from_store);
  // A cluster that is removed leaves no file behind.
  own_.Delete("Secret", "istio-system/istio-remote-secret-cluster2");
  ASSERT_TRUE(Until([&] { return !base::Exists(file); }));
}

TEST_F(MeshRegistryTest, TornStateIsNotUsed) {
  options_.state_folder = folder_;
  std::filesystem::create_directories(folder_);
  ASSERT_TRUE(base::WriteFile((folder_ / "cluster2.state").string(),
                              "{\"format\":1,\"cluster\":\"cluster2\"}\n")
                  .ok());
  options_.remote_timeout = 200ms;
  remote_.Stop();
  PutSecret(remote_.Kubeconfig());
  Start();
  ASSERT_TRUE(UntilReady());
  EXPECT_EQ(Seen(), "cluster1");
}

TEST_F(MeshRegistryTest, RemoteAccountsMayDoWithoutSecrets) {
  remote_.Forbid("secrets");
  remote_.Forbid("configmaps");
  PutSecret(remote_.Kubeconfig());
  Start();
  ASSERT_TRUE(UntilReady());
  EXPECT_EQ(Status(1).sync, "synced");
  EXPECT_EQ(Seen(), "cluster1 cluster2");
}

TEST_F(MeshRegistryTest, MeshConfigIsReadLiveAndBadOnesAreRefused) {
  Start();
  ASSERT_TRUE(UntilReady());
  auto put = [this](const std::string& mesh, const std::string& networks) {
    own_.Put(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata: "
        "{mesh: '" +
        mesh + "', meshNetworks: '" + networks + "'}\n");
  };
  put("trustDomain: td1", "networks: {n9: {gateways: [{address: 9.9.9.9, port: 443}]}}");
  ASSERT_TRUE(Until([this] { return snapshot_->mesh->trust_domain() == "td1"; }));
  EXPECT_TRUE(changes_.everything);
  EXPECT_EQ(snapshot_->gateways->all().size(), 2u);
  put("trustDomain: [1]", "networks: {}");
  ASSERT_TRUE(Until([this] { return registry_->Problems().contains("ConfigMap/istio"); }));
  ASSERT_TRUE(Until([this] { return snapshot_->gateways->all().size() == 1; }));
  EXPECT_EQ(snapshot_->mesh->trust_domain(), "td1");
}

TEST_F(MeshRegistryTest, FilesWinOverTheConfigMapAndAreReadAgainWhenTheyChange) {
  const std::string folder = testing::TempDir() + "mesh-files-" + std::to_string(getpid());
  ASSERT_TRUE(base::MakeDirs(folder).ok());
  options_.mesh_file = folder + "/mesh";
  options_.networks_file = folder + "/meshNetworks";
  own_.Put(
      "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata: "
      "{mesh: 'trustDomain: map', meshNetworks: 'networks: {}'}\n");
  ASSERT_TRUE(base::WriteFile(options_.mesh_file, "trustDomain: file1\n").ok());
  Start();
  ASSERT_TRUE(UntilReady());
  EXPECT_EQ(snapshot_->mesh->trust_domain(), "file1");
  ASSERT_TRUE(base::WriteFile(options_.mesh_file, "trustDomain: file2\n").ok());
  ASSERT_TRUE(Until([this] { return snapshot_->mesh->trust_domain() == "file2"; }));
  ASSERT_TRUE(base::WriteFile(options_.networks_file,
                              "networks: {n9: {gateways: [{address: 9.9.9.9, port: 443}]}}\n")
                  .ok());
  ASSERT_TRUE(Until([this] { return snapshot_->gateways->all().size() == 2; }));
  ASSERT_TRUE(base::RemoveFile(options_.mesh_file).ok());
  ASSERT_TRUE(Until([this] { return snapshot_->mesh->trust_domain() == "map"; }));
}

TEST_F(MeshRegistryTest, RemoteTrustDomainNamesItsEndpoints) {
  remote_.Put(
      "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata: "
      "{mesh: 'trustDomain: far'}\n");
  PutSecret(remote_.Kubeconfig());
  Start();
  ASSERT_TRUE(UntilReady());
  EXPECT_EQ(snapshot_->endpoints->at(std::string(kHello) + "/sample")->service_accounts,
            (std::set<std::string>{"spiffe://cluster.local/ns/sample/sa/default",
                                   "spiffe://far/ns/sample/sa/default"}));
}

}  // namespace
}  // namespace isthmus::registry
