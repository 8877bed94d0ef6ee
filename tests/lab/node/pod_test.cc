#include "lab/node/pod.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>

#include "base/files.h"
#include "kubeapi/meta.h"
#include "lab/node/log_reader.h"

namespace isthmus::lab::node {
namespace {

using kubeapi::Json;
using std::chrono_literals::operator""s;
using testing::Contains;
using testing::HasSubstr;

class FakeSource final : public PodSource {
 public:
  const Json* ConfigMap(std::string_view ns, std::string_view name) override {
    return Get(config_maps, ns, name);
  }
  const Json* Secret(std::string_view ns, std::string_view name) override {
    return Get(secrets, ns, name);
  }
  std::vector<std::string> ServiceEnv(std::string_view, bool) override {
    return {"KUBERNETES_SERVICE_HOST=10.68.0.1"};
  }
  void RequestToken(const Json&, const std::string& audience, int64_t,
                    std::function<void(base::Result<ServiceAccountToken>)> done) override {
    done(ServiceAccountToken{"token-for-" + audience,
                             base::SystemClock().Now() + std::chrono::hours(1)});
  }
  void Event(const Json&, std::string_view, bool, std::string_view reason,
             const std::string& message) override {
    events.push_back(std::string(reason) + ": " + message);
  }
  static const Json* Get(const std::map<std::string, Json>& map, std::string_view ns,
                         std::string_view name) {
    const auto found = map.find(kubeapi::KeyOf(ns, name));
    return found == map.end() ? nullptr : &found->second;
  }
  std::map<std::string, Json> config_maps, secrets;
  std::vector<std::string> events;
};

class PodTest : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
    auto network =
        PodNetwork::Open(dir_ + "/net", *network::Cidr::Parse("172.20.0.0/24"), "127.0.0.1");
    ASSERT_TRUE(network.ok());
    network_ = std::make_unique<PodNetwork>(std::move(*network));
    ASSERT_TRUE(
        images_
            .Add(
                "images: [{pattern: test, command: [sh, -c, 'echo default'], env: {IMAGE: 'yes'}}]")
            .ok());
    context_ = std::make_unique<PodContext>(PodContext{
        .loop = loop_,
        .source = source_,
        .network = *network_,
        .images = images_,
        .node = {"node1", "127.0.0.1"},
        .dir = dir_,
        .program = "/proc/self/exe",
        .dns_address = "10.68.0.2",
        .find_program = [](const std::string& name) -> base::Result<std::string> { return name; }});
  }
  void TearDown() override {
    if (pod_ != nullptr && !gone_) {
      pod_->Remove();
      EXPECT_TRUE(loop_.RunUntil([this] { return gone_; }, 10s));
    }
    pod_.reset();
    std::filesystem::remove_all(dir_);
  }
  static Json Spec(const std::string& containers, const std::string& more = "") {
    auto pod = kubeapi::ParseYaml(
        "metadata: {name: web, namespace: d, uid: u1, labels: {app: web}}\nspec:\n  containers:\n" +
        containers + more);
    EXPECT_TRUE(pod.ok()) << pod.status().message();
    return pod.ok() ? *pod : Json();
  }
  static std::string Script(const std::string& name, const std::string& script,
                            const std::string& more = "") {
    return "  - {name: " + name + ", image: 'x/test:1', command: [sh, -c, '" + script + "']" +
           more + "}\n";
  }
  void Start(const Json& pod) {
    gone_ = false;
    pod_ = std::make_unique<Pod>(
        *context_, pod,
        Pod::Events{.status = [this](const Json& status) { status_ = status; },
                    .gone = [this] { gone_ = true; }});
  }
  bool Until(const std::function<bool()>& done) {
    const bool held = loop_.RunUntil(done, 15s);
    EXPECT_TRUE(held) << status_.dump(1);
    return held;
  }
  std::string Phase() const { return kubeapi::StringAt(status_, {"phase"}); }
  bool Ready() const { return kubeapi::ConditionIsTrue(Json{{"status", status_}}, "Ready"); }
  std::string Log(const std::string& container) {
    auto text = base::ReadFile(pod_->Find(container)->LogPath(false));
    return text.ok() ? RenderLog(*text, {}) : "";
  }
  bool UntilLog(const std::string& container, const std::string& text) {
    return Until([&] { return Log(container).find(text) != std::string::npos; });
  }

