// Command lines as users type them, against a fake API server.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/version.h"
#include "tests/cli/fake_kube.h"

namespace isthmus::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

Json Pod(const std::string& ns, const std::string& name, Json labels, const std::string& container,
         bool ready = true) {
  return {{"apiVersion", "v1"},
          {"kind", "Pod"},
          {"metadata", {{"name", name}, {"namespace", ns}, {"labels", std::move(labels)}}},
          {"spec", {{"containers", {{{"name", container}}}}}},
          {"status",
           {{"phase", "Running"},
            {"conditions", {{{"type", "Ready"}, {"status", ready ? "True" : "False"}}}}}}};
}

class CommandsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    Add(Pod("istio-system", "istiod-1", {{"app", "istiod"}, {"istio.io/rev", "default"}},
            "discovery"));
    Add(Pod("shop", "cart-1", {{"app", "cart"}}, "istio-proxy", false));
    Add(Pod("shop", "cart-2", {{"app", "cart"}}, "istio-proxy"));
    Add(Pod("shop", "plain", {{"app", "plain"}}, "app"));
    kube_.objects["/apis/apps/v1/namespaces/shop/deployments/cart"] = {
        {"kind", "Deployment"},
        {"metadata", {{"name", "cart"}}},
        {"spec", {{"selector", {{"matchLabels", {{"app", "cart"}}}}}}}};
    kube_.exec = [this](const std::string& what) {
      const auto it = answers_.find(what);
      return it == answers_.end() ? "!unknown request " + what : it->second;
    };
  }
  void Add(const Json& pod) {
    kube_.objects["/api/v1/namespaces/" + pod["metadata"]["namespace"].get<std::string>() +
                  "/pods/" + pod["metadata"]["name"].get<std::string>()] = pod;
  }

  FakeKube kube_;
  std::map<std::string, std::string> answers_;
};

constexpr char kSyncz[] = R"([
  {"cluster_id":"cluster2","proxy":"gw-1.shop","istio_version":"1.2.3","cluster_sent":"a","cluster_acked":"a","listener_sent":"b",
   "listener_acked":"c","endpoint_sent":"d"},
  {"cluster_id":"cluster1","proxy":"cart-2.shop","istio_version":"1.2.3","cluster_sent":"a","cluster_acked":"a",
   "listener_sent":"b","listener_acked":"b","endpoint_sent":"d","endpoint_acked":"d","route_sent":"e","route_acked":"e"}])";

TEST_F(CommandsTest, ProxyStatusIsATable) {
  answers_["istiod-1/discovery: pilot-discovery request GET /debug/syncz"] = kSyncz;
  ASSERT_EQ(kube_.Run({"ps"}), 0) << kube_.err;
  EXPECT_EQ(kube_.out,
            "NAME            CLUSTER      CDS        LDS        EDS                            RDS "
            "         ECDS         ISTIOD       VERSION\n"
            "cart-2.shop     cluster1     SYNCED     SYNCED     SYNCED                         "
            "SYNCED       NOT SENT     istiod-1     1.2.3\n"
            "gw-1.shop       cluster2     SYNCED     STALE      STALE (Never Acknowledged)     NOT "
            "SENT     NOT SENT     istiod-1     1.2.3\n");
  ASSERT_EQ(kube_.Run({"x", "ps", "-n", "other"}), 0);
  EXPECT_EQ(kube_.out,
            "NAME     CLUSTER     CDS     LDS     EDS     RDS     ECDS     ISTIOD     VERSION\n");
  ASSERT_EQ(kube_.Run({"proxy-status", "-o=json"}), 0);
  EXPECT_THAT(kube_.out, HasSubstr("\"proxy\": \"gw-1.shop\""));
}

TEST_F(CommandsTest, ProxyStatusWithoutProxiesOrIstiod) {
  answers_["istiod-1/discovery: pilot-discovery request GET /debug/syncz"] = "[]";
  EXPECT_EQ(kube_.Run({"ps"}), 0);
  answers_["istiod-1/discovery: pilot-discovery request GET /debug/syncz"] = "what?";
  EXPECT_EQ(kube_.Run({"ps"}), 1);
  EXPECT_THAT(kube_.err, HasSubstr("answer of istiod-1"));
  EXPECT_EQ(kube_.Run({"ps", "-i", "elsewhere"}), 1);
  EXPECT_THAT(kube_.err, HasSubstr("no running Istio pods in namespace \"elsewhere\""));
}

