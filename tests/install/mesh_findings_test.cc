#include "install/mesh_findings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "install/mesh_requests.h"
#include "install/mesh_views.h"

namespace isthmus::install {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr char kWeb[] = "outbound|80||web.app.svc.cluster.local";

Json Named(const char* kind, const char* ns, const char* name, Json spec = Json::object()) {
  return {{"kind", kind}, {"metadata", {{"namespace", ns}, {"name", name}}}, {"spec", spec}};
}

Json WebService() {
  return Named("Service", "app", "web",
               {{"clusterIP", "10.0.0.1"},
                {"selector", {{"app", "web"}}},
                {"ports", Json::array({{{"name", "http"}, {"port", 80}, {"targetPort", 8080}}})}});
}

Json ReadyPod(const char* ns, const char* app, const char* ip) {
  Json pod = Named("Pod", ns, app);
  pod["metadata"]["labels"] = {{"app", app}, {"security.istio.io/tlsMode", "istio"}};
  pod["status"] = {{"podIP", ip},
                   {"phase", "Running"},
                   {"conditions", Json::array({{{"type", "Ready"}, {"status", "True"}}})}};
  return pod;
}

/// Two primaries on two networks with one service in both, all in order; tests break one thing.
class FindingsTest : public ::testing::Test {
 protected:
  FindingsTest() {
    for (const char* n : {"1", "2"}) {
      TopologyCluster cluster;
      cluster.name = cluster.control_plane = cluster.context = std::string("c") + n;
      cluster.network = std::string("n") + n;
      cluster.gateway.present = cluster.gateway.exposes_services = true;
      topology_.clusters.push_back(cluster);
      Fill(cluster, n);
    }
  }

  void Fill(const TopologyCluster& cluster, const std::string& n) {
    ClusterObjects& objects = state_.objects[cluster.name];
    objects.system_namespace = Named("Namespace", "", "istio-system");
    objects.system_namespace["metadata"]["labels"] = {
        {"topology.istio.io/network", cluster.network}};
    objects.services = {WebService(), Named("Service", "istio-system", "istio-eastwestgateway")};
    objects.services[1]["metadata"]["labels"] = {{"topology.istio.io/network", cluster.network}};
    objects.services[1]["spec"]["externalIPs"] = Json::array({n + ".1.1.1"});
    const std::string ip = "172.2" + n + ".0.5";
    objects.pods = {ReadyPod("app", "web", ip.c_str()), ReadyPod("istio-system", "istiod", "1")};
    Json secret = Named("Secret", "istio-system", "istio-remote-secret");
    const std::string other = n == "1" ? "c2" : "c1";
    secret["data"] = {{other, "x"}};
    objects.remote_secrets = {secret};
    objects.watched = {{{"id", other}, {"syncStatus", "synced"}}};
    objects.roots = {"root"};
    objects.has_cacerts = true;
    objects.mesh_gateways = {
        Named("Gateway", "istio-system", "cross-network-gateway",
              {{"servers", Json::array({{{"tls", {{"mode", "AUTO_PASSTHROUGH"}}}}})}})};
    objects.intended = {{WebService(), "web.yaml"}};
  }

  ClusterObjects& Of(const char* cluster) { return state_.objects.at(cluster); }

  /// Reads the facts anew out of the objects, and all findings.
  void Look() {
    for (auto& [name, objects] : state_.objects) {
      Json slice = Named("EndpointSlice", "app", "web-1");
      slice["metadata"]["labels"] = {{"kubernetes.io/service-name", "web"}};
      slice["ports"] = Json::array({{{"name", "http"}, {"port", 8080}}});
      slice["endpoints"] =
          Json::array({{{"addresses", Json::array({"172.2" + name.substr(1) + ".0.5"})}}});
      state_.facts[name] = ReadFacts(objects.services, {slice}, objects.pods);
      AddMissingServices(objects, state_.facts[name]);
    }
    findings_ = FindCauses(topology_, state_.objects, state_.facts);
  }