  base::Loop loop_;
  std::string dir_ = "/tmp/node-pod-test-" + std::to_string(getpid());
  FakeSource source_;
  ImageTable images_ = ImageTable::BuiltIn();
  std::unique_ptr<PodNetwork> network_;
  std::unique_ptr<PodContext> context_;
  std::unique_ptr<Pod> pod_;
  Json status_;
  bool gone_ = false;
};

TEST_F(PodTest, RunsWithAddressNamesAndEnvironment) {
  Start(
      Spec("  - {name: a, image: test, command: [sh, -c, 'echo $A $IP $IMAGE; cat "
           "/etc/resolv.conf; grep web /etc/hosts; sleep 100'],\n"
           "     env: [{name: B, value: b}, {name: A, value: '$(B)$(NO)$$(B)'}, {name: IP, "
           "valueFrom: {fieldRef: {fieldPath: status.podIP}}}]}\n"));
  ASSERT_TRUE(Until([this] { return Ready(); }));
  EXPECT_EQ(Phase(), "Running");
  EXPECT_EQ(kubeapi::StringAt(status_, {"podIP"}), "172.20.0.2");
  ASSERT_TRUE(UntilLog("a", "\tweb"));
  EXPECT_THAT(Log("a"), HasSubstr("b$(NO)$(B) 172.20.0.2 yes\n"));
  EXPECT_THAT(Log("a"), HasSubstr("search d.svc.cluster.local svc.cluster.local "
                                  "cluster.local\nnameserver 10.68.0.2\noptions ndots:5\n"));
}

TEST_F(PodTest, VolumesArriveAndFollowTheirSources) {
  source_.secrets["d/s"] = Json{{"data", {{"key", "c2VjcmV0"}}}};
  const Json pod = Spec(
      "  - name: a\n    image: test\n    command: [sh, -c, 'cat /s/key /p/token /p/labels /c/f; "
      "while ! grep -q two /c/f; do sleep 0.05; done; echo changed']\n"
      "    volumeMounts: [{name: s, mountPath: /s}, {name: p, mountPath: /p}, {name: c, mountPath: "
      "/c}]\n",
      "  restartPolicy: Never\n  volumes:\n  - {name: s, secret: {secretName: s}}\n  - {name: c, "
      "configMap: {name: c}}\n"
      "  - name: p\n    projected: {sources: [{serviceAccountToken: {path: token, audience: "
      "istio-ca}}, {downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: "
      "metadata.labels}}]}}]}\n");
  Start(pod);
  ASSERT_TRUE(Until([this] { return !source_.events.empty(); }));
  EXPECT_THAT(source_.events, Contains(HasSubstr("FailedMount: MountVolume.SetUp failed: volume "
                                                 "\"c\": mount: configmap \"c\" not found")));
  source_.config_maps["d/c"] = Json{{"data", {{"f", "one\n"}}}};
  pod_->SourcesChanged();
  ASSERT_TRUE(UntilLog("a", "one"));
  EXPECT_THAT(Log("a"), HasSubstr("secrettoken-for-istio-caapp=\"web\""));
  source_.config_maps["d/c"] = Json{{"data", {{"f", "two\n"}}}};
  pod_->SourcesChanged();
  ASSERT_TRUE(Until([this] { return Phase() == "Succeeded"; }));
  EXPECT_THAT(Log("a"), HasSubstr("changed"));
}

TEST_F(PodTest, InitContainersRunInOrderAndSidecarsBeforeMains) {
  Start(
      Spec(Script("main", "cat /x/order; sleep 100", ", volumeMounts: [{name: x, mountPath: /x}]"),
           "  initContainers:\n" +
               Script("one", "echo one >> /x/order", ", volumeMounts: [{name: x, mountPath: /x}]") +
               Script("side", "echo side >> /x/order; touch /tmp/up; sleep 100",
                      ", restartPolicy: Always, startupProbe: {exec: {command: [test, -e, "
                      "/tmp/up]}}, volumeMounts: [{name: x, mountPath: /x}]") +
               Script("two", "echo two >> /x/order", ", volumeMounts: [{name: x, mountPath: /x}]") +
               "  volumes: [{name: x, emptyDir: {}}]\n"));
  ASSERT_TRUE(UntilLog("main", "two"));
  EXPECT_EQ(Log("main"), "one\nside\ntwo\n");
  ASSERT_TRUE(Until([this] { return Ready(); }));
}

