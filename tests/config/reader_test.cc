#include <gtest/gtest.h>

#include "config/mesh.h"
#include "config/parse.h"
#include "config/reader.h"
#include "istio/mesh/v1alpha1/config.pb.h"
#include "istio/mesh/v1alpha1/network.pb.h"
#include "istio/networking/v1/destination_rule.pb.h"
#include "istio/networking/v1/envoy_filter.pb.h"
#include "istio/networking/v1/virtual_service.pb.h"
#include "istio/security/v1/peer_authentication.pb.h"

namespace isthmus::config {
namespace {

using istio::networking::v1::DestinationRule;
using istio::networking::v1::VirtualService;
using kubeapi::Json;

template <typename T>
T Read(const std::string& yaml, ReadReport* report = nullptr) {
  T message;
  ReadReport local;
  auto json = kubeapi::ParseYaml(yaml);
  EXPECT_TRUE(json.ok()) << json.status().message();
  if (json.ok()) ReadMessage(*json, "spec", message, report ? *report : local);
  if (report == nullptr) {
    EXPECT_EQ(local.status().message(), "");
  }
  return message;
}

TEST(ReaderTest, ReadsAVirtualService) {
  const auto vs = Read<VirtualService>(R"(
hosts: [reviews]
http:
- match:
  - uri: {prefix: /api}
    headers: {end-user: {exact: jason}}
    ignoreUriCase: true
  route:
  - destination: {host: reviews, subset: v1, port: {number: 9080}}
    weight: 30
  timeout: 1m30.5s
  retries: {attempts: 3, perTryTimeout: 100ms, retryOn: "5xx"}
  fault: {delay: {percentage: {value: 0.1}, fixedDelay: 5s}}
)");
  ASSERT_EQ(vs.http_size(), 1);
  EXPECT_EQ(vs.http(0).match(0).uri().prefix(), "/api");
  EXPECT_EQ(vs.http(0).match(0).headers().at("end-user").exact(), "jason");
  EXPECT_EQ(vs.http(0).route(0).destination().port().number(), 9080u);
  EXPECT_EQ(vs.http(0).timeout().seconds(), 90);
  EXPECT_EQ(vs.http(0).timeout().nanos(), 500'000'000);
  EXPECT_EQ(vs.http(0).retries().per_try_timeout().nanos(), 100'000'000);
  EXPECT_DOUBLE_EQ(vs.http(0).fault().delay().percentage().value(), 0.1);
}

TEST(ReaderTest, ReadsWrappersEnumsAndIntegerKeys) {
  const auto rule = Read<DestinationRule>(R"(
host: a
trafficPolicy:
  loadBalancer: {simple: LEAST_REQUEST, localityLbSetting: {enabled: false}}
  outlierDetection: {consecutive5xxErrors: 0, interval: 5m}
  tls: {mode: ISTIO_MUTUAL}
)");
  EXPECT_EQ(rule.traffic_policy().load_balancer().simple(),
            istio::networking::v1::LoadBalancerSettings::LEAST_REQUEST);
  EXPECT_TRUE(rule.traffic_policy().outlier_detection().has_consecutive_5xx_errors());
  EXPECT_TRUE(rule.traffic_policy().load_balancer().locality_lb_setting().has_enabled());
  using istio::security::v1::PeerAuthentication;
  const auto pa =
      Read<PeerAuthentication>("portLevelMtls: {8080: {mode: DISABLE}, '9090': {mode: STRICT}}");
  EXPECT_EQ(pa.port_level_mtls().at(8080).mode(), PeerAuthentication::MutualTLS::DISABLE);
  EXPECT_EQ(pa.port_level_mtls().at(9090).mode(), PeerAuthentication::MutualTLS::STRICT);
}

TEST(ReaderTest, ReadsFreeFormPatches) {
  const auto filter = Read<istio::networking::v1::EnvoyFilter>(R"(
configPatches:
- applyTo: HTTP_FILTER
  match: {context: SIDECAR_INBOUND, listener: {filterChain: {filter: {name: hcm}}}}
  patch: {operation: INSERT_BEFORE, value: {name: lua, n: 1, list: [a, null, true]}}
)");
  const auto& value = filter.config_patches(0).patch().value();
  EXPECT_EQ(value.fields().at("list").list_value().values_size(), 3);
  EXPECT_EQ(value.fields().at("n").number_value(), 1);
}

TEST(ReaderTest, DecodesBytes) {
  const auto vs =
      Read<VirtualService>("http: [{directResponse: {status: 200, body: {bytes: aGVsbG8=}}}]");
  EXPECT_EQ(vs.http(0).direct_response().body().bytes(), "hello");
  ReadReport report;
  Read<VirtualService>("http: [{directResponse: {body: {bytes: '!'}}}]", &report);
  EXPECT_EQ(report.errors.size(), 1u);
}

TEST(ReaderTest, TellsUnknownFieldsAndGoesOn) {
  ReadReport report;
  const auto vs =
      Read<VirtualService>("{hosts: [a], http: [{rout: [], name: x}], extra: 1}", &report);
  EXPECT_EQ(report.unknown, (std::vector<std::string>{"spec.extra", "spec.http[0].rout"}));
  EXPECT_TRUE(report.errors.empty());
  EXPECT_EQ(vs.http(0).name(), "x");
}

TEST(ReaderTest, NamesTheFieldOfEveryError) {
  ReadReport report;
  Read<VirtualService>(R"(
hosts: reviews
http:
- timeout: soon
  match: [{uri: {prefix: /a, exact: /b}}, {port: -1}]
  route: [{destination: {host: 1}, weight: 1.5}, null]
  corsPolicy: {unmatchedPreflights: MAYBE}
  retries: []
)",
                       &report);
  std::vector<std::string> fields;
  for (const Issue& issue : report.errors) fields.push_back(issue.field);
  EXPECT_EQ(fields,
            (std::vector<std::string>{
                "spec.hosts", "spec.http[0].corsPolicy.unmatchedPreflights",
                "spec.http[0].match[0].uri.prefix", "spec.http[0].match[1].port",
                "spec.http[0].retries", "spec.http[0].route[0].destination.host",
                "spec.http[0].route[0].weight", "spec.http[0].route[1]", "spec.http[0].timeout"}));
}

TEST(ReaderTest, SurvivesHostileShapes) {
  ReadReport report;
  Json deep = Json::object();
  for (int i = 0; i < 100; ++i) deep = Json{{"a", Json::array({deep})}};
  istio::networking::v1::EnvoyFilter filter;
  const Json patches = Json::array({Json{{"patch", {{"value", deep}}}}});
  ReadMessage(Json{{"configPatches", patches}}, "", filter, report);
  EXPECT_TRUE(report.errors.empty());
  VirtualService vs;
  for (const Json& bad : {Json(1), Json("x"), Json::array(), Json(nullptr)}) {
    ReadReport each;
    ReadMessage(bad, "spec", vs, each);
    EXPECT_FALSE(each.errors.empty()) << bad.dump();
  }
  ReadReport each;
  Read<VirtualService>("http: [{match: [{port: 4294967296}]}]", &each);
  EXPECT_EQ(each.errors.size(), 1u);
}

TEST(DurationTest, ReadsGosForms) {
  google::protobuf::Duration d;
  EXPECT_TRUE(ParseDuration("1h2m3s4ms", d));
  EXPECT_EQ(d.seconds(), 3723);
  EXPECT_EQ(d.nanos(), 4'000'000);
  EXPECT_TRUE(ParseDuration("-1.5s", d));
  EXPECT_EQ(d.seconds(), -1);
  EXPECT_EQ(d.nanos(), -500'000'000);
  EXPECT_TRUE(ParseDuration("0", d));
  for (const char* bad :
       {"", "1", "s", "1x", "1s2", "1..5s", "- 1s", "1e5s", "999999999999h", "--1s"})
    EXPECT_FALSE(ParseDuration(bad, d)) << bad;
}

TEST(ObjectTest, ReadsMetadataAndSpec) {
  auto json = kubeapi::ParseYaml(R"(
apiVersion: networking.istio.io/v1alpha3
kind: DestinationRule
metadata:
  name: hello
  namespace: sample
  labels: {a: b}
  creationTimestamp: "2026-11-21T12:42:03Z"
  resourceVersion: "7"
spec: {host: hello}
)");
  ASSERT_TRUE(json.ok());
  auto object = ReadObject<DestinationRule>(*json);
  ASSERT_TRUE(object.ok()) << object.status().message();
  EXPECT_EQ((*object)->meta.group, "networking.istio.io");
  EXPECT_EQ((*object)->meta.version, "v1alpha3");
  EXPECT_EQ((*object)->meta.labels.at("a"), "b");
  EXPECT_EQ(base::FormatTime((*object)->meta.created), "2026-11-21T12:42:03Z");
  EXPECT_EQ((*object)->spec.host(), "hello");
  (*json)["spec"]["host"] = 5;
  const std::string error = ReadObject<DestinationRule>(*json).status().message();
  EXPECT_NE(error.find("DestinationRule sample/hello: spec.host"), std::string::npos) << error;
}

TEST(MeshConfigTest, LaysTheUsersFieldsOverTheDefaults) {
  std::vector<std::string> unknown;
  auto mesh = ReadMeshConfig(R"(
accessLogFile: /dev/stdout
trustDomain: td1
enableAutoMtls: false
defaultConfig:
  meshId: mesh1
  proxyMetadata: {ISTIO_META_DNS_CAPTURE: "true"}
defaultServiceExportTo: ["."]
outboundTrafficPolicy: {mode: REGISTRY_ONLY}
serviceSettings: [{settings: {clusterLocal: true}, hosts: ["*.a.svc.cluster.local"]}]
extensionProviders: [{name: envoy, envoyFileAccessLog: {path: /tmp/x}}]
meshMTLS: {minProtocolVersion: TLSV1_3}
someFutureField: 1
)",
                             "istio-system", &unknown);
  ASSERT_TRUE(mesh.ok()) << mesh.status().message();
  const auto& m = **mesh;
  EXPECT_EQ(m.trust_domain(), "td1");
  EXPECT_FALSE(m.enable_auto_mtls().value());
  EXPECT_EQ(m.default_config().mesh_id(), "mesh1");
  EXPECT_EQ(m.default_config().discovery_address(), "istiod.istio-system.svc:15012");
  EXPECT_EQ(m.default_config().drain_duration().seconds(), 45);
  ASSERT_EQ(m.default_service_export_to_size(), 1);
  EXPECT_EQ(m.default_service_export_to(0), ".");
  EXPECT_EQ(m.default_virtual_service_export_to(0), "*");
  EXPECT_EQ(m.extension_providers_size(), 2);
  EXPECT_EQ(m.extension_providers(0).envoy_file_access_log().path(), "/tmp/x");
  EXPECT_TRUE(m.locality_lb_setting().enabled().value());
  EXPECT_EQ(m.proxy_listen_port(), 15001);
  EXPECT_EQ(m.mesh_mtls().min_protocol_version(),
            istio::mesh::v1alpha1::MeshConfig::TLSConfig::TLSV1_3);
  EXPECT_EQ(unknown, std::vector<std::string>{"someFutureField"});
  EXPECT_FALSE(ReadMeshConfig("trustDomain: [1]").ok());
  EXPECT_FALSE(ReadMeshConfig("[]").ok());
  EXPECT_TRUE(ReadMeshConfig("").ok());
}

