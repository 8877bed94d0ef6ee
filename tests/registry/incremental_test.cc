// Any sequence of changes, applied and published step by step, gives the snapshot that one fresh
// build gives, and every change set names all that differs.
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <tuple>

#include "config/kinds.h"
#include "istio/networking/v1/service_entry.pb.h"
#include "kubeapi/meta.h"
#include "tests/registry/world.h"

namespace isthmus::registry {
namespace {

using model::ClusterId;

class Changes {
 public:
  explicit Changes(uint32_t seed) : random_(seed) {}

  int Below(int n) { return static_cast<int>(random_() % static_cast<uint32_t>(n)); }
  std::string Pick(std::initializer_list<const char*> choices) {
    return *(choices.begin() + Below(static_cast<int>(choices.size())));
  }
  std::string Cluster() { return Pick({"c1", "c2", "c3"}); }
  std::string Ns() { return Pick({"a", "b"}); }

  Json Object() {
    switch (Below(9)) {
      case 0:
        return Service();
      case 1:
      case 2:
        return Pod();
      case 3:
      case 4:
        return Slice();
      case 5:
        return Node();
      case 6:
        return Namespace();
      case 7:
        return WorkloadEntry();
      default:
        return ServiceEntry();
    }
  }

 private:
  static Json Make(const std::string& kind, const std::string& ns, const std::string& name) {
    Json meta = {{"name", name}};
    if (!ns.empty()) meta["namespace"] = ns;
    return {{"apiVersion", "networking.istio.io/v1"}, {"kind", kind}, {"metadata", meta}};
  }

  Json Service() {
    Json object = Make("Service", Ns(), Pick({"s1", "s2"}));
    object["spec"] = {
        {"clusterIP", Pick({"10.0.0.1", "10.0.0.2", "None"})},
        {"selector", {{"app", Pick({"x", "y"})}}},
        {"type", Pick({"ClusterIP", "LoadBalancer", "NodePort"})},
        {"ports", Json::array({{{"name", Pick({"http", "tcp"})}, {"port", 80}, {"nodePort", 30080}},
                               {{"name", "tls"}, {"port", 15443}, {"nodePort", 31443}}})}};
    if (Below(2)) object["metadata"]["labels"][kNetworkLabel] = Pick({"n1", "n2"});
    if (Below(2))
      object["spec"]["externalIPs"] = Json::array({Pick({"1.1.1.1", "1.1.1.2", "gw.example"})});
    if (Below(3) == 0)
      object["metadata"]["annotations"]["traffic.istio.io/nodeSelector"] =
          Pick({"{}", "{\"a\":\"1\"}"});
    if (Below(3) == 0) object["spec"]["publishNotReadyAddresses"] = true;
    return object;
  }
  Json Pod() {
    Json object = Make("Pod", Ns(), Pick({"p1", "p2", "p3"}));
    object["metadata"]["labels"] = {{"app", Pick({"x", "y"})}};
    if (Below(3) == 0) object["metadata"]["labels"][kNetworkLabel] = Pick({"n1", "n2"});
    object["spec"] = {{"nodeName", Pick({"n1", "n2"})},
                      {"serviceAccountName", Pick({"sa1", "sa2"})}};
    object["status"] = {
        {"phase", Pick({"Running", "Running", "Running", "Failed"})},
        {"podIP", Pick({"10.1.0.1", "10.1.0.2", "10.2.0.3"})},
        {"conditions", Json::array({{{"type", "Ready"}, {"status", Pick({"True", "False"})}}})}};
    return object;
  }
  Json Slice() {
    Json object = Make("EndpointSlice", Ns(), Pick({"e1", "e2"}));
    object["addressType"] = Pick({"IPv4", "IPv4", "FQDN"});
    object["metadata"]["labels"]["kubernetes.io/service-name"] = Pick({"s1", "s2"});
    Json endpoints = Json::array();
    for (int i = Below(3); i > 0; --i) {
      Json endpoint = {{"addresses", Json::array({Pick({"10.1.0.1", "10.1.0.2", "10.2.0.3"})})},
                       {"nodeName", Pick({"n1", "n2"})},
                       {"conditions", {{"ready", Below(2) == 0}}}};
      if (Below(3)) endpoint["targetRef"] = {{"kind", "Pod"}, {"name", Pick({"p1", "p2", "p3"})}};
      endpoints.push_back(endpoint);
    }
    object["endpoints"] = endpoints;
    object["ports"] = Json::array(
        {{{"name", Pick({"http", "tcp"})}, {"port", Pick({"1", "2"}) == "1" ? 80 : 8080}}});
    return object;
  }
  Json Node() {
    Json object = Make("Node", "", Pick({"n1", "n2"}));
    object["metadata"]["labels"] = {{kRegionLabel, Pick({"r1", "r2"})}, {"a", Pick({"1", "2"})}};
    object["status"]["addresses"] =
        Json::array({{{"type", "ExternalIP"}, {"address", Pick({"3.3.3.3", "3.3.3.4"})}}});
    return object;
  }
  Json Namespace() {
    Json object = Make("Namespace", "", Pick({"istio-system", "a"}));
    if (Below(2)) object["metadata"]["labels"][kNetworkLabel] = Pick({"n1", "n2"});
    if (Below(2))
      object["metadata"]["annotations"]["networking.istio.io/traffic-distribution"] = "PreferClose";
    return object;
  }
  Json WorkloadEntry() {
    Json object = Make("WorkloadEntry", Ns(), Pick({"w1", "p1"}));
    object["spec"] = {{"address", Pick({"10.3.0.1", "10.3.0.2"})},
                      {"labels", {{"app", Pick({"x", "y"})}}}};
    if (Below(2)) object["spec"]["network"] = Pick({"n1", "n2"});
    if (Below(8) == 0) object["spec"]["weight"] = "wrong";
    return object;
  }
  Json ServiceEntry() {
    Json object = Make("ServiceEntry", Ns(), Pick({"e1", "e2"}));
    object["metadata"]["creationTimestamp"] =
        Pick({"2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"});
    object["spec"] = {
        {"hosts", Json::array({Pick({"x.example", "y.example", "s1.a.svc.cluster.local"})})},
        {"ports", Json::array({{{"number", 80}, {"name", "http"}, {"protocol", "HTTP"}}})},
        {"resolution", Pick({"STATIC", "DNS", "NONE"})}};
    if (Below(2))
      object["spec"]["workloadSelector"]["labels"]["app"] = Pick({"x", "y"});
    else
      object["spec"]["endpoints"] = Json::array({{{"address", Pick({"9.9.9.1", "9.9.9.2"})}}});
    if (Below(3) == 0) object["spec"]["addresses"] = Json::array({"240.1.1.1"});
    return object;
  }