TEST_F(CommandsTest, ProxyStatusOfAPodComparesBothSides) {
  answers_
      ["istiod-1/discovery: pilot-discovery request GET /debug/config_dump?proxyID=cart-2.shop"] =
          R"({"configs":[{"@type":"t/envoy.admin.v3.ClustersConfigDump","dynamicActiveClusters":[
           {"cluster":{"name":"a","connectTimeout":"1s"}},{"cluster":{"name":"gone"}}]}]})";
  answers_["cart-2/istio-proxy: pilot-agent request GET config_dump"] =
      R"({"configs":[{"@type":"t/envoy.admin.v3.ClustersConfigDump","dynamic_active_clusters":[
           {"cluster":{"name":"a","connect_timeout":"2s"},"last_updated":"x"}]}]})";
  ASSERT_EQ(kube_.Run({"ps", "cart-2"}), 0) << kube_.err;
  EXPECT_EQ(kube_.out,
            "Clusters Don't Match\n  ! a differs, from istiod to Envoy:\n      replace "
            "/connect_timeout: \"2s\"\n"
            "  - gone (only in istiod)\nListeners Match\nRoutes Match\n");
}

constexpr char kClusters[] = R"({"cluster_statuses":[
  {"name":"outbound|9080||cart.shop.svc.cluster.local","host_statuses":[
    {"address":{"socket_address":{"address":"203.0.113.9","port_value":15443}},"health_status":{"eds_health_status":"HEALTHY"}},
    {"address":{"socket_address":{"address":"10.1.2.3","port_value":9080}},"health_status":{"eds_health_status":"HEALTHY","failed_outlier_check":true}}]},
  {"name":"xds-grpc","host_statuses":[{"address":{"pipe":{"path":"./etc/istio/proxy/XDS"}},"health_status":{"eds_health_status":"HEALTHY"}}]}]})";

TEST_F(CommandsTest, EndpointsInEveryFormOfThePod) {
  answers_["cart-2/istio-proxy: pilot-agent request GET clusters?format=json"] = kClusters;
  const std::string table =
      "ENDPOINT                         STATUS      OUTLIER CHECK     CLUSTER\n"
      "unix://./etc/istio/proxy/XDS     HEALTHY     OK                xds-grpc\n"
      "10.1.2.3:9080                    HEALTHY     FAILED            "
      "outbound|9080||cart.shop.svc.cluster.local\n"
      "203.0.113.9:15443                HEALTHY     OK                "
      "outbound|9080||cart.shop.svc.cluster.local\n";
  for (const std::vector<std::string>& line :
       std::vector<std::vector<std::string>>{{"pc", "endpoint", "cart-2.shop"},
                                             {"pc", "endpoint", "-n", "shop", "cart-2"},
                                             {"proxy-config", "ep", "cart-2"},
                                             {"pc", "endpoints", "deploy/cart"},
                                             {"-n", "other", "pc", "ep", "deployment/cart.shop"},
                                             {"pc", "ep", "pod/cart-2", "-nshop"}}) {
    ASSERT_EQ(kube_.Run(line), 0) << kube_.err;
    EXPECT_EQ(kube_.out, table);
  }
  ASSERT_EQ(kube_.Run({"pc", "ep", "cart-2", "--cluster", "XDS-grpc", "-ojson"}), 0);
  EXPECT_THAT(kube_.out, HasSubstr("./etc/istio/proxy/XDS"));
  EXPECT_THAT(kube_.out, Not(HasSubstr("15443")));
  ASSERT_EQ(kube_.Run({"pc", "ep", "--file", "-"}, kClusters), 0);
  EXPECT_EQ(kube_.out, table);
}

TEST_F(CommandsTest, PodErrorsSayWhatToDo) {
  EXPECT_EQ(kube_.Run({"pc", "ep", "nosuch"}), 1);
  EXPECT_THAT(kube_.err, HasSubstr("pod \"nosuch\" is not in namespace \"shop\""));
  EXPECT_EQ(kube_.Run({"pc", "ep", "plain"}), 1);
  EXPECT_THAT(kube_.err, HasSubstr("no istio-proxy container"));
  EXPECT_EQ(kube_.Run({"pc", "ep", "teapot/x"}), 1);
  EXPECT_THAT(kube_.err, HasSubstr("\"teapot\" is no kind with pods"));
  EXPECT_EQ(kube_.Run({"pc", "ep", "cart-1"}), 1);
  EXPECT_THAT(kube_.err, HasSubstr("exit code 1: unknown request"));
  EXPECT_EQ(kube_.Run({"pc", "ep"}), 1);
  EXPECT_EQ(kube_.Run({"pc", "ep", "cart-1", "-o", "xml"}), 64);
}

