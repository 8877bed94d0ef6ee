#include "cli/proxy_dump.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/encoding.h"
#include "cli/documents.h"
#include "cli/pods.h"
#include "cli/table.h"
#include "tests/pki/pki_fixture.h"

namespace isthmus::cli {
namespace {

using ::testing::ElementsAre;

Json Parse(std::string_view text) {
  auto json = kubeapi::ParseJson(text);
  EXPECT_TRUE(json.ok()) << json.status().message();
  return std::move(json).value();
}

std::vector<std::string> Row(std::initializer_list<const char*> cells) {
  return {cells.begin(), cells.end()};
}

TEST(Table, PadsAllButTheLastColumn) {
  Table table(3);
  table.Add({"A", "LONGER", "C"});
  table.Add({"äöü", "", "last"});
  EXPECT_EQ(table.Text(), "A     LONGER   C\näöü            last\n");
}

TEST(PodArgument, DividesTypeNameAndNamespace) {
  const auto text = [](std::string_view argument) {
    const PodArgument pod = ParsePodArgument(argument);
    return pod.type + "|" + pod.name + "|" + pod.ns;
  };
  EXPECT_EQ(text("a"), "|a|");
  EXPECT_EQ(text("a.b"), "|a|b");
  EXPECT_EQ(text("a.b.c"), "|a.b|c");
  EXPECT_EQ(text("Deploy/a.b"), "deploy|a|b");
  EXPECT_EQ(text("deployments.apps/a"), "deployments.apps|a|");
  EXPECT_EQ(text("pod/a"), "|a|");
}

TEST(Documents, KnowTheirLines) {
  const auto documents = ReadDocuments(
      "# first\n\na: 1\n---\nkind: List\nitems: [{b: 1}, {b: 2}]\n--- # third\n\nc: 1\n", "f");
  ASSERT_TRUE(documents.ok()) << documents.status().message();
  ASSERT_EQ(documents->size(), 4u);
  EXPECT_EQ((*documents)[0].line, 3);
  EXPECT_EQ((*documents)[2].object, Json({{"b", 2}}));
  EXPECT_EQ((*documents)[3].line, 9);
  EXPECT_EQ(ReadDocuments("a: 1\n---\n[1]\n", "f").status().message(), "f:3: expected an object");
  EXPECT_NE(ReadDocuments("a: 1\n---\nb: [\n", "f").status().message().find("f: "),
            std::string::npos);
}

constexpr char kDump[] = R"({"configs":[
 {"@type":"type.googleapis.com/envoy.admin.v3.ClustersConfigDump",
  "static_clusters":[{"cluster":{"name":"xds-grpc","type":"STATIC"}}],
  "dynamic_active_clusters":[
   {"cluster":{"name":"outbound|80|v1|b.ns.svc.cluster.local","type":"EDS","metadata":{"filter_metadata":{"istio":{"config":"/apis/networking.istio.io/v1/namespaces/ns/destination-rule/rule"}}}}},
   {"cluster":{"name":"inbound|80||","type":"ORIGINAL_DST"}},
   {"cluster":{"name":"outbound|9080||b.ns.svc.cluster.local","type":"EDS"}},
   {"cluster":{"name":"BlackHoleCluster"}}]},
 {"@type":"type.googleapis.com/envoy.admin.v3.ListenersConfigDump","dynamic_listeners":[
   {"name":"l2","active_state":{"listener":{"name":"0.0.0.0_80","address":{"socket_address":{"address":"0.0.0.0","port_value":80}},
     "filter_chains":[
      {"filter_chain_match":{"transport_protocol":"raw_buffer","application_protocols":["http/1.0","http/1.1","h2c"]},
       "filters":[{"name":"hcm","typed_config":{"@type":"type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager","rds":{"route_config_name":"80"}}}]}],
     "default_filter_chain":{"filters":[{"typed_config":{"@type":"x/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy","cluster":"PassthroughCluster"}}]}}}},
   {"name":"l1","active_state":{"listener":{"name":"inbound","address":{"socket_address":{"address":"10.0.0.1","port_value":15006}},
     "filter_chains":[
      {"filter_chain_match":{"destination_port":8080,"server_names":["a.com"],"application_protocols":["istio-peer-exchange","istio"]},
       "filters":[{"typed_config":{"@type":"x.HttpConnectionManager","route_config":{"virtual_hosts":[{"domains":["*"],"routes":[{"match":{"prefix":"/"},"route":{"cluster":"inbound|8080||"}}]}]}}}]},
      {"filter_chain_match":{"prefix_ranges":[{"address_prefix":"10.1.0.0","prefix_len":16}]},"filters":[{"typed_config":{"@type":"x.TcpProxy","cluster":"a"}}]},
      {"filters":[{"typed_config":{"@type":"x.HttpConnectionManager","route_config":{"virtual_hosts":[{"domains":["*"],"routes":[{"match":{"path":"/ready"}},{"match":{"prefix":"/s"}}]}]}}}]}]}}}]},
 {"@type":"type.googleapis.com/envoy.admin.v3.RoutesConfigDump","dynamic_route_configs":[
   {"route_config":{"name":"80","virtual_hosts":[
     {"name":"b.ns.svc.cluster.local:80","domains":["b.ns.svc.cluster.local:80","b.ns.svc.cluster.local.","b","b.ns.svc","b.ns","10.0.0.9"],
      "routes":[{"match":{"prefix":"/x"},"metadata":{"filter_metadata":{"istio":{"config":"/apis/networking.istio.io/v1/namespaces/ns/virtual-service/vs"}}}},{"match":{"safe_regex":{"regex":".*"}}}]},
     {"name":"block","domains":["*"],"routes":[]},
     {"name":"allow_any","domains":["*"],"routes":[{"match":{"prefix":"/"},"route":{"cluster":"PassthroughCluster"}}]}]}}]},
 {"@type":"type.googleapis.com/envoy.admin.v3.EndpointsConfigDump","dynamic_endpoint_configs":[
   {"endpoint_config":{"cluster_name":"outbound|80||b","endpoints":[{"locality":{"region":"r","zone":"z"},"lb_endpoints":[
     {"endpoint":{"address":{"socket_address":{"address":"10.0.0.5","port_value":80}}}}]}]}}]},
 {"@type":"type.googleapis.com/envoy.admin.v3.EcdsConfigDump","ecds_filters":[{"ecds_filter":{"name":"f","typed_config":{"@type":"t/a.b.C"}}}]}
]})";