  /// What a proxy of c1 that holds these addresses of web differs in, and the causes of it.
  std::vector<std::string> Causes(std::set<std::string> held) {
    Look();
    std::vector<std::string> causes;
    for (const Difference& difference : CompareViews(
             topology_, state_, "c1", {"app", "client", false}, {{kWeb, std::move(held)}})) {
      const Finding* cause = CauseOf(difference, topology_, findings_);
      causes.push_back(cause == nullptr ? "?" : cause->object + " in " + cause->cluster);
    }
    return causes;
  }

  std::vector<std::string> Wrong() {
    std::vector<std::string> objects;
    for (const Finding& finding : findings_)
      if (finding.wrong) objects.push_back(finding.object + " in " + finding.cluster);
    return objects;
  }

  Topology topology_;
  MeshState state_;
  std::vector<Finding> findings_;
};

TEST_F(FindingsTest, NothingIsWrongWhenNothingIs) {
  EXPECT_THAT(Causes({"172.21.0.5:8080", "2.1.1.1:15443"}), IsEmpty());
  EXPECT_THAT(findings_, IsEmpty());
}

TEST_F(FindingsTest, ADeletedRemoteSecret) {
  Of("c1").remote_secrets.clear();
  EXPECT_THAT(Causes({"172.21.0.5:8080"}),
              Contains("Secret istio-system/istio-remote-secret-c2 in c1"));
  EXPECT_THAT(findings_[0].remedy, HasSubstr("create-remote-secret --context=c2 --name=c2"));
}

TEST_F(FindingsTest, ARemoteClusterThatCannotBeRead) {
  Of("c1").watched = {{{"id", "c2"}, {"syncStatus", "timeout"}, {"error", "connection refused"}}};
  EXPECT_THAT(Causes({"172.21.0.5:8080"}),
              Contains("Secret istio-system/istio-remote-secret in c1"));
  EXPECT_THAT(findings_[0].problem, HasSubstr("connection refused"));
}

TEST_F(FindingsTest, AWrongNetworkLabel) {
  Of("c2").system_namespace["metadata"]["labels"]["topology.istio.io/network"] = "n9";
  EXPECT_THAT(Causes({"172.21.0.5:8080", "172.22.0.5:8080"}),
              ::testing::Each("Namespace istio-system in c2"));
  EXPECT_THAT(findings_[0].remedy, HasSubstr("topology.istio.io/network=n2 --overwrite"));
}

TEST_F(FindingsTest, PodsOnAnotherNetworkThanTheirCluster) {
  Of("c2").pods[0]["metadata"]["labels"]["topology.istio.io/network"] = "n9";
  EXPECT_THAT(Causes({"172.21.0.5:8080"}), Contains("Pod app/web in c2"));
}

TEST_F(FindingsTest, AGatewayWithoutAddress) {
  Of("c2").services[1]["spec"].erase("externalIPs");
  EXPECT_THAT(Causes({"172.21.0.5:8080", "172.22.0.5:8080"}),
              ::testing::Each("Service istio-system/istio-eastwestgateway in c2"));
  EXPECT_THAT(findings_[0].problem, HasSubstr("has no address"));
  // The other way round nothing is different: c2's own pods are not reached by a gateway.
  EXPECT_EQ(Wrong().size(), 1u);
}

TEST_F(FindingsTest, AGatewayThatIsNotThere) {
  Of("c2").services.pop_back();
  EXPECT_THAT(Causes({"172.21.0.5:8080"}),
              Contains("Service istio-system/istio-eastwestgateway in c2"));
  EXPECT_THAT(findings_[0].problem, HasSubstr("is missing"));
}

TEST_F(FindingsTest, AServiceMissingInTheOtherCluster) {
  Of("c2").services.erase(Of("c2").services.begin());
  EXPECT_THAT(Causes({"172.21.0.5:8080"}), Contains("Service app/web in c2"));
  EXPECT_THAT(findings_[0].remedy, HasSubstr("apply -n app -f web.yaml"));
  FailedRequest request{"c2", "web.app.svc.cluster.local", "000 could not resolve host", {}};
  ASSERT_NE(CauseOf(request, topology_, findings_), nullptr);
  EXPECT_EQ(CauseOf(request, topology_, findings_)->object, "Service app/web");
}

TEST_F(FindingsTest, PeerAuthenticationThatTakesMtlsAway) {
  for (const char* ns : {"app", "istio-system"}) {
    Of("c1").peer_authentications = {
        Named("PeerAuthentication", ns, "default", {{"mtls", {{"mode", "DISABLE"}}}})};
    EXPECT_THAT(Causes({"172.21.0.5:8080"}),
                Contains(std::string("PeerAuthentication ") + ns + "/default in c1"));
    EXPECT_THAT(Wrong(), IsEmpty());
  }
  Of("c1").peer_authentications = {
      Named("PeerAuthentication", "other", "default", {{"mtls", {{"mode", "DISABLE"}}}})};
  EXPECT_THAT(Causes({"172.21.0.5:8080"}), Contains("?"));
  // Another control plane's configuration says nothing to proxies of this one.
  Of("c2").peer_authentications = {
      Named("PeerAuthentication", "app", "default", {{"mtls", {{"mode", "DISABLE"}}}})};
  EXPECT_THAT(Causes({"172.21.0.5:8080"}), Contains("?"));
}

TEST_F(FindingsTest, DestinationRuleThatTurnsTlsOff) {
  for (const char* host :
       {"web", "web.app", "web.app.svc.cluster.local", "*.app.svc.cluster.local", "*.local"}) {
    Of("c1").destination_rules = {
        Named("DestinationRule", "app", "plain",
              {{"host", host}, {"trafficPolicy", {{"tls", {{"mode", "DISABLE"}}}}}})};
    EXPECT_THAT(Causes({"172.21.0.5:8080"}), Contains("DestinationRule app/plain in c1")) << host;
  }
  for (const char* host : {"cart", "web.other", "*.other.svc.cluster.local"}) {
    Of("c1").destination_rules[0]["spec"]["host"] = host;
    EXPECT_THAT(Causes({"172.21.0.5:8080"}), Contains("?")) << host;
  }
}

TEST_F(FindingsTest, RootsThatDiffer) {
  Of("c2").roots = {"other root"};
  EXPECT_THAT(Causes({"172.21.0.5:8080", "2.1.1.1:15443"}), IsEmpty());
  EXPECT_THAT(Wrong(), Contains("Secret istio-system/cacerts in c2"));
  FailedRequest request{"c1", "web.app.svc.cluster.local", "503 upstream connect error", {}};
  ASSERT_NE(CauseOf(request, topology_, findings_), nullptr);
  EXPECT_EQ(CauseOf(request, topology_, findings_)->object, "Secret istio-system/cacerts");
  // Bundles that share a root trust each other.
  Of("c2").roots = {"other root", "root"};
  Look();
  EXPECT_THAT(Wrong(), IsEmpty());
}

TEST_F(FindingsTest, NoGatewayObjectPassesServicesOn) {
  Of("c2").mesh_gateways.clear();
  Look();
  EXPECT_THAT(Wrong(), Contains("Gateway istio-system/cross-network-gateway in c2"));
}

TEST_F(FindingsTest, WorkloadsThatCannotAnswer) {
  Of("c2").intended.push_back({Named("Deployment", "app", "web"), "web.yaml"});
  Of("c2").deployments = {Named("Deployment", "app", "web", {{"replicas", 1}})};
  Look();
  EXPECT_THAT(Wrong(), Contains("Deployment app/web in c2"));
  Of("c2").deployments[0]["spec"]["replicas"] = 0;
  Look();
  EXPECT_THAT(Wrong(), IsEmpty());  // Somebody wanted it.
  FailedRequest request{"c1", "web.app.svc.cluster.local", "", {"c2"}};
  ASSERT_NE(CauseOf(request, topology_, findings_), nullptr);
  EXPECT_EQ(CauseOf(request, topology_, findings_)->problem, "is scaled to 0");
}

TEST_F(FindingsTest, APolicyExplainsRefusalsOnly) {
  Of("c1").authorization_policies = {Named("AuthorizationPolicy", "app", "deny")};
  Look();
  FailedRequest request{"c1", "web.app.svc.cluster.local", "403 RBAC: access denied", {}};
  ASSERT_NE(CauseOf(request, topology_, findings_), nullptr);
  EXPECT_EQ(CauseOf(request, topology_, findings_)->object, "AuthorizationPolicy app/deny");
  request.answer = "503 no healthy upstream";
  EXPECT_EQ(CauseOf(request, topology_, findings_), nullptr);
}

TEST_F(FindingsTest, SidecarsKeepServicesAwayOnPurpose) {
  Look();
  const ProxyPod proxy{"app", "client", false};
  EXPECT_EQ(CompareViews(topology_, state_, "c1", proxy, {}).size(), 1u);
  Of("c1").sidecars = {Named("Sidecar", "app", "default")};
  EXPECT_THAT(CompareViews(topology_, state_, "c1", proxy, {}), IsEmpty());
}

TEST_F(FindingsTest, ViewsTellWhoHoldsWhat) {
  Look();
  const auto expected = ExpectedViews(topology_, state_.facts, "c1");
  std::map<std::string, ServiceView> views;
  const std::vector<std::pair<std::string, std::set<std::string>>> all = {
      {"a", {"172.21.0.5:8080", "2.1.1.1:15443"}}, {"b", {"172.21.0.5:8080", "9.9.9.9:1"}}};
  for (const auto& [name, addresses] : all) {
    const ProxyPod proxy{"app", name, false};
    const HeldEndpoints held = {{kWeb, addresses}};
    AddToViews(expected, proxy, held, CompareViews(topology_, state_, "c1", proxy, held), views);
  }
  const ServiceView& view = views.at(kWeb);
  EXPECT_EQ(view.agree, 1);
  EXPECT_EQ(view.others.at("b.app"), (std::set<std::string>{"172.21.0.5:8080", "9.9.9.9:1"}));
  EXPECT_EQ(ShortService(kWeb), "web.app:80");
  EXPECT_EQ(ShortService("outbound_.80_._.web.app.svc.cluster.local"), "web.app:80");
}

TEST(RequestsTest, HostsOfUrls) {
  EXPECT_EQ(ServiceHostOf("http://web.app:80/x", "s"), "web.app.svc.cluster.local");
  EXPECT_EQ(ServiceHostOf("http://web/x", "s"), "web.s.svc.cluster.local");
  EXPECT_EQ(ServiceHostOf("web.app.svc:80", "s"), "web.app.svc.cluster.local");
  EXPECT_EQ(ServiceHostOf("http://*/productpage", "s"), "");
  EXPECT_EQ(ServiceHostOf("http://10.0.0.1/x", "s"), "");
}

TEST(RequestsTest, CountsOfAllSubsetsBelongToTheService) {
  const auto counts = ReadRequestCounts(R"({"cluster_statuses":[
    {"name":"outbound|80||web.app.svc.cluster.local","host_statuses":[{"address":{"socket_address":{"address":"1.2.3.4","port_value":80}},
      "stats":[{"name":"cx_total","value":"2"},{"name":"rq_total","value":"10"}]}]},
    {"name":"outbound|80|v1|web.app.svc.cluster.local","host_statuses":[{"address":{"socket_address":{"address":"1.2.3.4","port_value":80}},
      "stats":[{"name":"cx_total","value":"3"},{"name":"rq_total"}]}]},
    {"name":"xds-grpc"}]})");
  EXPECT_EQ(counts,
            (std::map<std::string, std::map<std::string, uint64_t>>{{kWeb, {{"1.2.3.4:80", 13}}}}));
  EXPECT_THAT(ReadRequestCounts("nonsense"), IsEmpty());
}

}  // namespace
}  // namespace isthmus::install