TEST_F(CommandsTest, VersionCountsProxies) {
  answers_["istiod-1/discovery: pilot-discovery request GET /version"] = "1.2.3-abcdef-Clean";
  answers_["istiod-1/discovery: pilot-discovery request GET /debug/syncz"] = kSyncz;
  ASSERT_EQ(kube_.Run({"version"}), 0);
  EXPECT_EQ(kube_.out,
            "client version: " + std::string(base::kVersion) +
                "\ncontrol plane version: 1.2.3\ndata plane version: 1.2.3 (2 proxies)\n");
  ASSERT_EQ(kube_.Run({"version", "--remote=false"}), 0);
  EXPECT_EQ(kube_.out, "client version: " + std::string(base::kVersion) + "\n");
  ASSERT_EQ(kube_.Run({"version", "-i", "none"}), 0);
  EXPECT_THAT(kube_.err, HasSubstr("not present"));
}

TEST_F(CommandsTest, RemoteClusters) {
  answers_["istiod-1/discovery: pilot-discovery request GET /debug/clusterz"] =
      R"([{"id":"cluster2","secretName":"istio-system/s2","syncStatus":"timeout"},{"id":"cluster1","secretName":"","syncStatus":"synced"}])";
  ASSERT_EQ(kube_.Run({"remote-clusters"}), 0);
  EXPECT_EQ(kube_.out,
            "NAME         SECRET              STATUS      ISTIOD\n"
            "cluster1                         synced      istiod-1\n"
            "cluster2     istio-system/s2     timeout     istiod-1\n");
}

TEST_F(CommandsTest, RemoteClustersTellHowOldTheyAre) {
  answers_["istiod-1/discovery: pilot-discovery request GET /debug/clusterz"] =
      R"([{"id":"c2","secretName":"n/s2","syncStatus":"synced","stale":true,"staleSeconds":95,"error":"connection refused"},
          {"id":"c3","secretName":"n/s3","syncStatus":"timeout","stale":true,"staleSeconds":3700,"fromStore":true},
          {"id":"c4","secretName":"n/s4","syncStatus":"syncing","stale":true,"error":"no route"}])";
  ASSERT_EQ(kube_.Run({"remote-clusters"}), 0);
  EXPECT_EQ(kube_.out,
            "NAME     SECRET     STATUS                 ISTIOD\n"
            "c2       n/s2       stale for 1m35s        istiod-1\n"
            "c3       n/s3       stored 1h1m40s ago     istiod-1\n"
            "c4       n/s4       syncing                istiod-1\n");
  EXPECT_THAT(kube_.err, HasSubstr("cluster c2: connection refused"));
}

TEST_F(CommandsTest, LogLevels) {
  answers_["cart-2/istio-proxy: pilot-agent request POST logging?level=debug"] =
      "active loggers:\n  admin: debug\n";
  ASSERT_EQ(kube_.Run({"pc", "log", "cart-2", "--level", "debug"}), 0) << kube_.err;
  EXPECT_THAT(kube_.out, StartsWith("cart-2.shop:\nactive loggers:"));
  EXPECT_EQ(kube_.Run({"pc", "log", "cart-2", "--level", "loud"}), 1);
}

TEST_F(CommandsTest, WordsThatMakeNoSense) {
  EXPECT_EQ(kube_.Run({"proxy-statu"}), 64);
  EXPECT_THAT(kube_.err, HasSubstr("unknown command \"proxy-statu\""));
  EXPECT_THAT(kube_.err, HasSubstr("proxy-status"));
  EXPECT_EQ(kube_.Run({"x", "nosuch"}), 64);
  EXPECT_EQ(kube_.Run({"uninstall", "positional"}), 64);
  EXPECT_EQ(kube_.Run({"ps", "--nosuch"}), 64);
  EXPECT_EQ(kube_.Run({"operator", "init"}), 1);
  EXPECT_THAT(kube_.err, HasSubstr("install -f FILE"));
  EXPECT_EQ(kube_.Run({"uninstall"}), 1);
  EXPECT_EQ(kube_.Run({"pc"}), 0);
  EXPECT_THAT(kube_.out, HasSubstr("endpoint"));
}

TEST_F(CommandsTest, FormsOfOldReleasesWorkOrSayWhatToType) {
  EXPECT_EQ(kube_.Run({"x", "uninstall", "--help"}), 0);
  EXPECT_EQ(kube_.Run({"x", "analyze", "--use-kube=false"}), 0) << kube_.err;
  EXPECT_EQ(kube_.Run({"x", "multicluster", "generate"}), 1);
  EXPECT_THAT(kube_.err, HasSubstr("create-remote-secret --name"));
}

TEST_F(CommandsTest, EveryCommandHasHelpWithItsName) {
  for (const std::string name : {"install", "uninstall", "ps", "version", "analyze", "validate",
                                 "kube-inject", "create-remote-secret"}) {
    ASSERT_EQ(kube_.Run({name, "--help"}), 0);
    EXPECT_THAT(kube_.out, HasSubstr("Examples:")) << name;
    EXPECT_THAT(kube_.out, HasSubstr("Usage: istioctl ")) << name;
  }
}