TEST(ProxyDump, Clusters) {
  EXPECT_THAT(
      ClusterRows(Clusters(Parse(kDump), {})),
      ElementsAre(Row({"SERVICE FQDN", "PORT", "SUBSET", "DIRECTION", "TYPE", "DESTINATION RULE"}),
                  Row({"", "80", "-", "inbound", "ORIGINAL_DST", ""}),
                  Row({"BlackHoleCluster", "-", "-", "-", "STATIC", ""}),
                  Row({"b.ns.svc.cluster.local", "80", "v1", "outbound", "EDS", "rule.ns"}),
                  Row({"b.ns.svc.cluster.local", "9080", "-", "outbound", "EDS", ""}),
                  Row({"xds-grpc", "-", "-", "-", "STATIC", ""})));
  ProxyFilter filter;
  filter.fqdn = "b.ns";
  filter.port = 80;
  EXPECT_EQ(Clusters(Parse(kDump), filter).size(), 1u);
}

TEST(ProxyDump, Listeners) {
  const std::vector<Json> listeners = Listeners(Parse(kDump), {});
  EXPECT_THAT(ListenerRows(listeners, true),
              ElementsAre(Row({"ADDRESSES", "PORT", "MATCH", "DESTINATION"}),
                          Row({"0.0.0.0", "80", "Trans: raw_buffer; App: HTTP", "Route: 80"}),
                          Row({"0.0.0.0", "80", "ALL", "PassthroughCluster"}),
                          Row({"10.0.0.1", "15006", "SNI: a.com; App: TCP TLS; Addr: *:8080",
                               "Cluster: inbound|8080||"}),
                          Row({"10.0.0.1", "15006", "Addr: 10.1.0.0/16", "Cluster: a"}),
                          Row({"10.0.0.1", "15006", "ALL", "Inline Route: /ready, /s*"})));
  EXPECT_THAT(ListenerRows(listeners, false)[1], Row({"0.0.0.0", "80", "HTTP+TCP"}));
  ProxyFilter filter;
  filter.port = 15006;
  EXPECT_EQ(Listeners(Parse(kDump), filter).size(), 1u);
}

