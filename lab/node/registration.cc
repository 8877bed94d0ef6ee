#include "lab/node/registration.h"

#include <sys/utsname.h>

#include "base/clock.h"
#include "base/files.h"
#include "base/log.h"
#include "base/strings.h"
#include "kubeapi/meta.h"
#include "kubeapi/resources.h"

namespace isthmus::lab::node {
namespace {

using kubeapi::Json;
using kubeclient::PatchType;
using std::chrono_literals::operator""s;

constexpr char kLeaseNamespace[] = "kube-node-lease";
constexpr char kKubeletVersion[] = "v1.32.0";

std::string NowText() { return base::FormatTime(base::SystemClock().Now()); }

std::string OsImage() {
  auto text = base::ReadFile("/etc/os-release");
  if (!text.ok()) return "Linux";
  for (const std::string_view line : base::Split(*text, '\n')) {
    std::string_view rest = line;
    if (base::ConsumePrefix(rest, "PRETTY_NAME=")) return base::ReplaceAll(rest, "\"", "");
  }
  return "Linux";
}

}  // namespace

Registration::Registration(base::Loop& loop, kubeclient::Client& client, NodeFacts node,
                           std::string pod_range, std::map<std::string, std::string> labels)
    : loop_(loop),
      client_(client),
      node_(std::move(node)),
      pod_range_(std::move(pod_range)),
      labels_(std::move(labels)),
      since_(NowText()) {}

void Registration::Start() {
  EnsureNode();
  renewal_ = base::Timer::Every(loop_, 10s, [this] {
    RenewLease();
    ReportStatus();
  });
}

Json Registration::NodeObject() const {
  Json labels = {{"kubernetes.io/hostname", node_.name},
                 {"kubernetes.io/os", "linux"},
                 {"kubernetes.io/arch", "amd64"},
                 {"beta.kubernetes.io/os", "linux"},
                 {"beta.kubernetes.io/arch", "amd64"}};
  for (const auto& [name, value] : labels_) labels[name] = value;
  return {{"apiVersion", "v1"},
          {"kind", "Node"},
          {"metadata", {{"name", node_.name}, {"labels", labels}}},
          {"spec", {{"podCIDR", pod_range_}, {"podCIDRs", {pod_range_}}}}};
}

void Registration::EnsureNode() {
  client_.Create(kubeapi::kNodes, "", NodeObject(), [this](base::Result<Json> made) {
    if (!made.ok() && made.status().code() != base::Code::kAlreadyExists) {
      LOG_WARN("node", "registering {}: {}", node_.name, made.status().message());
      retry_ = base::Timer::After(loop_, 1s, [this] { EnsureNode(); });
      return;
    }
    // A node that was there keeps what others wrote; labels of ours are brought up to date.
    if (!made.ok())
      client_.Patch(kubeapi::kNodes, "", node_.name, PatchType::kMerge,
                    {{"metadata", {{"labels", NodeObject()["metadata"]["labels"]}}}},
                    [](const base::Result<Json>&) {});
    ReportStatus();
    RenewLease();
  });
}

Json Registration::Status() const {
  utsname machine{};
  uname(&machine);
  const std::string now = NowText();
  auto condition = [&](const char* type, bool value, const char* reason, const char* message) {
    return Json{
        {"type", type},       {"status", value ? "True" : "False"}, {"reason", reason},
        {"message", message}, {"lastHeartbeatTime", now},           {"lastTransitionTime", since_}};
  };
  const Json resources = {{"cpu", std::to_string(node_.cpu_milli / 1000)},
                          {"memory", std::to_string(node_.memory_bytes / 1024) + "Ki"},
                          {"pods", "250"},
                          {"ephemeral-storage", "100Gi"}};
  return {{"capacity", resources},
          {"allocatable", resources},
          {"addresses",
           {{{"type", "InternalIP"}, {"address", node_.address}},
            {{"type", "Hostname"}, {"address", node_.name}}}},
          {"conditions",
           {condition("MemoryPressure", false, "KubeletHasSufficientMemory",
                      "kubelet has sufficient memory available"),
            condition("DiskPressure", false, "KubeletHasNoDiskPressure",
                      "kubelet has no disk pressure"),
            condition("PIDPressure", false, "KubeletHasSufficientPID",
                      "kubelet has sufficient PID available"),
            condition("Ready", true, "KubeletReady", "the lab's node is posting ready status")}},
          {"daemonEndpoints", {{"kubeletEndpoint", {{"Port", 10250}}}}},
          {"nodeInfo",
           {{"kubeletVersion", kKubeletVersion},
            {"kubeProxyVersion", kKubeletVersion},
            {"operatingSystem", "linux"},
            {"architecture", "amd64"},
            {"osImage", OsImage()},
            {"kernelVersion", machine.release},
            {"containerRuntimeVersion", "isthmus://0.1.0"},
            {"machineID", ""},
            {"systemUUID", ""},
            {"bootID", ""}}}};
}

void Registration::ReportStatus() {
  client_.Patch(
      kubeapi::kNodes, "", node_.name, PatchType::kMerge, {{"status", Status()}},
      [this](const base::Result<Json>& done) {
        if (done.ok()) return;
        // Someone deleted it, or the API server lost it.
        if (done.status().code() == base::Code::kNotFound)
          EnsureNode();
        else
          LOG_WARN("node", "status of {}: {}", node_.name, done.status().message());
      },
      "status");
}

void Registration::RenewLease() {
  const std::string now = NowText();
  const Json spec = {{"holderIdentity", node_.name},
                     {"leaseDurationSeconds", 40},
                     {"renewTime", now.substr(0, now.size() - 1) + ".000000Z"}};
  client_.Patch(
      kubeapi::kLeases, kLeaseNamespace, node_.name, PatchType::kMerge, {{"spec", spec}},
      [this, spec](const base::Result<Json>& done) {
        if (done.ok() || done.status().code() != base::Code::kNotFound) return;
        const Json lease = {{"apiVersion", "coordination.k8s.io/v1"},
                            {"kind", "Lease"},
                            {"metadata", {{"name", node_.name}, {"namespace", kLeaseNamespace}}},
                            {"spec", spec}};
        client_.Create(kubeapi::kLeases, kLeaseNamespace, lease, [](const base::Result<Json>&) {});
      });
}

}  // namespace isthmus::lab::node