TEST_F(CommandsTest, InstallAsksFirstAndStdinIsTheLastFile) {
  const std::string iop =
      "apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nspec: {profile: minimal}\n";
  EXPECT_EQ(kube_.Run({"install", "-f", "-"}, iop), 1);
  EXPECT_THAT(kube_.out, HasSubstr("profile \"minimal\" into the cluster. Proceed? (y/N)"));
  EXPECT_THAT(kube_.out, HasSubstr("Cancelled."));
  EXPECT_EQ(kube_.Run({"install", "-f", "-", "-f", "x.yaml"}, iop), 1);
  EXPECT_THAT(kube_.err, HasSubstr("must be the last"));
  EXPECT_EQ(kube_.Run({"install", "-y", "--set", "profile=nosuch"}), 1);
  EXPECT_THAT(kube_.err, HasSubstr("nosuch"));
  EXPECT_EQ(
      kube_.Run({"manifest", "generate", "-f", "-", "--set", "values.global.network=net7"}, iop),
      0);
  EXPECT_THAT(kube_.out, HasSubstr("kind: CustomResourceDefinition"));
  EXPECT_THAT(kube_.out, HasSubstr("net7"));
}

TEST_F(CommandsTest, ValidateNamesFileObjectAndField) {
  EXPECT_EQ(kube_.Run({"validate", "-f", std::string(ISTHMUS_SOURCE_DIR) + "/samples"}), 0)
      << kube_.err;
  EXPECT_EQ(kube_.Run({"validate", "-f", "-"},
                      "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: "
                      "g}\nspec: {serverz: []}\n"),
            1);
  EXPECT_THAT(kube_.err, HasSubstr("Gateway/g"));
  EXPECT_THAT(kube_.err, HasSubstr("serverz"));
  EXPECT_EQ(kube_.Run({"validate", "-f", "-"}, "a: [\n"), 1);
  EXPECT_EQ(kube_.Run({"validate", "-f", "/nosuch"}), 1);
  EXPECT_EQ(kube_.Run({"validate"}), 1);
}

TEST_F(CommandsTest, AnalyzeFindsWhatTopologiesTripOver) {
  kube_.objects["/api/v1/namespaces/istio-system"] = {
      {"apiVersion", "v1"}, {"kind", "Namespace"}, {"metadata", {{"name", "istio-system"}}}};
  kube_.objects["/api/v1/configmaps/x"] = {
      {"apiVersion", "v1"},
      {"kind", "ConfigMap"},
      {"metadata", {{"name", "istio-sidecar-injector"}, {"namespace", "istio-system"}}},
      {"data", {{"values", R"({"global":{"network":"n1","multiCluster":{"clusterName":"c1"}}})"}}}};
  kube_.objects["/api/v1/services/gw"] = {{"apiVersion", "v1"},
                                          {"kind", "Service"},
                                          {"metadata",
                                           {{"name", "istio-eastwestgateway"},
                                            {"namespace", "istio-system"},
                                            {"labels", {{"topology.istio.io/network", "n1"}}}}}};
  kube_.objects["/apis/networking.istio.io/v1/virtualservices/v"] = {
      {"apiVersion", "networking.istio.io/v1"},
      {"kind", "VirtualService"},
      {"metadata", {{"name", "front"}, {"namespace", "shop"}}},
      {"spec",
       {{"hosts", {"front"}},
        {"gateways", {"nogw"}},
        {"http", {{{"route", {{{"destination", {{"host", "nohost"}}}}}}}}}}}};
  EXPECT_EQ(kube_.Run({"analyze", "-A"}), 79);
  EXPECT_THAT(kube_.out, HasSubstr("Error [ISM0001] (Namespace istio-system)"));
  EXPECT_THAT(kube_.out, HasSubstr("Error [ISM0002] (Service istio-system/istio-eastwestgateway)"));
  EXPECT_THAT(
      kube_.out,
      HasSubstr(
          "Error [IST0101] (VirtualService shop/front) Referenced gateway not found: \"nogw\""));
  EXPECT_THAT(kube_.out, HasSubstr("Referenced host not found: \"nohost\""));
  EXPECT_EQ(kube_.Run({"analyze", "-A", "--failure-threshold", "None"}), 64);
  EXPECT_EQ(kube_.Run({"analyze", "-n", "shop", "-S", "IST0101=VirtualService shop/*", "-S",
                       "ISM0001=*", "-S", "ISM0002=*"}),
            0)
      << kube_.out;
  EXPECT_EQ(kube_.Run({"analyze", "--use-kube=false", "-"}, "a: [\n"), 65);
  EXPECT_EQ(kube_.Run({"analyze", "--use-kube=false",
                       std::string(ISTHMUS_SOURCE_DIR) + "/samples/helloworld"}),
            0)
      << kube_.out;
}

}  // namespace
}  // namespace isthmus::cli