TEST(MeshNetworksTest, AcceptsEveryNesting) {
  const std::string inner =
      "{n1: {endpoints: [{fromRegistry: c1}], gateways: [{address: 1.2.3.4, port: 443}]}}";
  for (const std::string& yaml : {inner, "networks: " + inner, "meshNetworks: " + inner,
                                  "meshNetworks: {networks: " + inner + "}"}) {
    auto networks = ReadMeshNetworks(yaml);
    ASSERT_TRUE(networks.ok()) << yaml << networks.status().message();
    ASSERT_EQ((*networks)->networks().count("n1"), 1u) << yaml;
    EXPECT_EQ((*networks)->networks().at("n1").gateways(0).address(), "1.2.3.4");
  }
  auto odd = ReadMeshNetworks("networks: {endpoints: [{fromRegistry: c1}]}");
  ASSERT_TRUE(odd.ok());
  EXPECT_EQ((*odd)->networks().count("networks"), 1u);
}

TEST(MeshNetworksTest, DropsPlaceholdersAndRefusesBadPorts) {
  auto networks = ReadMeshNetworks(
      "networks: {n1: {gateways: [{address: 0.0.0.0, port: 443}, {address: 1.1.1.1, port: 1}]}}");
  ASSERT_TRUE(networks.ok());
  EXPECT_EQ((*networks)->networks().at("n1").gateways_size(), 1);
  EXPECT_FALSE(ReadMeshNetworks("networks: {n1: {gateways: [{address: 1.1.1.1, port: 0}]}}").ok());
  EXPECT_FALSE(ReadMeshNetworks("networks: {n1: {gateways: [{address: 1.1.1.1}]}}").ok());
  EXPECT_TRUE(ReadMeshNetworks("").ok());
}

}  // namespace
}  // namespace isthmus::config