  std::mt19937 random_;
};

/// What differs between two snapshots must stand in the change set.
void ExpectNamed(const model::Snapshot& before, const model::Snapshot& after,
                 const model::ChangeSet& changes) {
  if (changes.everything) return;
  for (const auto* one : {&before, &after}) {
    const auto& other = one == &before ? after : before;
    for (const auto& [host, list] : *one->services) {
      auto found = other.services->find(host);
      const bool same =
          found != other.services->end() &&
          std::equal(list.begin(), list.end(), found->second.begin(), found->second.end(),
                     [](const auto& a, const auto& b) { return *a == *b; });
      if (!same) {
        EXPECT_TRUE(changes.services.contains(host)) << host;
      }
    }
    for (const auto& [key, endpoints] : *one->endpoints) {
      auto found = other.endpoints->find(key);
      if (found == other.endpoints->end() || found->second != endpoints) {
        EXPECT_TRUE(changes.endpoints.contains(key)) << key;
      }
    }
  }
  if (!(*before.gateways == *after.gateways)) {
    EXPECT_TRUE(changes.gateways);
  }
  if (!(before.workloads == after.workloads)) {
    EXPECT_FALSE(changes.workloads.empty());
  }
}

class IncrementalTest : public testing::TestWithParam<uint32_t> {};

TEST_P(IncrementalTest, EqualsAFreshBuild) {
  Changes random(GetParam());
  World world;
  for (const char* cluster : {"c2", "c3"})
    world.mesh().PutCluster(world.mesh().NewCluster(ClusterId(cluster)));
  // What the API servers hold: by cluster, kind and key. Istio's own kinds but WorkloadEntry live
  // in c1.
  std::map<std::tuple<std::string, std::string, std::string>, Json> held;
  for (int step = 0; step < 150; ++step) {
    const Json object = random.Object();
    const std::string kind = kubeapi::KindOf(object);
    const std::string cluster = kind == "ServiceEntry" ? "c1" : random.Cluster();
    const std::string key = kubeapi::KeyOf(object);
    if (random.Below(4) == 0) {
      held.erase({cluster, kind, key});
      world.Delete(cluster, kind, key);
    } else {
      held[{cluster, kind, key}] = object;
      world.ApplyObject(cluster, object);
    }
    if (random.Below(3) != 0) continue;
    const auto before = world.mesh().snapshot();
    const model::ChangeSet changes = world.Update();
    ExpectNamed(*before, world.snapshot(), changes);
  }
  world.Update();
  World fresh;
  for (const char* cluster : {"c2", "c3"})
    fresh.mesh().PutCluster(fresh.mesh().NewCluster(ClusterId(cluster)));
  for (const auto& [place, object] : held) fresh.ApplyObject(std::get<0>(place), object);
  fresh.Update();
  std::string why;
  EXPECT_TRUE(SameSnapshot(world.snapshot(), fresh.snapshot(), &why)) << why;
}
INSTANTIATE_TEST_SUITE_P(Seeds, IncrementalTest, testing::Range(1u, 41u));

}  // namespace
}  // namespace isthmus::registry
