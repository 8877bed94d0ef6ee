#include <gtest/gtest.h>

#include "istio/mesh/v1alpha1/config.pb.h"
#include "istio/networking/v1/virtual_service.pb.h"
#include "tests/registry/world.h"

namespace isthmus::registry {
namespace {

using model::ClusterId;
using model::NetworkId;

/// The world whose answers of Istio's own control plane were recorded.
class RecordedWorldTest : public testing::Test {
 protected:
  RecordedWorldTest() : world_({ClusterId("cluster1"), "cluster.local", "istio-system"}) {
    world_.ApplyFile("cluster1", "cluster1.yaml");
    world_.ApplyFile("cluster2", "cluster2.yaml");
    changes_ = world_.Update();
  }
  World world_;
  model::ChangeSet changes_;
};

TEST_F(RecordedWorldTest, MergesServicesBySameness) {
  const model::Service* hello = world_.Service(kHello);
  ASSERT_NE(hello, nullptr);
  EXPECT_EQ(hello->cluster_vips.at(ClusterId("cluster1")),
            std::vector<std::string>{"10.68.20.173"});
  EXPECT_EQ(hello->cluster_vips.at(ClusterId("cluster2")),
            std::vector<std::string>{"10.69.228.134"});
  EXPECT_EQ(hello->default_address, "10.68.20.173");
  EXPECT_EQ(hello->AddressFor(ClusterId("cluster2"), false), "10.69.228.134");
  EXPECT_EQ(hello->labels, (model::Labels{{"app", "helloworld"}}));
  EXPECT_EQ(hello->selector, (model::Labels{{"app", "helloworld"}}));
  ASSERT_EQ(hello->ports.size(), 1u);
  EXPECT_EQ(hello->ports[0].protocol, model::Protocol::kHttp);
  const model::Service* gateway =
      world_.Service("istio-eastwestgateway.istio-system.svc.cluster.local");
  ASSERT_NE(gateway, nullptr);
  // Only the base object's addresses: the other cluster's appear as a network gateway.
  EXPECT_EQ(gateway->external_addresses.size(), 1u);
  EXPECT_EQ(gateway->external_addresses.at(ClusterId("cluster1")),
            std::vector<std::string>{"192.168.229.100"});
  EXPECT_EQ(gateway->labels.at("topology.istio.io/network"), "network1");
  EXPECT_EQ(gateway->ports[0].protocol, model::Protocol::kAuto);
  EXPECT_EQ(gateway->ports[1].protocol, model::Protocol::kTls);
  EXPECT_EQ(world_.Service("istiod.istio-system.svc.cluster.local")->ports[0].protocol,
            model::Protocol::kHttps);
  EXPECT_TRUE(world_.Service("istiod.istio-system.svc.cluster.local")->cluster_local);
  EXPECT_FALSE(hello->cluster_local);
}

TEST_F(RecordedWorldTest, EndpointsCarryWhatIstioSays) {
  const auto& endpoints = *world_.snapshot().endpoints->at(std::string(kHello) + "/sample");
  ASSERT_EQ(endpoints.shards.size(), 2u);
  EXPECT_EQ(endpoints.shards[1]->cluster, ClusterId("cluster2"));
  const model::Endpoint& e = endpoints.shards[1]->endpoints.at(0);
  EXPECT_EQ(e.address, "172.21.0.10");
  EXPECT_EQ(e.port, 5000);
  EXPECT_EQ(e.port_name, "http");
  EXPECT_EQ(e.network, NetworkId("network2"));
  EXPECT_EQ(e.locality.text(), "r2/r2z1");
  EXPECT_EQ(e.service_account, "spiffe://cluster.local/ns/sample/sa/default");
  EXPECT_TRUE(e.mtls);
  EXPECT_EQ(e.workload, "helloworld-0");
  EXPECT_EQ(e.node, "node-2");
  EXPECT_EQ(e.health, model::Health::kHealthy);
  EXPECT_EQ(e.AllLabels(), (model::Labels{{"app", "helloworld"},
                                          {"kubernetes.io/hostname", "node-2"},
                                          {"security.istio.io/tlsMode", "istio"},
                                          {"topology.istio.io/cluster", "cluster2"},
                                          {"topology.istio.io/network", "network2"},
                                          {"topology.kubernetes.io/region", "r2"},
                                          {"topology.kubernetes.io/zone", "r2z1"},
                                          {"version", "v2"}}));
  EXPECT_EQ(e.provenance->source, "EndpointSlice cluster2 sample/helloworld-x");
  EXPECT_EQ(e.provenance->network_source, "pod label");
  EXPECT_EQ(endpoints.service_accounts,
            std::set<std::string>{"spiffe://cluster.local/ns/sample/sa/default"});
  const auto& gateway = *world_.snapshot().endpoints->at(
      "istio-eastwestgateway.istio-system.svc.cluster.local/istio-system");
  EXPECT_EQ(gateway.shards[0]->endpoints.size(), 4u);
  EXPECT_FALSE(gateway.shards[0]->endpoints[0].mtls);
}

TEST_F(RecordedWorldTest, NetworkGatewaysComeFromLabelledServices) {
  const auto& gateways = world_.snapshot().gateways->all();
  ASSERT_EQ(gateways.size(), 2u);
  EXPECT_EQ(gateways[0], (model::NetworkGateway{NetworkId("network1"), ClusterId("cluster1"),
                                                "192.168.229.100", 15443}));
  EXPECT_EQ(gateways[1], (model::NetworkGateway{NetworkId("network2"), ClusterId("cluster2"),
                                                "192.168.229.101", 15443}));
}

TEST_F(RecordedWorldTest, ConfigComesFromTheConfigCluster) {
  EXPECT_TRUE(changes_.config_kinds.contains("VirtualService"));
  ASSERT_EQ(world_.snapshot().configs.virtual_services->size(), 2u);
  EXPECT_EQ(world_.snapshot().configs.virtual_services->at(0)->spec.gateways(0), "istiod-gateway");
  EXPECT_EQ(world_.snapshot().configs.gateways->size(), 3u);
  EXPECT_NE(world_.snapshot().workloads.Find(ClusterId("cluster2"), "sample", "helloworld-0"),
            nullptr);
}

TEST_F(RecordedWorldTest, AnEndpointChangeTouchesOneHost) {
  world_.Apply("cluster2", R"(
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
addressType: IPv4
metadata: {name: helloworld-x, namespace: sample, labels: {kubernetes.io/service-name: helloworld}}
endpoints:
- {addresses: [172.21.0.10], conditions: {ready: false}, nodeName: node-2, targetRef: {kind: Pod, name: helloworld-0, namespace: sample}}
ports: [{name: http, port: 5000}]
)");
  const auto before = world_.mesh().snapshot();
  const model::ChangeSet changes = world_.Update();
  EXPECT_EQ(changes.endpoints, std::set<std::string>{std::string(kHello) + "/sample"});
  EXPECT_TRUE(changes.services.empty());
  EXPECT_FALSE(changes.everything || changes.gateways);
  EXPECT_EQ(before->services, world_.mesh().snapshot()->services);
  const auto& shards = world_.snapshot().endpoints->at(std::string(kHello) + "/sample")->shards;
  EXPECT_EQ(shards[0], before->endpoints->at(std::string(kHello) + "/sample")->shards[0]);
  EXPECT_EQ(shards[1]->endpoints[0].health, model::Health::kUnhealthy);
  EXPECT_TRUE(world_.Update().empty());
}

TEST_F(RecordedWorldTest, EventsThatMeanNothingChangeNothing) {
  world_.ApplyFile("cluster1", "cluster1.yaml");
  world_.ApplyFile("cluster2", "cluster2.yaml");
  const auto before = world_.mesh().snapshot();
  const model::ChangeSet changes = world_.Update();
  EXPECT_TRUE(changes.services.empty() && changes.endpoints.empty() && changes.workloads.empty());
  EXPECT_FALSE(changes.gateways || changes.everything);
}

TEST_F(RecordedWorldTest, RemovingAClusterWithdrawsIt) {
  world_.mesh().RemoveCluster(ClusterId("cluster2"));
  const model::ChangeSet changes = world_.Update();
  EXPECT_TRUE(changes.everything);
  EXPECT_EQ(world_.Service(kHello)->cluster_vips.size(), 1u);
  EXPECT_EQ(world_.Endpoints(kHello, "sample"), "Kubernetes/cluster1: 172.20.0.10:5000@network1\n");
  EXPECT_EQ(world_.snapshot().gateways->all().size(), 1u);
  EXPECT_EQ(world_.snapshot().workloads.Find(ClusterId("cluster2"), "sample", "helloworld-0"),
            nullptr);
  EXPECT_TRUE(changes.workloads.contains("cluster2/sample/helloworld-0"));
}

TEST_F(RecordedWorldTest, ReplacingAClusterKeepsItsPlace) {
  auto fresh = world_.mesh().NewCluster(ClusterId("cluster2"));
  world_.mesh().PutCluster(std::move(fresh));
  world_.Update();
  EXPECT_EQ(world_.Endpoints(kHello, "sample"), "Kubernetes/cluster1: 172.20.0.10:5000@network1\n");
  world_.ApplyFile("cluster2", "cluster2.yaml");
  world_.Update();
  EXPECT_EQ(world_.Endpoints(kHello, "sample"),
            "Kubernetes/cluster1: 172.20.0.10:5000@network1\n"
            "Kubernetes/cluster2: 172.21.0.10:5000@network2\n");
}

std::string Service(const std::string& name, const std::string& spec,
                    const std::string& meta = "") {
  return "apiVersion: v1\nkind: Service\nmetadata: {name: " + name + ", namespace: a" + meta +
         "}\nspec: {" + spec + "}\n";
}
std::string Pod(const std::string& name, const std::string& ip, const std::string& labels = "",
                const std::string& status = "") {
  return "apiVersion: v1\nkind: Pod\nmetadata: {name: " + name + ", namespace: a, labels: {" +
         labels + "}}\nspec: {nodeName: n1, serviceAccountName: sa1}\nstatus: {podIP: " + ip +
         ", phase: Running" + status + "}\n";
}
std::string Slice(const std::string& service, const std::string& ip, const std::string& pod,
                  int port = 80) {
  const std::string target =
      pod.empty() ? "" : ", targetRef: {kind: Pod, name: " + pod + ", namespace: a}";
  return "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\nmetadata: "
         "{name: " +
         service + "-1, namespace: a, labels: {kubernetes.io/service-name: " + service +
         "}}\nendpoints: [{addresses: ['" + ip + "']" + target +
         "}]\nports: [{name: http, port: " + std::to_string(port) + "}]\n";
}
std::string SystemNamespace(const std::string& network) {
  return "apiVersion: v1\nkind: Namespace\nmetadata: {name: istio-system, labels: "
         "{topology.istio.io/network: " +
         network + "}}\n";
}
constexpr char kPorts[] = "clusterIP: 10.0.0.1, ports: [{name: http, port: 80, targetPort: 8080}]";
constexpr char kHost[] = "s.a.svc.cluster.local";

TEST(NetworkTest, PodLabelThenNamespaceThenRegistryThenCidr) {
  World world;
  world.Apply("c1", Service("s", kPorts));
  world.Apply("c1", Pod("p", "10.1.0.1"));
  world.Apply("c1", Slice("s", "10.1.0.1", "p", 8080));
  world.Update();
  EXPECT_EQ(world.Endpoints(kHost, "a"), "Kubernetes/c1: 10.1.0.1:8080@\n");
  auto set = [&world](const char* yaml) {
    auto networks = config::ReadMeshNetworks(yaml);
    ASSERT_TRUE(networks.ok()) << networks.status().message();
    world.mesh().SetNetworks(*networks);
    EXPECT_TRUE(world.Update().everything);
  };
  set("{cidr: {endpoints: [{fromCidr: 10.0.0.0/8}]}, near: {endpoints: [{fromCidr: "
      "10.1.0.0/16}]}}");
  EXPECT_EQ(world.Endpoints(kHost, "a"), "Kubernetes/c1: 10.1.0.1:8080@near\n");
  set("{cidr: {endpoints: [{fromCidr: 10.0.0.0/8}]}, reg: {endpoints: [{fromRegistry: c1}]}}");
  EXPECT_EQ(world.Endpoints(kHost, "a"), "Kubernetes/c1: 10.1.0.1:8080@reg\n");
  world.Apply("c1", SystemNamespace("nsnet"));
  const model::ChangeSet changes = world.Update();
  EXPECT_EQ(changes.endpoints, std::set<std::string>{std::string(kHost) + "/a"});
  EXPECT_EQ(world.Endpoints(kHost, "a"), "Kubernetes/c1: 10.1.0.1:8080@nsnet\n");
  world.Apply("c1", Pod("p", "10.1.0.1", "topology.istio.io/network: podnet"));
  world.Update();
  EXPECT_EQ(world.Endpoints(kHost, "a"), "Kubernetes/c1: 10.1.0.1:8080@podnet\n");
  world.Apply("c1", Pod("p", "10.1.0.1"));
  world.Delete("c1", "Namespace", "istio-system");
  world.Update();
  EXPECT_EQ(world.Endpoints(kHost, "a"), "Kubernetes/c1: 10.1.0.1:8080@reg\n");
}

TEST(EndpointTest, WaitsForThePodAndFollowsIt) {
  World world;
  world.Apply("c1", Service("s", kPorts));
  world.Apply("c1", Slice("s", "10.1.0.1", "p", 8080));
  world.Update();
  EXPECT_EQ(world.Endpoints(kHost, "a"), "none");
  world.Apply("c1", Pod("p", "10.1.0.1"));
  EXPECT_TRUE(world.Update().endpoints.contains(std::string(kHost) + "/a"));
  EXPECT_EQ(world.Endpoints(kHost, "a"), "Kubernetes/c1: 10.1.0.1:8080@\n");
  world.Apply("c1",
              "apiVersion: v1\nkind: Node\nmetadata: {name: n1, labels: "
              "{topology.kubernetes.io/region: r9}}\n");
  const model::ChangeSet changes = world.Update();
  EXPECT_TRUE(changes.endpoints.contains(std::string(kHost) + "/a"));
  EXPECT_TRUE(changes.workloads.contains("c1/a/p"));
  EXPECT_EQ(world.snapshot().endpoints->begin()->second->shards[0]->endpoints[0].locality.region,
            "r9");
  world.Apply(
      "c1",
      "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: a}\nstatus: {phase: Failed}\n");
  world.Update();
  EXPECT_EQ(world.Endpoints(kHost, "a"), "none");
}

TEST(EndpointTest, AddressesWithoutPodsAreKept) {
  World world;
  world.Apply("c1", Service("s", kPorts));
  world.Apply("c1", Slice("s", "192.0.2.7", "", 6443));
  world.Update();
  EXPECT_EQ(world.Endpoints(kHost, "a"), "Kubernetes/c1: 192.0.2.7:6443@\n");
  const auto& endpoint = world.snapshot().endpoints->begin()->second->shards[0]->endpoints[0];
  EXPECT_FALSE(endpoint.mtls);
  EXPECT_EQ(endpoint.service_account, "");
}

TEST(EndpointTest, UnionOfClustersAndPortNames) {
  World world;
  for (const char* cluster : {"c1", "c2", "c3"}) {
    world.Apply(cluster, Service("s", kPorts));
    world.Apply(cluster, Pod("p", "10.1.0.1"));
    world.Apply(cluster, Slice("s", "10.1.0.1", "p", 8080));
  }
  world.Update();
  EXPECT_EQ(world.snapshot().endpoints->begin()->second->shards.size(), 3u);
  world.Delete("c2", "Service", "a/s");
  world.Update();
  EXPECT_EQ(world.Endpoints(kHost, "a"),
            "Kubernetes/c1: 10.1.0.1:8080@\nKubernetes/c3: 10.1.0.1:8080@\n");
  EXPECT_FALSE(world.Service(kHost)->cluster_vips.contains(ClusterId("c2")));
}

TEST(ServiceTest, HeadlessExternalNameAndAnnotations) {
  World world;
  world.Apply("c1", Service("h", "clusterIP: None, ports: [{port: 80}]"));
  world.Apply("c1", Service("x", "type: ExternalName, externalName: example.com"));
  world.Apply("c1", Service("e", kPorts, R"(, annotations: {networking.istio.io/exportTo: ". , b",
      alpha.istio.io/kubernetes-serviceaccounts: sa9, networking.istio.io/traffic-distribution: preferclose})"));
  world.Update();
  EXPECT_EQ(world.Service("h.a.svc.cluster.local")->resolution, model::Resolution::kPassthrough);
  EXPECT_EQ(world.Service("h.a.svc.cluster.local")->default_address, "0.0.0.0");
  EXPECT_EQ(world.Service("x.a.svc.cluster.local")->alias_of, "example.com");
  const model::Service* e = world.Service("e.a.svc.cluster.local");
  EXPECT_EQ(e->export_to.namespaces, (std::set<std::string>{"a", "b"}));
  EXPECT_FALSE(e->export_to.all);
  EXPECT_EQ(e->subject_alt_names, std::vector<std::string>{"spiffe://cluster.local/ns/a/sa/sa9"});
  EXPECT_EQ(e->traffic_distribution, "PreferSameZone");
}

TEST(ServiceTest, DiscoverySelectorsChooseNamespacesOfEachCluster) {
  World world;
  const std::string objects =
      Service("s", kPorts) + "---\n" + Pod("p", "10.1.0.1") + "---\n" + Slice("s", "10.1.0.1", "p");
  auto ns = [](const std::string& labels) {
    return "apiVersion: v1\nkind: Namespace\nmetadata: {name: a, labels: {" + labels + "}}\n";
  };
  world.Apply("c1", objects + "---\n" + ns("team: red"));
  world.Apply("c2", objects + "---\n" + ns("team: blue"));
  world.Update();
  EXPECT_EQ(world.snapshot().endpoints->begin()->second->shards.size(), 2u);
  auto mesh = config::ReadMeshConfig(
      "discoverySelectors: [{matchLabels: {team: red}}, "
      "{matchExpressions: [{key: env, operator: In, values: [prod, test]}]}]");
  ASSERT_TRUE(mesh.ok());
  world.mesh().SetMesh(*mesh);
  world.Update();
  EXPECT_EQ(world.Endpoints(kHost, "a"), "Kubernetes/c1: 10.1.0.1:80@\n");
  EXPECT_EQ(world.snapshot().workloads.Find(ClusterId("c2"), "a", "p"), nullptr);
  // A label decides at once, both ways.
  world.Apply("c2", ns("team: blue, env: prod"));
  EXPECT_TRUE(world.Update().endpoints.contains(std::string(kHost) + "/a"));
  EXPECT_EQ(world.snapshot().endpoints->begin()->second->shards.size(), 2u);
  EXPECT_NE(world.snapshot().workloads.Find(ClusterId("c2"), "a", "p"), nullptr);
  world.Apply("c1", ns("team: green"));
  world.Delete("c2", "Namespace", "a");
  world.Update();
  EXPECT_EQ(world.Service(kHost), nullptr);
  EXPECT_EQ(world.Endpoints(kHost, "a"), "none");
}

TEST(ServiceTest, MeshConfigDecidesDefaultsIdentitiesAndClusterLocalHosts) {
  World world;
  world.Apply("c1", Service("s", kPorts));
  world.Apply("c2", Pod("p", "10.1.0.1") + "---\n" + Service("s", kPorts) + "---\n" +
                        Slice("s", "10.1.0.1", "p"));
  auto mesh = config::ReadMeshConfig(R"(
trustDomain: td
defaultServiceExportTo: ["."]
serviceSettings: [{settings: {clusterLocal: true}, hosts: ["*.a.svc.cluster.local"]}]
)");
  ASSERT_TRUE(mesh.ok());
  world.mesh().SetMesh(*mesh);
  world.Update();
  EXPECT_FALSE(world.Service(kHost)->export_to.all);
  EXPECT_TRUE(world.Service(kHost)->cluster_local);
  EXPECT_EQ(*world.snapshot().endpoints->begin()->second->service_accounts.begin(),
            "spiffe://td/ns/a/sa/sa1");
  world.mesh().SetTrustDomain(ClusterId("c2"), "td2");
  const model::ChangeSet changes = world.Update();
  EXPECT_EQ(*world.snapshot().endpoints->begin()->second->service_accounts.begin(),
            "spiffe://td2/ns/a/sa/sa1");
  EXPECT_TRUE(changes.services.contains(kHost));
}

TEST(GatewayTest, LoadBalancerExternalIpsAndNodePorts) {
  World world;
  auto gateways = [&world] {
    world.Update();
    std::string text;
    for (const auto& g : world.snapshot().gateways->all())
      text += fmt::format("{}:{} ", g.address, g.port);
    return text;
  };
  const std::string label = ", labels: {topology.istio.io/network: n1}";
  world.Apply("c1",
              Service("g", "type: LoadBalancer, ports: [{port: 15443, nodePort: 30443}]", label));
  EXPECT_EQ(gateways(), "");
  world.Apply("c1",
              Service("g", "type: LoadBalancer, ports: [{port: 15443, nodePort: 30443}]", label) +
                  "status: {loadBalancer: {ingress: [{ip: 1.1.1.1}, {hostname: lb.example}]}}\n");
  EXPECT_EQ(gateways(), "1.1.1.1:15443 ");
  EXPECT_EQ(world.mesh().GatewayHosts(), std::set<std::string>{"lb.example"});
  world.mesh().SetResolved("lb.example", {"2.2.2.2", "2.2.2.1"});
  EXPECT_EQ(gateways(), "1.1.1.1:15443 2.2.2.1:15443 2.2.2.2:15443 ");
  world.Apply(
      "c1",
      Service("g", "type: NodePort, ports: [{port: 15443, nodePort: 30443}]",
              label + ", annotations: {traffic.istio.io/nodeSelector: '{\"role\": \"edge\"}'}"));
  EXPECT_EQ(gateways(), "");
  world.Apply("c1", R"(
apiVersion: v1
kind: Node
metadata: {name: n1, labels: {role: edge}}
status: {addresses: [{type: InternalIP, address: 9.9.9.9}, {type: ExternalIP, address: 3.3.3.3}]}
)");
  EXPECT_EQ(gateways(), "3.3.3.3:30443 ");
  world.Apply(
      "c1", Service("g", "type: ClusterIP, externalIPs: [4.4.4.4], ports: [{port: 15443}]", label));
  EXPECT_EQ(gateways(), "4.4.4.4:15443 ");
  world.Apply(
      "c1",
      Service("g", "externalIPs: [4.4.4.4], ports: [{port: 443}]",
              ", labels: {topology.istio.io/network: n1, networking.istio.io/gatewayPort: '443'}"));
  EXPECT_EQ(gateways(), "4.4.4.4:443 ");
  world.Apply("c1", Service("g", "externalIPs: [4.4.4.4], ports: [{port: 80}]", label));
  EXPECT_EQ(gateways(), "");
  world.Delete("c1", "Service", "a/g");
  auto networks = config::ReadMeshNetworks(
      "{n2: {endpoints: [{fromRegistry: c1}], gateways: [{address: 5.5.5.5, port: 443}, "
      "{registryServiceName: ew.a.svc.cluster.local, port: 80}]}}");
  ASSERT_TRUE(networks.ok());
  world.mesh().SetNetworks(*networks);
  EXPECT_EQ(gateways(), "5.5.5.5:443 ");
  world.Apply("c1", Service("ew", "externalIPs: [6.6.6.6], ports: [{port: 80}]"));
  EXPECT_EQ(gateways(), "5.5.5.5:443 6.6.6.6:80 ");
}

std::string Entry(const std::string& name, const std::string& spec, const std::string& meta = "") {
  return "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: " + name +
         ", namespace: a" + meta + "}\nspec: {" + spec + "}\n";
}

TEST(ServiceEntryTest, HostsAddressesEndpoints) {
  World world;
  world.Apply(
      "c1",
      Entry("e", R"(hosts: [db.example], addresses: [10.9.0.1/32, 10.8.0.0/16], resolution: STATIC,
      location: MESH_INTERNAL, ports: [{number: 3306, name: mysql, protocol: MySQL, targetPort: 13306}],
      endpoints: [{address: 1.2.3.4, network: n7, weight: 3, serviceAccount: db, locality: r1/z1},
                  {address: 1.2.3.5, ports: {mysql: 23306}}])"));
  world.Update();
  const auto& services = world.snapshot().services->at("db.example");
  ASSERT_EQ(services.size(), 2u);
  EXPECT_EQ(services[0]->default_address, "10.9.0.1");
  EXPECT_EQ(services[1]->default_address, "10.8.0.0/16");
  EXPECT_EQ(services[0]->ports[0].protocol, model::Protocol::kMysql);
  EXPECT_FALSE(services[0]->external);
  EXPECT_EQ(world.Endpoints("db.example", "a"), "External/c1: 1.2.3.4:13306@n7 1.2.3.5:23306@\n");
  const auto& endpoint = world.snapshot().endpoints->at("db.example/a")->shards[0]->endpoints[0];
  EXPECT_TRUE(endpoint.mtls);
  EXPECT_EQ(endpoint.weight, 3u);
  EXPECT_EQ(endpoint.service_account, "spiffe://cluster.local/ns/a/sa/db");
  world.Delete("c1", "ServiceEntry", "a/e");
  const model::ChangeSet changes = world.Update();
  EXPECT_TRUE(changes.services.contains("db.example"));
  EXPECT_TRUE(changes.endpoints.contains("db.example/a"));
  EXPECT_TRUE(changes.configs.contains("ServiceEntry/a/e"));
  EXPECT_EQ(world.Service("db.example"), nullptr);
}

TEST(ServiceEntryTest, DnsHostIsItsOwnEndpointAndGetsAnAddress) {
  World world;
  world.Apply("c1", Entry("e",
                          "hosts: [api.example, '*.wild.example'], resolution: DNS, ports: "
                          "[{number: 443, name: tls, protocol: TLS}]"));
  world.Update();
  EXPECT_EQ(world.Endpoints("api.example", "a"), "External/c1: api.example:443@\n");
  const std::string address = world.Service("api.example")->auto_address;
  EXPECT_TRUE(address.starts_with("240.240."));
  EXPECT_EQ(world.Service("*.wild.example")->auto_address, "");
  EXPECT_TRUE(world.Service("api.example")->external);
  // A controller's choice in the status beats our own.
  world.Apply("c1", Entry("e",
                          "hosts: [api.example], resolution: DNS, ports: [{number: 443, name: tls, "
                          "protocol: TLS}]") +
                        "status: {addresses: [{value: 240.240.9.9, host: api.example}]}\n");
  world.Update();
  EXPECT_EQ(world.Service("api.example")->auto_address, "240.240.9.9");
}

TEST(ServiceEntryTest, SelectsPodsAndEntriesOfAllClusters) {
  World world;
  world.Apply("c1", Entry("e",
                          "hosts: [x.example], resolution: STATIC, workloadSelector: {labels: "
                          "{app: x}}, ports: [{number: 80, name: http, protocol: HTTP}]"));
  world.Apply("c2",
              Pod("p", "10.2.0.1", "app: x", ", conditions: [{type: Ready, status: 'True'}]"));
  world.Apply("c1",
              "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {name: vm, "
              "namespace: a}\n"
              "spec: {address: 10.3.0.1, labels: {app: x}, network: vmnet, ports: {http: 8080}}\n");
  world.Update();
  EXPECT_EQ(world.Endpoints("x.example", "a"),
            "External/c1: 10.3.0.1:8080@vmnet\nExternal/c2: 10.2.0.1:80@\n");
  world.Apply("c2", Pod("p", "10.2.0.1", "app: x"));  // No longer ready.
  const model::ChangeSet changes = world.Update();
  EXPECT_EQ(changes.endpoints, std::set<std::string>{"x.example/a"});
  EXPECT_EQ(world.Endpoints("x.example", "a"), "External/c1: 10.3.0.1:8080@vmnet\n");
  EXPECT_EQ(world.snapshot().workloads.Find(ClusterId("c1"), "a", "vm")->network,
            NetworkId("vmnet"));
}

TEST(ServiceEntryTest, KubernetesServiceWinsItsNamespaceAndEndpointsAdd) {
  World world;
  world.Apply(
      "c1",
      Service("s", "clusterIP: 10.0.0.1, selector: {app: x}, ports: [{name: http, port: 80}]"));
  world.Apply("c1", Entry("e",
                          "hosts: [s.a.svc.cluster.local], resolution: STATIC, ports: [{number: "
                          "80, name: http, protocol: HTTP}], endpoints: [{address: 9.9.9.9}]"));
  world.Apply("c2", Service("s",
                            "clusterIP: 10.0.0.2, selector: {app: x}, ports: [{name: http, port: "
                            "80, targetPort: 8080}]") +
                        "---\napiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: "
                        "{name: vm, namespace: a}\n"
                        "spec: {address: 10.3.0.1, labels: {app: x}}\n");
  world.Update();
  ASSERT_EQ(world.snapshot().services->at(kHost).size(), 1u);
  EXPECT_TRUE(world.Service(kHost)->kubernetes);
  EXPECT_EQ(world.Endpoints(kHost, "a"),
            "External/c1: 9.9.9.9:80@\nKubernetes/c2: 10.3.0.1:8080@\n");
}

TEST(ConfigStoreTest, LeavesOutWhatCannotBeReadAndSaysWhy) {
  World world;
  world.Apply("c1",
              "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: good, "
              "namespace: a}\nspec: {hosts: [x]}\n");
  world.Apply("c1",
              "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: bad, "
              "namespace: a}\nspec: {hosts: 1}\n");
  world.Update();
  EXPECT_EQ(world.snapshot().configs.virtual_services->size(), 1u);
  ASSERT_EQ(world.mesh().configs().errors().size(), 1u);
  EXPECT_EQ(world.mesh().configs().errors().begin()->first, "VirtualService/a/bad");
  world.Apply("c1",
              "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: bad, "
              "namespace: a}\nspec: {hosts: [other]}\n");
  const model::ChangeSet changes = world.Update();
  EXPECT_EQ(changes.configs, std::set<std::string>{"VirtualService/a/bad"});
  EXPECT_TRUE(world.mesh().configs().errors().empty());
  EXPECT_EQ(world.snapshot().configs.virtual_services->size(), 2u);
}

TEST(CredentialTest, TlsSecretsOfAllClusters) {
  World world;
  world.Apply(
      "c2",
      "apiVersion: v1\nkind: Secret\ntype: kubernetes.io/tls\nmetadata: {name: t, namespace: a}\n"
      "data: {tls.crt: Q0VSVA==, tls.key: S0VZ}\n");
  world.Apply("c2",
              "apiVersion: v1\nkind: Secret\ntype: Opaque\nmetadata: {name: other, namespace: "
              "a}\ndata: {x: Q0VSVA==}\n");
  world.Update();
  ASSERT_EQ(world.snapshot().credentials->size(), 1u);
  EXPECT_EQ(world.snapshot().credentials->at("c2/a/t").certificate_pem, "CERT");
  world.Delete("c2", "Secret", "a/t");
  EXPECT_EQ(world.Update().credentials, std::set<std::string>{"c2/a/t"});
  EXPECT_TRUE(world.snapshot().credentials->empty());
}

TEST(HostileTest, OddShapesAreReadAsAbsent) {
  World world;
  for (const char* yaml :
       {"{kind: Service, metadata: {name: s, namespace: a, labels: [], annotations: 1}, spec: "
        "{ports: {a: b}, selector: x, externalIPs: [1, {}]}}",
        "{kind: Service, metadata: {name: s2, namespace: a}, spec: [1]}",
        "{kind: Pod, metadata: {name: p, namespace: a, labels: {a: 1}, ownerReferences: [1]}, "
        "spec: {containers: [{ports: 3}]}, status: {podIPs: [1]}}",
        "{kind: EndpointSlice, metadata: {name: e, namespace: a, labels: "
        "{kubernetes.io/service-name: s}}, ports: [{port: 99999}, {port: x}], endpoints: [1, "
        "{addresses: [1]}, {addresses: x}]}",
        "{kind: Node, metadata: {name: n}, status: {addresses: x}}",
        "{kind: Secret, metadata: {name: x, namespace: a}, data: {tls.crt: '!!', tls.key: 7}}",
        "{kind: Namespace, metadata: {name: istio-system, labels: {topology.istio.io/network: "
        "5}}}"})
    world.Apply("c1", yaml);
  world.Update();
  EXPECT_NE(world.Service(kHost), nullptr);
  EXPECT_TRUE(world.snapshot().endpoints->empty());
}

}  // namespace
}  // namespace isthmus::registry