TEST(ProxyDump, Routes) {
  EXPECT_THAT(
      RouteRows(Routes(Parse(kDump), {}), true),
      ElementsAre(Row({"NAME", "VHOST NAME", "DOMAINS", "MATCH", "VIRTUAL SERVICE"}),
                  Row({"80", "b.ns.svc.cluster.local:80", "b, b.ns + 1 more...", "/x*", "vs.ns"}),
                  Row({"80", "b.ns.svc.cluster.local:80", "b, b.ns + 1 more...", "regex .*", ""}),
                  Row({"80", "block", "*", "/*", "404"})));
  EXPECT_THAT(RouteRows(Routes(Parse(kDump), {}), false)[1], Row({"80", "3"}));
}

TEST(ProxyDump, EndpointsAndExtensions) {
  EXPECT_THAT(EdsRows(Parse(kDump), {})[1],
              Row({"10.0.0.5:80", "HEALTHY", "r/z", "outbound|80||b"}));
  EXPECT_THAT(EcdsRows(Parse(kDump))[1], Row({"f", "a.b.C"}));
}

TEST(ProxyDump, Secrets) {
  const pki::TestCa ca;
  const auto entry = [](const char* name, const char* kind, const char* field,
                        const std::string& pem) {
    return Json({{"name", name},
                 {"secret", {{kind, {{field, {{"inline_bytes", base::Base64Encode(pem)}}}}}}}});
  };
  const Json dump = {
      {"configs",
       {{{"@type", "x.SecretsConfigDump"},
         {"dynamic_active_secrets",
          {entry("default", "tls_certificate", "certificate_chain", ca.intermediate.chain_pem()),
           entry("ROOTCA", "validation_context", "trusted_ca", ca.roots.pem())}},
         {"dynamic_warming_secrets",
          {entry("later", "tls_certificate", "certificate_chain", "")}}}}}};
  const Rows rows = SecretRows(dump, ca.clock.Now());
  ASSERT_EQ(rows.size(), 4u);
  const pki::Certificate& root = ca.roots.roots()[0];
  EXPECT_EQ(rows[1], (std::vector<std::string>{"ROOTCA", "CA", "ACTIVE", "true", root.serial(),
                                               base::FormatTime(root.not_after()),
                                               base::FormatTime(root.not_before())}));
  EXPECT_EQ(rows[2][1], "Cert Chain");
  EXPECT_THAT(rows[3], ElementsAre("later", "Cert Chain", "WARMING", "false", "", "", ""));
  EXPECT_EQ(SecretRows(dump, base::Time())[1][3], "false");
  EXPECT_THAT(RootFingerprints(dump), ElementsAre(root.sha256()));
}

TEST(ProxyDump, SurvivesAnything) {
  for (
      const char* text :
      {"{}", "[]", "null", R"({"configs":5})",
       R"({"configs":[1,{"@type":5},{"@type":"x.ClustersConfigDump","static_clusters":[{"cluster":{"name":7}}]}]})",
       R"({"configs":[{"@type":"x.ListenersConfigDump","dynamic_listeners":[{"active_state":{"listener":{"address":3,"filter_chains":[{"filters":[4]}]}}}]}]})",
       R"({"configs":[{"@type":"x.RoutesConfigDump","dynamic_route_configs":[{"route_config":{"virtual_hosts":[{"domains":[],"routes":[{"match":3}]}]}}]}]})",
       R"({"cluster_statuses":[{"host_statuses":[{"address":"x"}]}]})"}) {
    const Json dump = Parse(text);
    ClusterRows(Clusters(dump, {}));
    ListenerRows(Listeners(dump, {}), true);
    ListenerRows(Listeners(dump, {}), false);
    RouteRows(Routes(dump, {}), true);
    EndpointRows(dump, {});
    EdsRows(dump, {});
    SecretRows(dump, base::Time());
    EcdsRows(dump);
    EXPECT_TRUE(Bootstrap(dump).is_object());
  }
}

}  // namespace
}  // namespace isthmus::cli
