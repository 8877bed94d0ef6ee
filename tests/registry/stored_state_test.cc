#include "registry/stored_state.h"

#include <gtest/gtest.h>

#include "tests/registry/world.h"

namespace isthmus::registry {
namespace {

using model::ClusterId;

const base::Time kNow = base::Time(std::chrono::seconds(1'800'000'000));

std::string Odd() {
  return R"(
{kind: Service, metadata: {name: h, namespace: a, annotations: {networking.istio.io/exportTo: ".,b", alpha.istio.io/kubernetes-serviceaccounts: x, traffic.istio.io/nodeSelector: "{\"a\":\"b\"}"}}, spec: {clusterIP: None, publishNotReadyAddresses: true, internalTrafficPolicy: Local, ports: [{port: 53, protocol: UDP, name: dns, targetPort: dns}, {port: 80, name: web, appProtocol: kubernetes.io/h2c, nodePort: 30001}]}}
---
{kind: Service, metadata: {name: x, namespace: a}, spec: {type: ExternalName, externalName: example.com}}
---
{kind: Service, metadata: {name: d, namespace: a}, spec: {clusterIP: 10.0.0.9, clusterIPs: [10.0.0.9, "fd00::9"], trafficDistribution: PreferClose}}
---
{kind: Pod, metadata: {name: d-7f9-x, namespace: a, labels: {pod-template-hash: 7f9}, ownerReferences: [{kind: ReplicaSet, name: d-7f9, controller: true}]}, spec: {nodeName: n, serviceAccountName: s, containers: [{ports: [{name: dns, containerPort: 5353}]}]}, status: {podIPs: [{ip: 10.1.0.1}, {ip: "fd00::1"}]}}
---
{kind: EndpointSlice, metadata: {name: h-1, namespace: a, labels: {kubernetes.io/service-name: h}}, ports: [{name: dns, port: 5353}], endpoints: [{addresses: [10.1.0.1], hostname: h0, conditions: {ready: false, serving: true, terminating: true}, targetRef: {kind: Pod, name: d-7f9-x}}, {addresses: [10.9.9.9], nodeName: n}]}
---
{kind: EndpointSlice, metadata: {name: d-standby, namespace: a, labels: {kubernetes.io/service-name: d, endpointslice.kubernetes.io/managed-by: standby.isthmus.dev}}, ports: [{name: web, port: 80}], endpoints: [{addresses: [10.1.0.7], conditions: {ready: false, serving: true, terminating: true}}]}
---
{kind: WorkloadEntry, apiVersion: networking.istio.io/v1, metadata: {name: vm, namespace: a}, spec: {address: 10.3.0.1, labels: {app: vm}, ports: {web: 8080}, network: n3, weight: 5, serviceAccount: s}}
---
{kind: Namespace, metadata: {name: a, annotations: {networking.istio.io/traffic-distribution: PreferSameNode}}}
---
{kind: Namespace, metadata: {name: istio-system, labels: {topology.istio.io/network: network2}, annotations: {topology.istio.io/controlPlaneClusters: "c1,c3"}}}
)";
}

TEST(StoredStateTest, GivesTheSameSnapshotAgain) {
  World world;
  world.ApplyFile("c2", "cluster2.yaml");
  world.Apply("c2", Odd());
  world.Update();
  const std::string text = SaveState(*world.mesh().Find(ClusterId("c2")), kNow);
  World again;
  auto state = again.mesh().NewCluster(ClusterId("c2"));
  auto saved = LoadState(text, *state);
  ASSERT_TRUE(saved.ok()) << saved.status().message();
  EXPECT_EQ(*saved, kNow);
  again.mesh().PutCluster(std::move(state));
  again.Update();
  std::string why;
  EXPECT_TRUE(SameSnapshot(world.snapshot(), again.snapshot(), &why)) << why;
  EXPECT_EQ(again.Service("h.a.svc.cluster.local")->ports.size(), 2u);
  const auto* c2 = again.mesh().Find(ClusterId("c2"));
  EXPECT_EQ(c2->Leaders(), (std::vector<std::string>{"c1", "c3"}));
  EXPECT_EQ(c2->BuildShard("d.a.svc.cluster.local"), nullptr);
  EXPECT_NE(c2->BuildShard("d.a.svc.cluster.local", true), nullptr);
}

TEST(StoredStateTest, KeepsNoSecrets) {
  World world;
  world.Apply("c2",
              "{kind: Secret, metadata: {name: t, namespace: a}, data: {tls.crt: Q0VSVA==, "
              "tls.key: S0VZ}}");
  const std::string text = SaveState(*world.mesh().Find(ClusterId("c2")), kNow);
  EXPECT_EQ(text.find("KEY"), std::string::npos);
  EXPECT_EQ(text.find("S0VZ"), std::string::npos);
}

TEST(StoredStateTest, RefusesTornForeignAndUnknownFiles) {
  World world;
  world.ApplyFile("c2", "cluster2.yaml");
  const std::string text = SaveState(*world.mesh().Find(ClusterId("c2")), kNow);
  auto load = [&world](const std::string& broken, const char* cluster = "c2") {
    auto state = world.mesh().NewCluster(ClusterId(cluster));
    return LoadState(broken, *state).ok();
  };
  EXPECT_TRUE(load(text));
  EXPECT_FALSE(load(text, "c3"));
  for (size_t cut = 0; cut < text.size(); cut += 7) EXPECT_FALSE(load(text.substr(0, cut))) << cut;
  std::string other = text;
  other.replace(other.find("\"format\":1"), 10, "\"format\":2");
  EXPECT_FALSE(load(other));
  EXPECT_FALSE(load("x\ny\nz\n"));
}

}  // namespace
}  // namespace isthmus::registry