TEST_F(PodTest, ACrashIsRestartedAndCounted) {
  Start(Spec(Script("a", "test -e /x/second && sleep 100; touch /x/second; exit 3",
                    ", volumeMounts: [{name: x, mountPath: /x}]"),
             "  volumes: [{name: x, emptyDir: {}}]\n"));
  ASSERT_TRUE(Until([this] { return Ready() && pod_->Find("a")->restarts() == 1; }));
  const Json& container = status_["containerStatuses"][0];
  EXPECT_EQ(kubeapi::IntAt(container, {"restartCount"}), 1);
  EXPECT_EQ(kubeapi::IntAt(container, {"lastState", "terminated", "exitCode"}), 3);
}

TEST_F(PodTest, NeverMeansNever) {
  Start(Spec(Script("a", "exit 3"), "  restartPolicy: Never\n"));
  ASSERT_TRUE(Until([this] { return Phase() == "Failed"; }));
  EXPECT_EQ(kubeapi::IntAt(status_["containerStatuses"][0], {"state", "terminated", "exitCode"}),
            3);
}

TEST_F(PodTest, UnknownImageSaysWhatToDo) {
  Start(Spec("  - {name: a, image: 'docker.io/strange/thing:7'}\n"));
  ASSERT_TRUE(Until([this] {
    return status_.contains("containerStatuses") &&
           kubeapi::StringAt(status_["containerStatuses"][0], {"state", "waiting", "reason"}) ==
               "ErrImagePull";
  }));
  EXPECT_THAT(kubeapi::StringAt(status_["containerStatuses"][0], {"state", "waiting", "message"}),
              HasSubstr("pattern \"thing\""));
  EXPECT_EQ(Phase(), "Pending");
}

TEST_F(PodTest, ProbesDecideReadinessAndRestarts) {
  Start(Spec(Script("a", "sleep 100",
                    ", readinessProbe: {exec: {command: [test, -e, /tmp/ready]}}, "
                    "livenessProbe: {exec: {command: [test, '!', -e, /tmp/sick]}, periodSeconds: "
                    "1, failureThreshold: 1}")));
  ASSERT_TRUE(Until([this] { return Phase() == "Running"; }));
  EXPECT_FALSE(Ready());
  auto run = [this](std::vector<std::string> command) {
    auto exec = StartExec(*pod_->Find("a")->container(), {.command = std::move(command)});
    ASSERT_TRUE(exec.ok());
  };
  run({"touch", "/tmp/ready"});
  ASSERT_TRUE(Until([this] { return Ready(); }));
  Json pod = pod_->object();
  pod["spec"]["terminationGracePeriodSeconds"] = 1;
  pod_->Update(pod);
  run({"touch", "/tmp/sick"});
  ASSERT_TRUE(Until([this] { return pod_->Find("a")->restarts() == 1; }));
  EXPECT_THAT(source_.events, Contains(HasSubstr("failed liveness probe")));
}

TEST_F(PodTest, DeletionRunsHooksSignalsAndCleansUp) {
  Start(Spec(Script("a", "trap \"echo bye; exit 0\" TERM; echo up; while :; do sleep 0.05; done",
                    ", lifecycle: {preStop: {exec: {command: [sh, -c, \"echo hook > /proc/1/fd/1 "
                    "|| true\"]}}}")));
  ASSERT_TRUE(UntilLog("a", "up"));
  const std::string log = pod_->Find("a")->LogPath(false), copy = dir_ + "/copy";
  std::filesystem::create_hard_link(log, copy);
  Json pod = pod_->object();
  pod["metadata"]["deletionTimestamp"] = "2026-11-21T14:00:00Z";
  pod["metadata"]["deletionGracePeriodSeconds"] = 10;
  pod_->Update(pod);
  ASSERT_TRUE(Until([this] { return gone_; }));
  EXPECT_THAT(*base::ReadFile(copy), HasSubstr("stdout F bye"));
  EXPECT_FALSE(base::Exists(dir_ + "/pods/u1"));
  EXPECT_THAT(network_->Uids(), testing::IsEmpty());
}

