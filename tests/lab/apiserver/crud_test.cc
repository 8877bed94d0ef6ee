#include "tests/lab/apiserver/api_fixture.h"

namespace isthmus::lab::apiserver {
namespace {

using kubeapi::StringAt;

class CrudTest : public ApiTest {};

TEST_F(CrudTest, CreateGivesIdentityAndDefaults) {
  const Response response = Post(kPods, Pod("web"));
  ASSERT_EQ(response.status, 201) << response.body;
  const Json pod = Parse(response);
  EXPECT_EQ(pod["metadata"]["uid"].get<std::string>().size(), 36u);
  EXPECT_EQ(pod["metadata"]["creationTimestamp"], base::FormatTime(clock_.Now()));
  EXPECT_EQ(pod["spec"]["restartPolicy"], "Always");
  EXPECT_EQ(pod["spec"]["dnsPolicy"], "ClusterFirst");
  EXPECT_EQ(pod["spec"]["serviceAccountName"], "default");
  EXPECT_EQ(pod["spec"]["containers"][0]["imagePullPolicy"], "Always");
  EXPECT_EQ(pod["spec"]["containers"][0]["volumeMounts"][0]["mountPath"],
            "/var/run/secrets/kubernetes.io/serviceaccount");
  EXPECT_EQ(pod["spec"]["tolerations"].size(), 2u);
  EXPECT_EQ(pod["status"]["phase"], "Pending");
  EXPECT_EQ(pod["status"]["qosClass"], "BestEffort");
  EXPECT_EQ(Parse(Get(std::string(kPods) + "/web")), pod);
}

TEST_F(CrudTest, GenerateNameMakesDistinctNames) {
  Json pod = Pod("x");
  pod["metadata"].erase("name");
  pod["metadata"]["generateName"] = "web-";
  const std::string one = StringAt(Parse(Post(kPods, pod)), {"metadata", "name"}),
                    two = StringAt(Parse(Post(kPods, pod)), {"metadata", "name"});
  EXPECT_EQ(one.size(), 9u);
  EXPECT_NE(one, two);
}

TEST_F(CrudTest, ErrorsReadAsKubectlPrintsThem) {
  EXPECT_EQ(Parse(Get(std::string(kPods) + "/none"))["message"], "pods \"none\" not found");
  EXPECT_EQ(Parse(Get("/apis/apps/v1/namespaces/default/deployments/none"))["message"],
            "deployments.apps \"none\" not found");
  ASSERT_EQ(Post(kPods, Pod("web")).status, 201);
  const Response again = Post(kPods, Pod("web"));
  EXPECT_EQ(again.status, 409);
  EXPECT_EQ(Parse(again)["reason"], "AlreadyExists");
  EXPECT_EQ(Parse(again)["message"], "pods \"web\" already exists");
  const Response nowhere = Post("/api/v1/namespaces/nope/pods", Pod("web"));
  EXPECT_EQ(nowhere.status, 404);
  EXPECT_EQ(Parse(nowhere)["message"], "namespaces \"nope\" not found");
  Json bad = Deployment("web");
  bad["spec"].erase("selector");
  const Response invalid = Post(kDeployments, bad);
  EXPECT_EQ(invalid.status, 422);
  EXPECT_NE(Parse(invalid)["message"].get<std::string>().find(
                "Deployment.apps \"web\" is invalid: spec.selector: Required value"),
            std::string::npos)
      << invalid.body;
  EXPECT_EQ(Get("/apis/none.example/v1/things").status, 404);
}

TEST_F(CrudTest, WrongTypesAndBrokenBodiesAreRefused) {
  EXPECT_EQ(Send({"POST", kPods, {}, {{"content-type", "application/json"}}, "{", User{}}).status,
            400);
  EXPECT_EQ(Send({"POST", kPods, {}, {{"content-type", "application/json"}}, "[1]", User{}}).status,
            400);
  EXPECT_EQ(Send({"POST",
                  kPods,
                  {},
                  {{"content-type", "application/vnd.kubernetes.protobuf"}},
                  "k8s",
                  User{}})
                .status,
            400);
  EXPECT_EQ(Post(kPods, {{"metadata", 3}}).status, 400);
  EXPECT_EQ(Post(kPods, {{"metadata", {{"name", "a"}}}, {"spec", "text"}}).status, 400);
  EXPECT_EQ(Post(kPods, {{"metadata", {{"name", "a"}}}, {"spec", {{"containers", {1, 2}}}}}).status,
            400);
  Json deployment = Deployment("web");
  deployment["spec"]["replicas"] = "three";
  EXPECT_EQ(Post(kDeployments, deployment).status, 400);
  EXPECT_EQ(Post(kPods, {{"kind", "Service"}, {"apiVersion", "v1"}, {"metadata", {{"name", "a"}}}})
                .status,
            400);
}

TEST_F(CrudTest, UnknownFieldsAreDroppedWithAWarningOrRefusedWhenStrict) {
  Json map = {{"metadata", {{"name", "a"}}}, {"data", {{"k", "v"}}}, {"dta", 1}};
  const Response lenient = Post(kConfigMaps, map);
  ASSERT_EQ(lenient.status, 201) << lenient.body;
  EXPECT_FALSE(Parse(lenient).contains("dta"));
  ASSERT_EQ(lenient.headers.size(), 1u);
  EXPECT_EQ(lenient.headers[0].second, "299 - \"unknown field \\\"dta\\\"\"");
  map["metadata"]["name"] = "b";
  const Response strict = Post(std::string(kConfigMaps) + "?fieldValidation=Strict", map);
  EXPECT_EQ(strict.status, 400);
  EXPECT_NE(strict.body.find("strict decoding error: unknown field \\\"dta\\\""), std::string::npos)
      << strict.body;
}

TEST_F(CrudTest, UpdateChecksTheResourceVersion) {
  Json map = Parse(Post(kConfigMaps, {{"metadata", {{"name", "a"}}}, {"data", {{"k", "1"}}}}));
  Json newer = map;
  newer["data"]["k"] = "2";
  ASSERT_EQ(Put(std::string(kConfigMaps) + "/a", newer).status, 200);
  const Response stale = Put(std::string(kConfigMaps) + "/a", map);
  EXPECT_EQ(stale.status, 409);
  EXPECT_EQ(Parse(stale)["reason"], "Conflict");
  map["metadata"].erase("resourceVersion");
  EXPECT_EQ(Put(std::string(kConfigMaps) + "/a", map).status, 200);
}

TEST_F(CrudTest, AnUpdateThatChangesNothingWritesNothing) {
  const Json map =
      Parse(Post(kConfigMaps, {{"metadata", {{"name", "a"}}}, {"data", {{"k", "1"}}}}));
  const int64_t before = store_->version();
  const Json again = Parse(Put(std::string(kConfigMaps) + "/a", map));
  EXPECT_EQ(again, map);
  EXPECT_EQ(store_->version(), before);
}

TEST_F(CrudTest, StatusAndSpecAreWrittenApart) {
  Json deployment = Parse(Post(kDeployments, Deployment("web")));
  EXPECT_EQ(deployment["metadata"]["generation"], 1);
  deployment["status"] = {{"replicas", 7}};
  deployment["spec"]["replicas"] = 3;
  Json updated = Parse(Put(std::string(kDeployments) + "/web", deployment));
  EXPECT_EQ(updated["metadata"]["generation"], 2);
  EXPECT_EQ(updated["spec"]["replicas"], 3);
  EXPECT_FALSE(updated["status"].contains("replicas"));
  updated["status"] = {{"replicas", 7}};
  updated["spec"]["replicas"] = 9;
  const Json status = Parse(Put(std::string(kDeployments) + "/web/status", updated));
  EXPECT_EQ(status["status"]["replicas"], 7);
  EXPECT_EQ(status["spec"]["replicas"], 3);
  EXPECT_EQ(status["metadata"]["generation"], 2);
}

TEST_F(CrudTest, PatchesOfEachKind) {
  ASSERT_EQ(Post(kDeployments, Deployment("web")).status, 201);
  const std::string path = std::string(kDeployments) + "/web";
  Json out = Parse(Patch(
      path,
      {{"spec",
        {{"template",
          {{"spec", {{"containers", Json::array({{{"name", "b"}, {"image", "two"}}})}}}}}}}}));
  EXPECT_EQ(out["spec"]["template"]["spec"]["containers"].size(), 2u) << "containers merge by name";
  out = Parse(Patch(path, {{"spec", {{"replicas", 5}}}}, "application/merge-patch+json"));
  EXPECT_EQ(out["spec"]["replicas"], 5);
  out = Parse(Patch(path,
                    Json::array({{{"op", "replace"}, {"path", "/spec/replicas"}, {"value", 6}}}),
                    "application/json-patch+json"));
  EXPECT_EQ(out["spec"]["replicas"], 6);
  EXPECT_EQ(Patch(path, Json::object(), "text/plain").status, 415);
  EXPECT_EQ(Patch(std::string(kDeployments) + "/none", Json::object()).status, 404);
}

TEST_F(CrudTest, ServerSideApplyCreatesOwnsAndConflicts) {
  Json map = {{"apiVersion", "v1"},
              {"kind", "ConfigMap"},
              {"metadata", {{"name", "a"}}},
              {"data", {{"k", "1"}, {"l", "1"}}}};
  EXPECT_EQ(Apply(std::string(kConfigMaps) + "/a", map, "one").status, 201);
  const int64_t before = store_->version();
  EXPECT_EQ(Apply(std::string(kConfigMaps) + "/a", map, "one").status, 200);
  EXPECT_EQ(store_->version(), before) << "the same applied again changes nothing";
  map["data"] = {{"k", "2"}};
  const Response conflict = Apply(std::string(kConfigMaps) + "/a", map, "two");
  EXPECT_EQ(conflict.status, 409);
  EXPECT_EQ(Parse(conflict)["details"]["causes"][0]["reason"], "FieldManagerConflict");
  const Json forced = Parse(Apply(std::string(kConfigMaps) + "/a", map, "two", true));
  EXPECT_EQ(forced["data"], (Json{{"k", "2"}, {"l", "1"}}));
  map["data"] = Json::object();
  const Json left = Parse(Apply(std::string(kConfigMaps) + "/a", map, "two"));
  EXPECT_EQ(left["data"], (Json{{"l", "1"}})) << "what one applied alone and leaves out goes";
}

TEST_F(CrudTest, FinalizersHoldADeletedObject) {
  Json map = {{"metadata", {{"name", "a"}, {"finalizers", {"example.com/hold"}}}}};
  ASSERT_EQ(Post(kConfigMaps, map).status, 201);
  const Json marked = Parse(Delete(std::string(kConfigMaps) + "/a"));
  EXPECT_EQ(marked["kind"], "ConfigMap");
  EXPECT_TRUE(marked["metadata"].contains("deletionTimestamp"));
  EXPECT_EQ(Get(std::string(kConfigMaps) + "/a").status, 200);
  EXPECT_EQ(Patch(std::string(kConfigMaps) + "/a", {{"metadata", {{"finalizers", nullptr}}}},
                  "application/merge-patch+json")
                .status,
            200);
  EXPECT_EQ(Get(std::string(kConfigMaps) + "/a").status, 404);
}

TEST_F(CrudTest, ABoundPodIsGivenItsGrace) {
  ASSERT_EQ(Post(kPods, Pod("web")).status, 201);
  ASSERT_EQ(
      Post(std::string(kPods) + "/web/binding", {{"target", {{"kind", "Node"}, {"name", "n1"}}}})
          .status,
      201);
  EXPECT_EQ(Post(std::string(kPods) + "/web/binding", {{"target", {{"name", "n2"}}}}).status, 409);
  const Json marked = Parse(Delete(std::string(kPods) + "/web"));
  EXPECT_EQ(marked["metadata"]["deletionGracePeriodSeconds"], 30);
  EXPECT_EQ(marked["metadata"]["deletionTimestamp"],
            base::FormatTime(clock_.Now() + std::chrono::seconds(30)));
  EXPECT_EQ(Get(std::string(kPods) + "/web").status, 200);
  ASSERT_EQ(Delete(std::string(kPods) + "/web", {{"gracePeriodSeconds", 0}}).status, 200);
  EXPECT_EQ(Get(std::string(kPods) + "/web").status, 404);
  ASSERT_EQ(Post(kPods, Pod("free")).status, 201);
  ASSERT_EQ(Delete(std::string(kPods) + "/free").status, 200);
  EXPECT_EQ(Get(std::string(kPods) + "/free").status, 404) << "an unbound pod needs no grace";
}

TEST_F(CrudTest, PreconditionsOfADeletion) {
  const Json map = Parse(Post(kConfigMaps, {{"metadata", {{"name", "a"}}}}));
  EXPECT_EQ(Delete(std::string(kConfigMaps) + "/a", {{"preconditions", {{"uid", "other"}}}}).status,
            409);
  const Json status = Parse(Delete(std::string(kConfigMaps) + "/a",
                                   {{"preconditions", {{"uid", map["metadata"]["uid"]}}}}));
  EXPECT_EQ(status["status"], "Success");
  EXPECT_EQ(status["details"]["kind"], "configmaps");
}

TEST_F(CrudTest, OnlyWhatHasToWaitIsMarkedAsBeingDeleted) {
  const std::string services = "/api/v1/namespaces/default/services";
  ASSERT_EQ(Post(services, {{"metadata", {{"name", "s"}}},
                            {"spec", {{"ports", Json::array({{{"port", 80}}})}}}})
                .status,
            201);
  const Json gone = Parse(Delete(services + "/s"));
  EXPECT_FALSE(gone["metadata"].contains("deletionTimestamp"));
  EXPECT_FALSE(gone["metadata"].contains("deletionGracePeriodSeconds"));
  Post(kConfigMaps, {{"metadata", {{"name", "held"}, {"finalizers", {"example.com/x"}}}}});
  const Json held = Parse(Delete(std::string(kConfigMaps) + "/held"));
  EXPECT_TRUE(held["metadata"].contains("deletionTimestamp"));
}

TEST_F(CrudTest, AListOfAVersionThatIsNoneIsRefused) {
  EXPECT_EQ(Get(std::string(kConfigMaps) + "?resourceVersion=zero").status, 400);
  EXPECT_EQ(Get(std::string(kConfigMaps) + "?resourceVersion=0&resourceVersionMatch=Exact").status,
            422);
  EXPECT_EQ(Get(std::string(kConfigMaps) + "?resourceVersion=0").status, 200);
}

TEST_F(CrudTest, ANamespaceLivesUntilItIsFinalized) {
  ASSERT_EQ(Post("/api/v1/namespaces", {{"metadata", {{"name", "team"}}}}).status, 201);
  EXPECT_EQ(StringAt(Parse(Get("/api/v1/namespaces/team")),
                     {"metadata", "labels", "kubernetes.io/metadata.name"}),
            "team");
  Json marked = Parse(Delete("/api/v1/namespaces/team"));
  EXPECT_EQ(marked["status"]["phase"], "Terminating");
  const Response refused =
      Post("/api/v1/namespaces/team/configmaps", {{"metadata", {{"name", "a"}}}});
  EXPECT_EQ(refused.status, 403);
  EXPECT_EQ(Parse(refused)["details"]["causes"][0]["reason"], "NamespaceTerminating");
  marked["spec"]["finalizers"] = Json::array();
  ASSERT_EQ(Put("/api/v1/namespaces/team/finalize", marked).status, 200);
  EXPECT_EQ(Get("/api/v1/namespaces/team").status, 404);
  EXPECT_EQ(Delete("/api/v1/namespaces/default").status, 403);
}

TEST_F(CrudTest, DryRunStoresNothing) {
  EXPECT_EQ(Post(std::string(kConfigMaps) + "?dryRun=All", {{"metadata", {{"name", "a"}}}}).status,
            201);
  EXPECT_EQ(Get(std::string(kConfigMaps) + "/a").status, 404);
  EXPECT_EQ(Post(std::string(kConfigMaps) + "?dryRun=Some", {{"metadata", {{"name", "a"}}}}).status,
            422);
}

TEST_F(CrudTest, DeleteCollectionTakesTheSelectedOnes) {
  for (const char* name : {"a", "b", "c"})
    Post(kConfigMaps,
         {{"metadata",
           {{"name", name}, {"labels", {{"keep", name == std::string("b") ? "yes" : "no"}}}}}});
  EXPECT_EQ(Delete(std::string(kConfigMaps) + "?labelSelector=keep=no").status, 200);
  EXPECT_EQ(Get(std::string(kConfigMaps) + "/a").status, 404);
  EXPECT_EQ(Get(std::string(kConfigMaps) + "/b").status, 200);
}

TEST_F(CrudTest, ServicesGetAddressesAndNodePorts) {
  const Json service = {
      {"metadata", {{"name", "web"}}},
      {"spec", {{"type", "LoadBalancer"}, {"ports", Json::array({{{"port", 80}}})}}}};
  const Json made = Parse(Post(kServices, service));
  const std::string ip = StringAt(made, {"spec", "clusterIP"});
  EXPECT_TRUE(ip.starts_with("10.96.")) << made.dump();
  EXPECT_EQ(made["spec"]["clusterIPs"], Json::array({ip}));
  EXPECT_EQ(made["spec"]["ports"][0]["targetPort"], 80);
  EXPECT_EQ(made["spec"]["ports"][0]["protocol"], "TCP");
  const int port = made["spec"]["ports"][0]["nodePort"];
  EXPECT_GE(port, 30000);
  EXPECT_LE(port, 32767);
  EXPECT_EQ(made["spec"]["externalTrafficPolicy"], "Cluster");
  // A client that applies what it wrote keeps what it was given.
  const Json patched = Parse(
      Patch(std::string(kServices) + "/web", {{"spec", {{"externalIPs", {"192.168.229.100"}}}}}));
  EXPECT_EQ(patched["spec"]["clusterIP"], ip);
  EXPECT_EQ(patched["spec"]["ports"][0]["nodePort"], port);
  Json taken = service;
  taken["metadata"]["name"] = "other";
  taken["spec"]["ports"][0]["nodePort"] = port;
  const Response refused = Post(kServices, taken);
  EXPECT_EQ(refused.status, 422);
  EXPECT_NE(refused.body.find("provided port is already allocated"), std::string::npos);
  ASSERT_EQ(Delete(std::string(kServices) + "/web").status, 200);
  EXPECT_EQ(Post(kServices, taken).status, 201) << "a deleted service gives its port back";
  const Json headless =
      Parse(Post(kServices, {{"metadata", {{"name", "h"}}}, {"spec", {{"clusterIP", "None"}}}}));
  EXPECT_EQ(headless["spec"]["clusterIP"], "None");
}

TEST_F(CrudTest, StringDataBecomesData) {
  const Json secret =
      Parse(Post("/api/v1/namespaces/default/secrets",
                 {{"metadata", {{"name", "a"}}}, {"stringData", {{"k", "hello"}}}}));
  EXPECT_EQ(secret["data"]["k"], "aGVsbG8=");
  EXPECT_FALSE(secret.contains("stringData"));
  EXPECT_EQ(secret["type"], "Opaque");
}

TEST_F(CrudTest, ScaleReadsAndWritesReplicas) {
  ASSERT_EQ(Post(kDeployments, Deployment("web", 2)).status, 201);
  Json scale = Parse(Get(std::string(kDeployments) + "/web/scale"));
  EXPECT_EQ(scale["kind"], "Scale");
  EXPECT_EQ(scale["spec"]["replicas"], 2);
  EXPECT_EQ(scale["status"]["selector"], "app=web");
  ASSERT_EQ(Patch(std::string(kDeployments) + "/web/scale", {{"spec", {{"replicas", 0}}}},
                  "application/merge-patch+json")
                .status,
            200);
  const Json deployment = Parse(Get(std::string(kDeployments) + "/web"));
  EXPECT_EQ(deployment["spec"]["replicas"], 0);
  EXPECT_EQ(deployment["metadata"]["generation"], 2);
}

}  // namespace
}  // namespace isthmus::lab::apiserver
