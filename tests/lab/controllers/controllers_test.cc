#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/encoding.h"
#include "lab/controllers/accounts.h"
#include "lab/controllers/daemon_sets.h"
#include "lab/controllers/deployments.h"
#include "lab/controllers/endpoint_slices.h"
#include "lab/controllers/garbage_collector.h"
#include "lab/controllers/jobs.h"
#include "lab/controllers/load_balancers.h"
#include "lab/controllers/manager.h"
#include "lab/controllers/replica_sets.h"
#include "lab/controllers/scheduler.h"
#include "lab/controllers/stateful_sets.h"
#include "lab/controllers/statuses.h"
#include "pki/jwt.h"
#include "tests/lab/controllers/simulated_cluster.h"

namespace isthmus::lab::controllers {
namespace {

using kubeapi::IntAt;
using kubeapi::StringAt;

Json Template(const std::string& image) {
  return {
      {"metadata", {{"labels", {{"app", "web"}}}}},
      {"spec",
       {{"containers",
         Json::array({{{"name", "web"},
                       {"image", image},
                       {"ports", Json::array({{{"name", "http"}, {"containerPort", 8080}}})}}})}}}};
}

Json Workload(const std::string& name, int replicas, const std::string& image = "one") {
  return {{"metadata", {{"name", name}}},
          {"spec",
           {{"replicas", replicas},
            {"selector", {{"matchLabels", {{"app", "web"}}}}},
            {"template", Template(image)}}}};
}

Json Node(const std::string& name) {
  return {{"metadata", {{"name", name}, {"labels", {{"kubernetes.io/hostname", name}}}}},
          {"status", {{"conditions", Json::array({{{"type", "Ready"}, {"status", "True"}}})}}}};
}

class DeploymentTest : public testing::Test {
 protected:
  DeploymentTest() {
    cluster_.Add(std::make_unique<DeploymentController>());
    cluster_.Add(std::make_unique<ReplicaSetController>());
  }
  Json Deployment() { return *cluster_.world().Get(kDeployments, "ns", "web"); }
  SimulatedCluster cluster_;
};

TEST_F(DeploymentTest, MakesReadyPods) {
  cluster_.Make(kDeployments, "ns", Workload("web", 3));
  ASSERT_TRUE(cluster_.Settle());
  EXPECT_EQ(cluster_.Count(kPods), 3u);
  EXPECT_FALSE(kubeapi::ConditionIsTrue(Deployment(), "Available"));
  cluster_.ReadyAllPods();
  ASSERT_TRUE(cluster_.Settle());
  EXPECT_EQ(IntAt(Deployment(), {"status", "availableReplicas"}), 3);
  EXPECT_TRUE(kubeapi::ConditionIsTrue(Deployment(), "Available"));
  EXPECT_EQ(kubeapi::AnnotationOf(Deployment(), "deployment.kubernetes.io/revision"), "1");
}

TEST_F(DeploymentTest, RollsWithoutEverHavingTooFewReady) {
  cluster_.Make(kDeployments, "ns", Workload("web", 4));
  ASSERT_TRUE(cluster_.Settle());
  cluster_.ReadyAllPods();
  ASSERT_TRUE(cluster_.Settle());
  Json changed = Deployment();
  changed["spec"]["template"] = Template("two");
  changed["metadata"]["generation"] = 2;
  cluster_.Store(kDeployments, changed);
  for (int step = 0; step < 20; ++step) {
    ASSERT_TRUE(cluster_.Settle());
    size_t ready = 0;
    for (const Json* pod : cluster_.world().List(kPods))
      ready += kubeapi::ConditionIsTrue(*pod, "Ready");
    EXPECT_GE(ready, 3u);
    EXPECT_LE(cluster_.Count(kPods), 5u);
    cluster_.ReadyAllPods();
  }
  EXPECT_EQ(IntAt(Deployment(), {"status", "updatedReplicas"}), 4);
  EXPECT_EQ(cluster_.Count(kPods), 4u);
  EXPECT_EQ(cluster_.Count(kReplicaSets), 2u);
  EXPECT_EQ(kubeapi::AnnotationOf(Deployment(), "deployment.kubernetes.io/revision"), "2");
}

TEST_F(DeploymentTest, AnUndoneTemplateUsesItsOldSetUnderANewRevision) {
  cluster_.Make(kDeployments, "ns", Workload("web", 1));
  for (const char* image : {"one", "two", "one"}) {
    Json changed = Deployment();
    changed["spec"]["template"] = Template(image);
    cluster_.Store(kDeployments, changed);
    for (int step = 0; step < 5; ++step) {
      ASSERT_TRUE(cluster_.Settle());
      cluster_.ReadyAllPods();
    }
    ASSERT_TRUE(cluster_.Settle());
  }
  EXPECT_EQ(cluster_.Count(kReplicaSets), 2u);
  EXPECT_EQ(kubeapi::AnnotationOf(Deployment(), "deployment.kubernetes.io/revision"), "3");
}

TEST_F(DeploymentTest, ScalesDownAndToZero) {
  cluster_.Make(kDeployments, "ns", Workload("web", 3));
  ASSERT_TRUE(cluster_.Settle());
  for (int wanted : {1, 0}) {
    Json changed = Deployment();
    changed["spec"]["replicas"] = wanted;
    cluster_.Store(kDeployments, changed);
    ASSERT_TRUE(cluster_.Settle());
    EXPECT_EQ(cluster_.Count(kPods), static_cast<size_t>(wanted));
  }
}

TEST_F(DeploymentTest, ADeletedPodIsReplaced) {
  cluster_.Make(kDeployments, "ns", Workload("web", 2));
  ASSERT_TRUE(cluster_.Settle());
  cluster_.Erase(kPods, "ns", kubeapi::NameOf(*cluster_.world().List(kPods)[0]));
  ASSERT_TRUE(cluster_.Settle());
  EXPECT_EQ(cluster_.Count(kPods), 2u);
}

TEST_F(DeploymentTest, SaysWhatItScales) {
  cluster_.Make(kDeployments, "ns", Workload("web", 2));
  ASSERT_TRUE(cluster_.Settle());
  EXPECT_THAT(
      cluster_.notes(),
      testing::Contains("Deployment/web ScalingReplicaSet: Scaled up replica set {} from 0 to 2"));
  EXPECT_EQ(std::count_if(cluster_.notes().begin(), cluster_.notes().end(),
                          [](const std::string& note) {
                            return note.ends_with("SuccessfulCreate: Created pod: {}");
                          }),
            2);
}

TEST_F(DeploymentTest, ARolloutThatStandsStillPassesItsDeadlineAndMayStillEndWell) {
  Json slow = Workload("web", 1);
  slow["spec"]["progressDeadlineSeconds"] = 60;
  cluster_.Make(kDeployments, "ns", slow);
  ASSERT_TRUE(cluster_.Settle());
  EXPECT_TRUE(kubeapi::ConditionIsTrue(Deployment(), "Progressing"));
  const base::Duration pause = cluster_.LookAgainIn("ns/web");
  EXPECT_GT(pause, std::chrono::seconds(50));
  EXPECT_LE(pause, std::chrono::seconds(60));
  cluster_.Advance(std::chrono::seconds(30));
  EXPECT_TRUE(kubeapi::ConditionIsTrue(Deployment(), "Progressing"));
  cluster_.Advance(std::chrono::seconds(31));
  ASSERT_TRUE(cluster_.Settle());
  EXPECT_FALSE(kubeapi::ConditionIsTrue(Deployment(), "Progressing"));
  EXPECT_THAT(Deployment()["status"].dump(), testing::HasSubstr("ProgressDeadlineExceeded"));
  EXPECT_EQ(cluster_.LookAgainIn("ns/web"), base::Duration::zero());
  cluster_.ReadyAllPods();
  ASSERT_TRUE(cluster_.Settle());
  EXPECT_TRUE(kubeapi::ConditionIsTrue(Deployment(), "Progressing"));
}

TEST(SchedulerTest, SpreadsOverReadyNodesThatFit) {
  SimulatedCluster cluster;
  cluster.Add(std::make_unique<Scheduler>());
  cluster.Add(std::make_unique<ReplicaSetController>());
  cluster.Make(kNodes, "", Node("a"));
  cluster.Make(kNodes, "", Node("b"));
  Json down = Node("c");
  down["status"]["conditions"][0]["status"] = "False";
  cluster.Make(kNodes, "", down);
  cluster.Make(kReplicaSets, "ns", Workload("web", 4));
  ASSERT_TRUE(cluster.Settle());
  std::map<std::string, int> load;
  for (const Json* pod : cluster.world().List(kPods)) ++load[StringAt(*pod, {"spec", "nodeName"})];
  EXPECT_EQ(load, (std::map<std::string, int>{{"a", 2}, {"b", 2}}));
}

TEST(SchedulerTest, APodThatFitsNowhereSaysSoAndIsPlacedLater) {
  SimulatedCluster cluster;
  cluster.Add(std::make_unique<Scheduler>());
  cluster.Make(kPods, "ns",
               {{"metadata", {{"name", "p"}}},
                {"spec", {{"nodeSelector", {{"disk", "ssd"}}}}},
                {"status", Json::object()}});
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(
      StringAt(*kubeapi::FindCondition(*cluster.world().Get(kPods, "ns", "p"), "PodScheduled"),
               {"reason"}),
      "Unschedulable");
  Json node = Node("a");
  node["metadata"]["labels"]["disk"] = "ssd";
  cluster.Make(kNodes, "", node);
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(StringAt(*cluster.world().Get(kPods, "ns", "p"), {"spec", "nodeName"}), "a");
}

TEST(DaemonSetTest, OnePodANode) {
  SimulatedCluster cluster;
  cluster.Add(std::make_unique<DaemonSetController>());
  cluster.Make(kNodes, "", Node("a"));
  cluster.Make(kDaemonSets, "ns", Workload("agent", 0));
  cluster.Make(kNodes, "", Node("b"));
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(cluster.Count(kPods), 2u);
  EXPECT_EQ(
      IntAt(*cluster.world().Get(kDaemonSets, "ns", "agent"), {"status", "desiredNumberScheduled"}),
      2);
}

TEST(StatefulSetTest, MakesPodsOneAfterTheOther) {
  SimulatedCluster cluster;
  cluster.Add(std::make_unique<StatefulSetController>());
  Json set = Workload("db", 2);
  set["spec"]["serviceName"] = "db";
  cluster.Make(kStatefulSets, "ns", set);
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(cluster.Count(kPods), 1u);
  cluster.ReadyAllPods();
  ASSERT_TRUE(cluster.Settle());
  ASSERT_NE(cluster.world().Get(kPods, "ns", "db-1"), nullptr);
  EXPECT_EQ(StringAt(*cluster.world().Get(kPods, "ns", "db-1"), {"spec", "hostname"}), "db-1");
}

TEST(JobTest, CompletesAndThenRests) {
  SimulatedCluster cluster;
  cluster.Add(std::make_unique<JobController>());
  cluster.Make(kJobs, "ns",
               {{"metadata", {{"name", "j"}}}, {"spec", {{"template", Template("x")}}}});
  ASSERT_TRUE(cluster.Settle());
  ASSERT_EQ(cluster.Count(kPods), 1u);
  Json pod = *cluster.world().List(kPods)[0];
  pod["status"]["phase"] = "Succeeded";
  cluster.Store(kPods, pod);
  ASSERT_TRUE(cluster.Settle());
  EXPECT_TRUE(kubeapi::ConditionIsTrue(*cluster.world().Get(kJobs, "ns", "j"), "Complete"));
  EXPECT_EQ(cluster.Count(kPods), 1u);
}

TEST(JobTest, GoesWhenItsTimeIsOver) {
  SimulatedCluster cluster;
  cluster.Add(std::make_unique<JobController>());
  cluster.Make(kJobs, "ns",
               {{"metadata", {{"name", "j"}}},
                {"spec", {{"template", Template("x")}, {"ttlSecondsAfterFinished", 30}}}});
  ASSERT_TRUE(cluster.Settle());
  Json pod = *cluster.world().List(kPods)[0];
  pod["status"]["phase"] = "Succeeded";
  cluster.Store(kPods, pod);
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(cluster.LookAgainIn("ns/j"), std::chrono::seconds(30));
  cluster.Advance(std::chrono::seconds(29));
  EXPECT_EQ(cluster.Count(kJobs), 1u);
  cluster.Advance(std::chrono::seconds(2));
  EXPECT_EQ(cluster.Count(kJobs), 0u);
}

TEST(DisruptionBudgetTest, CountsItsPods) {
  SimulatedCluster cluster;
  cluster.Add(std::make_unique<DisruptionBudgetController>());
  cluster.Add(std::make_unique<ReplicaSetController>());
  cluster.Make(
      kDisruptionBudgets, "ns",
      {{"metadata", {{"name", "b"}}},
       {"spec", {{"minAvailable", "50%"}, {"selector", {{"matchLabels", {{"app", "web"}}}}}}}});
  cluster.Make(kReplicaSets, "ns", Workload("web", 3));
  ASSERT_TRUE(cluster.Settle());
  auto allowed = [&] {
    return IntAt(*cluster.world().Get(kDisruptionBudgets, "ns", "b"),
                 {"status", "disruptionsAllowed"});
  };
  EXPECT_EQ(allowed(), 0);
  cluster.ReadyAllPods();
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(allowed(), 1);  // Two of three must stay.
}

TEST(AutoscalerTest, KeepsReplicasBetweenItsBounds) {
  SimulatedCluster cluster;
  cluster.Add(std::make_unique<AutoscalerController>());
  cluster.Make(kAutoscalers, "ns",
               {{"metadata", {{"name", "h"}}},
                {"spec",
                 {{"minReplicas", 2},
                  {"maxReplicas", 4},
                  {"scaleTargetRef", {{"kind", "Deployment"}, {"name", "web"}}}}}});
  ASSERT_TRUE(cluster.Settle());
  auto scaler = [&] { return *cluster.world().Get(kAutoscalers, "ns", "h"); };
  EXPECT_FALSE(kubeapi::ConditionIsTrue(scaler(), "AbleToScale"));
  cluster.Make(kDeployments, "ns", Workload("web", 1));
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(IntAt(*cluster.world().Get(kDeployments, "ns", "web"), {"spec", "replicas"}), 2);
  EXPECT_TRUE(kubeapi::ConditionIsTrue(scaler(), "AbleToScale"));
  EXPECT_EQ(IntAt(scaler(), {"status", "currentReplicas"}), 2);
}

TEST(ClaimTest, IsBoundAtOnce) {
  SimulatedCluster cluster;
  cluster.Add(std::make_unique<ClaimController>());
  cluster.Make(kClaims, "ns",
               {{"metadata", {{"name", "c"}}},
                {"spec", {{"resources", {{"requests", {{"storage", "1Gi"}}}}}}}});
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(StringAt(*cluster.world().Get(kClaims, "ns", "c"), {"status", "phase"}), "Bound");
}

TEST(OrphanedPodTest, GoesWithItsNode) {
  SimulatedCluster cluster;
  cluster.Add(std::make_unique<OrphanedPodController>());
  cluster.Make(kNodes, "", Node("a"));
  for (const char* node : {"a", ""})
    cluster.Make(kPods, "ns",
                 {{"metadata", {{"name", node == std::string("a") ? "gone" : "waits"}}},
                  {"spec", {{"nodeName", node}}}});
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(cluster.Count(kPods), 2u);
  cluster.Erase(kNodes, "", "a");
  ASSERT_TRUE(cluster.Settle());
  ASSERT_EQ(cluster.Count(kPods), 1u);
  EXPECT_NE(cluster.world().Get(kPods, "ns", "waits"), nullptr);
}

TEST(EndpointSliceTest, FollowsPodsAndNamedPorts) {
  SimulatedCluster cluster;
  cluster.Add(std::make_unique<EndpointSliceController>());
  cluster.Add(std::make_unique<ReplicaSetController>());
  cluster.Make(
      kServices, "ns",
      {{"metadata", {{"name", "web"}}},
       {"spec",
        {{"selector", {{"app", "web"}}},
         {"ports",
          Json::array(
              {{{"name", "http"}, {"port", 80}, {"targetPort", "http"}, {"protocol", "TCP"}}})}}}});
  cluster.Make(kReplicaSets, "ns", Workload("web", 2));
  ASSERT_TRUE(cluster.Settle());
  cluster.ReadyAllPods();
  ASSERT_TRUE(cluster.Settle());
  ASSERT_EQ(cluster.Count(kEndpointSlices), 1u);
  Json slice = *cluster.world().List(kEndpointSlices)[0];
  EXPECT_EQ(slice["endpoints"].size(), 2u);
  EXPECT_EQ(slice["ports"][0]["port"], 8080);
  EXPECT_EQ(slice["endpoints"][0]["conditions"]["ready"], true);
  EXPECT_EQ((*cluster.world().Get(kEndpoints, "ns", "web"))["subsets"][0]["addresses"].size(), 2u);
  cluster.Erase(kServices, "ns", "web");
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(cluster.Count(kEndpointSlices), 0u);
}

TEST(EndpointSliceTest, MirrorsEndpointsThatUsersWrite) {
  SimulatedCluster cluster;
  cluster.Add(std::make_unique<EndpointSliceController>());
  cluster.Make(kServices, "ns",
               {{"metadata", {{"name", "remote"}}},
                {"spec", {{"ports", Json::array({{{"port", 15012}}})}}}});
  cluster.Make(
      kEndpoints, "ns",
      {{"metadata", {{"name", "remote"}}},
       {"subsets",
        Json::array({{{"addresses", Json::array({{{"ip", "1.2.3.4"}}})},
                      {"ports", Json::array({{{"port", 15012}, {"protocol", "TCP"}}})}}})}});
  ASSERT_TRUE(cluster.Settle());
  ASSERT_EQ(cluster.Count(kEndpointSlices), 1u);
  EXPECT_EQ((*cluster.world().List(kEndpointSlices)[0])["endpoints"][0]["addresses"][0], "1.2.3.4");
}

TEST(LoadBalancerTest, GivesFixedThenPoolAddressesAndFreesThem) {
  SimulatedCluster cluster;
  cluster.Add(std::make_unique<LoadBalancerController>(
      AddressPool{{"9.9.9.1"}, {{"ns/fixed", "34.1.1.1"}}}));
  Json service = {{"metadata", {{"name", "a"}}}, {"spec", {{"type", "LoadBalancer"}}}};
  auto address = [&](const char* name) {
    const Json* found = kubeapi::Find(*cluster.world().Get(kServices, "ns", name),
                                      {"status", "loadBalancer", "ingress"});
    return found == nullptr ? "" : StringAt((*found)[0], {"ip"});
  };
  cluster.Make(kServices, "ns", service);
  service["metadata"]["name"] = "b";
  cluster.Make(kServices, "ns", service);
  service["metadata"]["name"] = "fixed";
  cluster.Make(kServices, "ns", service);
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(address("a"), "9.9.9.1");
  EXPECT_EQ(address("b"), "");
  EXPECT_EQ(address("fixed"), "34.1.1.1");
  cluster.Erase(kServices, "ns", "a");
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(address("b"), "9.9.9.1");
}

TEST(LoadBalancerTest, RangesAreSpelledOutOrRefused) {
  EXPECT_EQ(ExpandAddresses({"10.0.0.254-10.0.1.1", "1.1.1.1"})->size(), 5u);
  for (const char* wrong : {"x", "10.0.0.2-10.0.0.1", "10.0.0.1-", "1.0.0.0-2.0.0.0"})
    EXPECT_FALSE(ExpandAddresses({wrong}).ok()) << wrong;
}

TEST(GarbageCollectorTest, DependentsFollowTheirOwner) {
  SimulatedCluster cluster;
  cluster.Add(std::make_unique<DeploymentController>());
  cluster.Add(std::make_unique<ReplicaSetController>());
  cluster.Add(std::make_unique<GarbageCollector>(Manager::Watched()));
  cluster.Make(kDeployments, "ns", Workload("web", 2));
  ASSERT_TRUE(cluster.Settle());
  cluster.Erase(kDeployments, "ns", "web");
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(cluster.Count(kReplicaSets), 0u);
  EXPECT_EQ(cluster.Count(kPods), 0u);
}

TEST(GarbageCollectorTest, ForegroundDeletionWaitsForDependents) {
  SimulatedCluster cluster;
  cluster.Add(std::make_unique<GarbageCollector>(Manager::Watched()));
  Json owner = cluster.Make(kReplicaSets, "ns", Workload("web", 1));
  Json pod = {
      {"metadata",
       {{"name", "p"}, {"ownerReferences", Json::array({kubeapi::OwnerReference(owner)})}}}};
  cluster.Make(kPods, "ns", pod);
  owner = *cluster.world().Get(kReplicaSets, "ns", "web");
  owner["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z";
  owner["metadata"]["finalizers"] = Json::array({"foregroundDeletion"});
  cluster.Store(kReplicaSets, owner);
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(cluster.Count(kPods), 0u);
  EXPECT_TRUE((*cluster.world().Get(kReplicaSets, "ns", "web"))["metadata"]["finalizers"].empty());
}

TEST(AccountsTest, NamespacesGetTheirDefaultsAndTokensAreFilled) {
  auto key = pki::PrivateKey::GenerateRsa(2048);
  ASSERT_TRUE(key.ok());
  SimulatedCluster cluster;
  cluster.Add(std::make_unique<NamespaceDefaults>("ROOT"));
  cluster.Add(std::make_unique<TokenController>(TokenSettings{*key, "issuer", "ROOT", true}));
  cluster.Make(kNamespaces, "", {{"metadata", {{"name", "ns"}}}});
  ASSERT_TRUE(cluster.Settle());
  const Json* account = cluster.world().Get(kServiceAccounts, "ns", "default");
  ASSERT_NE(account, nullptr);
  EXPECT_EQ(
      StringAt(*cluster.world().Get(kConfigMaps, "ns", "kube-root-ca.crt"), {"data", "ca.crt"}),
      "ROOT");
  ASSERT_EQ((*account)["secrets"].size(), 1u);
  const Json* secret =
      cluster.world().Get(kSecrets, "ns", StringAt((*account)["secrets"][0], {"name"}));
  ASSERT_NE(secret, nullptr);
  auto token = base::Base64Decode(StringAt(*secret, {"data", "token"}));
  ASSERT_TRUE(token.ok());
  auto claims = pki::ParseTokenClaims(*token);
  ASSERT_TRUE(claims.ok()) << claims.status().message();
  EXPECT_EQ(claims->subject, "system:serviceaccount:ns:default");
}

}  // namespace
}  // namespace isthmus::lab::controllers