TEST_F(PodTest, GraceEndsSomeTime) {
  Start(Spec(Script("a", "trap true TERM; echo up; while :; do sleep 0.05; done")));
  ASSERT_TRUE(UntilLog("a", "up"));
  Json pod = pod_->object();
  pod["metadata"]["deletionTimestamp"] = "2026-11-21T14:00:00Z";
  pod["metadata"]["deletionGracePeriodSeconds"] = 1;
  pod_->Update(pod);
  ASSERT_TRUE(Until([this] { return gone_; }));
}

TEST_F(PodTest, ANewNodeProcessTakesOver) {
  const Json pod = Spec(Script("a", "echo up; sleep 100"));
  Start(pod);
  ASSERT_TRUE(Until([this] { return Ready(); }));
  const int pid = pod_->Find("a")->container()->pid();
  const std::string ip = pod_->ip();
  pod_.reset();
  network_ = std::make_unique<PodNetwork>(
      *PodNetwork::Open(dir_ + "/net", *network::Cidr::Parse("172.20.0.0/24"), "127.0.0.1"));
  status_ = Json();
  PodContext again{
      .loop = loop_,
      .source = source_,
      .network = *network_,
      .images = images_,
      .node = {"node1", "127.0.0.1"},
      .dir = dir_,
      .program = "/proc/self/exe",
      .dns_address = "10.68.0.2",
      .find_program = [](const std::string& name) -> base::Result<std::string> { return name; }};
  pod_ =
      std::make_unique<Pod>(again, pod,
                            Pod::Events{.status = [this](const Json& status) { status_ = status; },
                                        .gone = [this] { gone_ = true; }});
  ASSERT_TRUE(Until([this] { return Ready(); }));
  EXPECT_EQ(pod_->Find("a")->container()->pid(), pid);
  EXPECT_EQ(pod_->ip(), ip);
  EXPECT_EQ(pod_->Find("a")->restarts(), 0);
  pod_->Remove();
  ASSERT_TRUE(Until([this] { return gone_; }));
  pod_.reset();
}

TEST(ImageTableTest, PatternsFitRepositories) {
  const ImageTable table = ImageTable::BuiltIn();
  EXPECT_EQ(table.Find("docker.io/istio/pilot:1.27.0@sha256:aa")->uid, 1337u);
  EXPECT_EQ(table.Find("pilot")->programs.at(0).source, "isthmusd");
  EXPECT_EQ(table.Find("localhost:5000/istio/examples-bookinfo-reviews-v2:1.20.3")->command.back(),
            "reviews");
  EXPECT_EQ(table.Find("mccutchen/go-httpbin:v2")->command.back(), "8080");
  EXPECT_TRUE(table.Find("curlimages/curl").ok());
  EXPECT_FALSE(table.Find("autopilot:1").ok());
  ImageTable more = table;
  EXPECT_FALSE(more.Add("images: [{pattern: a, programs: {relative: x}}]").ok());
  EXPECT_FALSE(more.Add("images: 3").ok());
  ASSERT_TRUE(more.Add("images: [{pattern: pilot, command: [true]}]").ok());
  EXPECT_EQ(more.Find("pilot")->uid, 0u) << "later entries win";
}

TEST(LogReaderTest, TailSinceAndTimestamps) {
  const std::string log =
      "2026-11-21T10:00:00Z stdout F one\n2026-11-21T10:00:01Z stderr P tw\n2026-11-21T10:00:02Z "
      "stdout F o\n";
  EXPECT_EQ(RenderLog(log, {}), "one\ntwo\n");
  EXPECT_EQ(RenderLog(log, {.tail = 1}), "o\n");
  EXPECT_EQ(RenderLog(log, {.tail = 0}), "");
  EXPECT_EQ(RenderLog(log, {.tail = 100}), "one\ntwo\n");
  EXPECT_EQ(RenderLog(log, {.timestamps = true, .tail = 1}), "2026-11-21T10:00:02Z o\n");
  EXPECT_EQ(RenderLog(log, {.since = *base::ParseTime("2026-11-21T10:00:02Z")}), "o\n");
  EXPECT_EQ(RenderLog(log, {.limit_bytes = 2}), "on");
}

}  // namespace
}  // namespace isthmus::lab::node
