// The forms in which things are told: tables, discovery, OpenAPI, protobuf.
#include "lab/apiserver/json_path.h"
#include "lab/apiserver/protobuf.h"
#include "lab/apiserver/table.h"
#include "tests/lab/apiserver/api_fixture.h"

namespace isthmus::lab::apiserver {
namespace {

using kubeapi::StringAt;

constexpr char kTable[] = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

class FormsTest : public ApiTest {
 protected:
  Json Cells(const std::string& path) { return Parse(Get(path, kTable))["rows"][0]["cells"]; }
};

TEST_F(FormsTest, PodsReadAsKubectlShowsThem) {
  Json pod = Pod("web");
  pod["spec"]["containers"].push_back({{"name", "istio-proxy"}, {"image", "p:1"}});
  ASSERT_EQ(Post(kPods, pod).status, 201);
  EXPECT_EQ(
      Cells(std::string(kPods) + "/web"),
      Json::array({"web", "0/2", "Pending", "0", "0s", "<none>", "<none>", "<none>", "<none>"}));
  auto set = [&](Json status) {
    ASSERT_EQ(Patch(std::string(kPods) + "/web/status", {{"status", std::move(status)}},
                    "application/merge-patch+json")
                  .status,
              200);
  };
  const Json running = {
      {"name", "a"},       {"ready", true},
      {"restartCount", 0}, {"image", ""},
      {"imageID", ""},     {"state", {{"running", {{"startedAt", "2026-01-01T00:00:00Z"}}}}}};
  Json crashing = {
      {"name", "istio-proxy"},
      {"ready", false},
      {"restartCount", 3},
      {"image", ""},
      {"imageID", ""},
      {"state", {{"waiting", {{"reason", "CrashLoopBackOff"}}}}},
      {"lastState",
       {{"terminated",
         {{"exitCode", 1},
          {"finishedAt", base::FormatTime(clock_.Now() - std::chrono::seconds(42))}}}}}};
  set({{"phase", "Running"},
       {"podIP", "10.1.0.2"},
       {"podIPs", Json::array({{{"ip", "10.1.0.2"}}})},
       {"containerStatuses", Json::array({running, crashing})}});
  const Json cells = Cells(std::string(kPods) + "/web");
  EXPECT_EQ(cells[1], "1/2");
  EXPECT_EQ(cells[2], "CrashLoopBackOff");
  EXPECT_EQ(cells[3], "3 (42s ago)");
  EXPECT_EQ(cells[5], "10.1.0.2");
}

TEST_F(FormsTest, ServicesReadAsKubectlShowsThem) {
  ASSERT_EQ(Post(kServices, {{"metadata", {{"name", "gw"}}},
                             {"spec",
                              {{"type", "LoadBalancer"},
                               {"clusterIP", "10.96.5.5"},
                               {"ports", Json::array({{{"port", 80}, {"nodePort", 30080}}})}}}})
                .status,
            201);
  EXPECT_EQ(Cells(std::string(kServices) + "/gw"),
            Json::array(
                {"gw", "LoadBalancer", "10.96.5.5", "<pending>", "80:30080/TCP", "0s", "<none>"}));
  ASSERT_EQ(
      Patch(std::string(kServices) + "/gw", {{"spec", {{"externalIPs", {"192.168.229.100"}}}}})
          .status,
      200);
  ASSERT_EQ(
      Patch(std::string(kServices) + "/gw/status",
            {{"status", {{"loadBalancer", {{"ingress", Json::array({{{"ip", "192.0.2.7"}}})}}}}}},
            "application/merge-patch+json")
          .status,
      200);
  EXPECT_EQ(Cells(std::string(kServices) + "/gw")[3], "192.0.2.7,192.168.229.100");
}

TEST(HumanDurationTest, ReadsAsKubectlPrintsIt) {
  EXPECT_EQ(HumanDuration(0), "0s");
  EXPECT_EQ(HumanDuration(119), "119s");
  EXPECT_EQ(HumanDuration(120), "2m");
  EXPECT_EQ(HumanDuration(150), "2m30s");
  EXPECT_EQ(HumanDuration(3600), "60m");
  EXPECT_EQ(HumanDuration(3 * 3600 + 60), "3h1m");
  EXPECT_EQ(HumanDuration(22 * 3600), "22h");
  EXPECT_EQ(HumanDuration(3 * 86400 + 3600), "3d1h");
  EXPECT_EQ(HumanDuration(10 * 86400), "10d");
  EXPECT_EQ(HumanDuration(800 * 86400), "2y70d");
}

TEST(JsonPathTest, FindsWhatColumnsName) {
  const Json value = {{"a", {{{"type", "x"}, {"v", 1}}, {{"type", "Ready"}, {"v", 2}}}},
                      {"l", {{"a.b/c", "d"}}}};
  auto text = [&](const char* path) {
    std::string out;
    for (const Json* each : EvaluatePath(value, path)) out += PlainText(*each) + ";";
    return out;
  };
  EXPECT_EQ(text(".a[?(@.type==\"Ready\")].v"), "2;");
  EXPECT_EQ(text(".a[0].v"), "1;");
  EXPECT_EQ(text(".a[-1].v"), "2;");
  EXPECT_EQ(text(".a[*].v"), "1;2;");
  EXPECT_EQ(text(".l.a\\.b/c"), "d;");
  EXPECT_EQ(text(".l['a.b/c']"), "d;");
  EXPECT_EQ(text(".a[9].v"), "");
  EXPECT_EQ(text(".a[?("), "");
  EXPECT_EQ(text("[[["), "");
}

TEST_F(FormsTest, DiscoveryListsKindsInBothForms) {
  const Json old = Parse(Get("/apis/apps/v1"));
  std::vector<std::string> names;
  for (const Json& row : old["resources"]) names.push_back(row["name"]);
  EXPECT_NE(std::find(names.begin(), names.end(), "deployments/scale"), names.end());
  const Response aggregated =
      Get("/apis",
          "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json");
  EXPECT_EQ(aggregated.content_type,
            "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList");
  EXPECT_EQ(Parse(aggregated)["kind"], "APIGroupDiscoveryList");
  EXPECT_EQ(Parse(Get("/api"))["versions"], Json::array({"v1"}));
}

TEST_F(FormsTest, OpenApiTellsMergeKeysAndParameters) {
  const Json document = Parse(Get("/openapi/v3/apis/apps/v1"));
  const Json& spec =
      document["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
  EXPECT_EQ(spec["x-kubernetes-patch-merge-key"], "name");
  const Json& patch =
      document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
  std::vector<std::string> parameters;
  for (const Json& each : patch["parameters"]) parameters.push_back(each["name"]);
  EXPECT_NE(std::find(parameters.begin(), parameters.end(), "fieldValidation"), parameters.end());
  EXPECT_EQ(Get("/openapi/v3/apis/none.example/v1").status, 404);
  const Response old =
      Get("/openapi/v2", "application/com.github.proto-openapi.spec.v2@v1.0+protobuf");
  EXPECT_EQ(old.body.substr(0, 5), std::string("\x0a\x03"
                                               "2.0"));
}

TEST(ProtobufTest, ReadsWhatTypedClientsSend) {
  // A ConfigMap: metadata{name: "a", labels{"k": "v"}}, data{"x": "y"}.
  auto field = [](int number, const std::string& bytes) {
    return std::string(1, static_cast<char>(number << 3 | 2)) + static_cast<char>(bytes.size()) +
           bytes;
  };
  const std::string entry = field(1, "k") + field(2, "v"), data = field(1, "x") + field(2, "y");
  const std::string map =
      field(1, field(1, "a") + field(3, "") + field(11, entry)) + field(2, data);
  const std::string body =
      std::string("k8s\0", 4) + field(1, field(1, "v1") + field(2, "ConfigMap")) + field(2, map);
  auto decoded = DecodeProtobuf(body);
  ASSERT_TRUE(decoded.ok()) << decoded.status().message();
  EXPECT_EQ(*decoded, (Json{{"apiVersion", "v1"},
                            {"kind", "ConfigMap"},
                            {"metadata", {{"name", "a"}, {"labels", {{"k", "v"}}}}},
                            {"data", {{"x", "y"}}}}));
}

TEST(ProtobufTest, BrokenBytesAreAnError) {
  for (std::string bytes :
       {std::string(""), std::string("k8s"), std::string("k8s\0\xff\xff\xff", 7),
        std::string("k8s\0\x0a\x7f", 6), std::string("k8s\0\x12\x02\x0a\xff", 8)})
    EXPECT_FALSE(DecodeProtobuf(bytes).ok());
  // Every cut of a good body is refused or read, never worse.
  const std::string good = std::string(
      "k8s\0\x0a\x0f\x0a\x02v1\x12\x09"
      "ConfigMap\x12\x05\x0a\x03\x0a\x01"
      "a",
      28);
  for (size_t i = 0; i <= good.size(); ++i) (void)DecodeProtobuf(good.substr(0, i));
}

// A field of bytes with a length of any size.
std::string Bytes(uint32_t number, const std::string& bytes) {
  std::string out;
  for (uint64_t value : {uint64_t{number} << 3 | 2, uint64_t{bytes.size()}}) {
    for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
    out += static_cast<char>(value);
  }
  return out + bytes;
}

TEST(ProtobufTest, NestingAndTimesHaveLimits) {
  // A schema may hold one as additionalItems, in a JSONSchemaPropsOrBool.
  const auto decode = [](const std::string& schema) {
    const std::string version = Bytes(1, "v1") + Bytes(4, Bytes(1, schema));
    return DecodeProtobuf(
        std::string("k8s\0", 4) +
        Bytes(1, Bytes(1, "apiextensions.k8s.io/v1") + Bytes(2, "CustomResourceDefinition")) +
        Bytes(2, Bytes(2, Bytes(7, version))));
  };
  std::string deep;
  for (int i = 0; i < 10000; ++i) deep = Bytes(33, Bytes(2, deep));
  (void)decode(deep);
  const std::string late = Bytes(1, Bytes(8, "\x08\xff\xff\xff\xff\xff\xff\xff\xff\x7f"));
  const auto object = DecodeProtobuf(
      std::string("k8s\0", 4) + Bytes(1, Bytes(1, "v1") + Bytes(2, "ConfigMap")) + Bytes(2, late));
  ASSERT_TRUE(object.ok()) << object.status().message();
  EXPECT_EQ((*object)["metadata"]["creationTimestamp"], "2262-04-11T23:47:16Z");
}

TEST_F(FormsTest, NewEventsAreOldEventsByOtherNames) {
  ASSERT_EQ(Post("/api/v1/namespaces/default/events",
                 {{"metadata", {{"name", "e"}}},
                  {"involvedObject", {{"kind", "Pod"}, {"name", "web"}}},
                  {"message", "m"},
                  {"reason", "R"},
                  {"type", "Normal"}})
                .status,
            201);
  const Json event = Parse(Get("/apis/events.k8s.io/v1/namespaces/default/events/e"));
  EXPECT_EQ(event["note"], "m");
  EXPECT_EQ(event["regarding"]["name"], "web");
  EXPECT_EQ(
      Parse(Get("/api/v1/namespaces/default/events?fieldSelector=involvedObject.name=web"))["items"]
          .size(),
      1u);
  EXPECT_EQ(
      Parse(Get(
          "/apis/events.k8s.io/v1/namespaces/default/events?fieldSelector=regarding.name=other"))
          ["items"]
              .size(),
      0u);
}

}  // namespace
}  // namespace isthmus::lab::apiserver
