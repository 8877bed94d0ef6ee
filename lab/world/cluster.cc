#include "lab/world/cluster.h"

#include "base/clock.h"
#include "base/files.h"
#include "base/log.h"
#include "http/client.h"
#include "kubeapi/meta.h"
#include "kubeapi/resources.h"
#include "kubeclient/config.h"
#include "lab/node/node.h"

namespace isthmus::lab::world {
namespace {

using kubeapi::Json;
using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;
constexpr auto kPollPeriod = 20ms;
// A real API server takes some seconds; a busy machine several times that.
constexpr std::chrono::seconds kStartLimit{180};
constexpr auto kRetryPeriod = 100ms;
constexpr auto kAnswerTime = 5s;

}  // namespace

Cluster::Cluster(const Shared& shared, const ClusterSpec& spec,
                 std::function<void(const std::string&)> progress,
                 std::function<void(const base::Status&)> ready)
    : shared_(shared), spec_(spec), progress_(std::move(progress)), on_ready_(std::move(ready)) {}
Cluster::~Cluster() = default;

// The node of the API server.
std::string Cluster::FirstNs() const {
  for (const NodeSpec& node : spec_.nodes)
    if (node.address == spec_.api_server) return shared_.wan.NodeNsPath(spec_, node);
  return shared_.wan.NodeNsPath(spec_, spec_.nodes.front());
}

base::Status Cluster::Start() {
  RETURN_IF_ERROR(shared_.control_plane.Prepare(shared_.lab, spec_), "cluster " + spec_.name);
  for (ProcessSpec& process : shared_.control_plane.Servers(spec_, FirstNs()))
    processes_.push_back(std::make_unique<ManagedProcess>(shared_.loop, std::move(process)));
  for (const auto& process : processes_) RETURN_IF_ERROR(process->Start(), "cluster " + spec_.name);
  deadline_ = base::Timer::After(shared_.loop, kStartLimit, [this] { GiveUp(); });
  poll_ = base::Timer::Every(shared_.loop, kPollPeriod, [this] { AwaitFiles(); });
  return {};
}

void Cluster::Fail(const base::Status& status) {
  poll_.Cancel();
  retry_object_.Cancel();
  deadline_.Cancel();
  on_ready_(status.In("cluster " + spec_.name));
}

void Cluster::AwaitFiles() {
  if (!shared_.control_plane.FilesReady(spec_)) return;
  poll_.Cancel();
  base::Status status = WriteKubeconfig();
  if (status.ok()) status = ConnectApi();
  if (!status.ok()) return Fail(status);
  AwaitApiServer();
}

// Controllers and nodes that start before the API server answers give up or wait for long: a real
// controller manager ends itself, and what retries does so later and later.
void Cluster::AwaitApiServer() {
  http::Request request;
  request.target = "/readyz";
  client_->Raw(std::move(request), kAnswerTime, [this](const base::Result<http::Response>& answer) {
    if (!deadline_.active()) return;
    if (!answer.ok() || answer->status != 200) {
      poll_ = base::Timer::After(shared_.loop, kPollPeriod, [this] { AwaitApiServer(); });
      return;
    }
    progress_(fmt::format("{}: the API server answers", spec_.name));
    if (base::Status status = StartNodes(); !status.ok()) return Fail(status);
    MakeObjects(0);
    CheckNodes();
  });
}

base::Status Cluster::StartNodes() {
  for (ProcessSpec& process : shared_.control_plane.Controllers(shared_.lab, spec_, FirstNs())) {
    processes_.push_back(std::make_unique<ManagedProcess>(shared_.loop, std::move(process)));
    RETURN_IF_ERROR(processes_.back()->Start(), "controllers");
  }
  for (const NodeSpec& node : spec_.nodes) RETURN_IF_ERROR(StartNode(node), "node " + node.name);
  return {};
}

std::string Cluster::NodeConfig(const NodeSpec& node) const {
  return shared_.dirs.cluster(spec_.name) + "/" + node.name + ".json";
}

base::Status Cluster::RefreshNodes() {
  for (const NodeSpec& node : spec_.nodes) {
    RETURN_IF_ERROR(WriteNodeOptions(node), "node " + node.name);
    for (const auto& process : processes_)
      if (process->spec().name == spec_.name + "/" + node.name) process->Reload();
  }
  return {};
}

base::Status Cluster::WriteNodeOptions(const NodeSpec& node) const {
  const std::string pki_dir = shared_.dirs.pki(spec_.name);
  node::NodeOptions options;
  options.name = node.name;
  options.address = node.address;
  options.pod_range = node.pod_range;
  options.kubeconfig = shared_.dirs.inner_kubeconfig(spec_.name);
  options.dir = shared_.dirs.run() + "/nodes/" + spec_.name + "/" + node.name;
  options.dns_address = spec_.DnsAddress();
  options.kubelet_certificate = pki_dir + "/kubelet-" + node.name + ".crt";
  options.kubelet_key = pki_dir + "/kubelet-" + node.name + ".key";
  options.client_ca = pki_dir + "/ca.crt";
  options.owns_external_addresses = &node == &spec_.nodes.front();
  options.rules = shared_.wan.RulesOf(spec_, node);
  if (!node.region.empty()) options.labels["topology.kubernetes.io/region"] = node.region;
  if (!node.zone.empty()) options.labels["topology.kubernetes.io/zone"] = node.zone;
  if (node.address == spec_.api_server)
    options.labels["node-role.kubernetes.io/control-plane"] = "";
  options.programs = shared_.programs;
  options.image_tables = shared_.image_tables;
  options.hidden = {shared_.dirs.state};
  RETURN_IF_ERROR(base::MakeDirs(options.dir), "folder");
  return base::WriteFile(NodeConfig(node), options.ToJson(), 0600);
}

base::Status Cluster::StartNode(const NodeSpec& node) {
  RETURN_IF_ERROR(shared_.control_plane.IssueKubeletCertificate(spec_, node), "certificate");
  RETURN_IF_ERROR(WriteNodeOptions(node), "options");
  processes_.push_back(std::make_unique<ManagedProcess>(
      shared_.loop,
      ProcessSpec{.name = spec_.name + "/" + node.name,
                  .argv = {shared_.program, "node", "--config", NodeConfig(node)},
                  .network_namespace = shared_.wan.NodeNsPath(spec_, node),
                  .log_path = shared_.dirs.logs() + "/" + spec_.name + "-" + node.name + ".log"}));
  return processes_.back()->Start();
}

base::Status Cluster::WriteKubeconfig() const {
  ASSIGN_OR_RETURN(const kubeclient::RestConfig config,
                   kubeclient::LoadKubeconfig(shared_.control_plane.AdminKubeconfig(spec_), ""),
                   "admin's");
  return base::WriteFile(
      shared_.dirs.inner_kubeconfig(spec_.name),
      MakeKubeconfig(spec_.name, fmt::format("https://{}:{}", spec_.api_server, spec_.api_port), "",
                     config.ca_pem, config.client_certificate_pem, config.client_key_pem),
      0600);
}

base::Result<std::string> Cluster::OuterKubeconfig() const {
  ASSIGN_OR_RETURN(const kubeclient::RestConfig config,
                   kubeclient::LoadKubeconfig(shared_.control_plane.AdminKubeconfig(spec_), ""),
                   "admin's");
  return MakeKubeconfig(spec_.name, fmt::format("https://{}:{}", spec_.api_server, spec_.api_port),
                        shared_.proxy_url, config.ca_pem, config.client_certificate_pem,
                        config.client_key_pem);
}

base::Status Cluster::ConnectApi() {
  ASSIGN_OR_RETURN(kubeclient::RestConfig config,
                   kubeclient::LoadKubeconfig(shared_.dirs.inner_kubeconfig(spec_.name), ""),
                   "kubeconfig");
  config.proxy_url = shared_.proxy_url;
  ASSIGN_OR_RETURN(client_, kubeclient::Client::Create(shared_.loop, std::move(config)),
                   "API client");
  return {};
}

// One question at a time: the timer is stopped while it is under way.
void Cluster::CheckNodes() {
  poll_.Cancel();
  client_->List(kubeapi::kNodes, "", {}, [this](const base::Result<Json>& list) {
    if (!deadline_.active()) return;
    size_t ready = 0;
    const Json* items = list.ok() ? kubeapi::Find(*list, {"items"}) : nullptr;
    if (items != nullptr && items->is_array())
      for (const Json& item : *items) ready += kubeapi::ConditionIsTrue(item, "Ready") ? 1 : 0;
    if (!objects_made_ || ready < spec_.nodes.size()) {
      poll_ = base::Timer::After(shared_.loop, kPollPeriod, [this] { CheckNodes(); });
      return;
    }
    CheckAccounts();
  });
}

// Nodes may be ready before the controllers are; then no pod could be made yet.
void Cluster::CheckAccounts() {
  client_->Get(
      kubeapi::kServiceAccounts, "default", "default", [this](const base::Result<Json>& account) {
        if (!deadline_.active()) return;
        if (!account.ok()) {
          poll_ = base::Timer::After(shared_.loop, kPollPeriod, [this] { CheckAccounts(); });
          return;
        }
        deadline_.Cancel();
        ready_ = true;
        WatchIngress();
        on_ready_({});
      });
}

void Cluster::GiveUp() {
  Fail(base::Error(base::Code::kDeadlineExceeded,
                   "not ready after {} s; the logs of its programs are in {}", kStartLimit.count(),
                   shared_.dirs.logs()));
}

std::vector<Cluster::Object> Cluster::OwnObjects() const {
  auto name_space = [](const char* name) {
    return Object{kubeapi::kNamespaces,
                  "",
                  {{"apiVersion", "v1"}, {"kind", "Namespace"}, {"metadata", {{"name", name}}}}};
  };
  const Json dns = {{"apiVersion", "v1"},
                    {"kind", "Service"},
                    {"metadata",
                     {{"name", "kube-dns"},
                      {"namespace", "kube-system"},
                      {"labels", {{"k8s-app", "kube-dns"}, {"kubernetes.io/name", "CoreDNS"}}}}},
                    {"spec",
                     {{"clusterIP", spec_.DnsAddress()},
                      {"ports",
                       {{{"name", "dns"}, {"port", 53}, {"protocol", "UDP"}},
                        {{"name", "dns-tcp"}, {"port", 53}, {"protocol", "TCP"}}}}}}};
  // The API server makes these namespaces itself, but some time after it says that it is ready.
  return {name_space("kube-system"),
          name_space("kube-node-lease"),
          {kubeapi::kServices, "kube-system", dns},
          {kubeapi::kPods, "kube-system", MirrorPod()}};
}

// One after the other, each until it is there: a real API server is ready before its address ranges
// are.
void Cluster::MakeObjects(size_t next) {
  const std::vector<Object> objects = OwnObjects();
  if (next == objects.size()) {
    objects_made_ = true;
    return SetMirrorPodStatus();
  }
  const Object& object = objects[next];
  client_->Create(
      object.resource, object.name_space, object.body,
      [this, next](const base::Result<Json>& made) {
        if (!deadline_.active()) return;
        if (made.ok() || made.status().code() == base::Code::kAlreadyExists)
          return MakeObjects(next + 1);
        LOG_DEBUG("lab", "{}: {}; it is tried again", spec_.name, made.status().message());
        retry_object_ =
            base::Timer::After(shared_.loop, kRetryPeriod, [this, next] { MakeObjects(next); });
      });
}

std::string Cluster::MirrorPodNode() const {
  for (const NodeSpec& node : spec_.nodes)
    if (node.address == spec_.api_server) return node.name;
  return spec_.nodes.front().name;
}

// The API server as a pod, which `kubectl cluster-info dump` shows with its command line.
Json Cluster::MirrorPod() const {
  return {{"apiVersion", "v1"},
          {"kind", "Pod"},
          {"metadata",
           {{"name", "kube-apiserver-" + MirrorPodNode()},
            {"namespace", "kube-system"},
            {"labels", {{"component", "kube-apiserver"}, {"tier", "control-plane"}}},
            {"annotations", {{"kubernetes.io/config.mirror", "isthmus-lab"}}}}},
          {"spec",
           {{"nodeName", MirrorPodNode()},
            {"hostNetwork", true},
            {"priorityClassName", "system-node-critical"},
            {"automountServiceAccountToken", false},
            {"enableServiceLinks", false},
            {"tolerations", {{{"operator", "Exists"}}}},
            {"containers",
             {{{"name", "kube-apiserver"},
               {"image", "isthmus-lab"},
               {"command",
                {"kube-apiserver", "--advertise-address=" + spec_.api_server,
                 fmt::format("--secure-port={}", spec_.api_port),
                 "--service-cluster-ip-range=" + spec_.service_range}}}}}}}};
}

void Cluster::SetMirrorPodStatus() {
  const std::string now = base::FormatTime(base::SystemClock().Now());
  Json conditions = Json::array();
  for (const char* type : {"Initialized", "Ready", "ContainersReady", "PodScheduled"})
    conditions.push_back({{"type", type}, {"status", "True"}, {"lastTransitionTime", now}});
  const Json status = {{"phase", "Running"},
                       {"hostIP", spec_.api_server},
                       {"podIP", spec_.api_server},
                       {"startTime", now},
                       {"conditions", conditions},
                       {"containerStatuses",
                        {{{"name", "kube-apiserver"},
                          {"image", "isthmus-lab"},
                          {"imageID", ""},
                          {"ready", true},
                          {"restartCount", 0},
                          {"started", true},
                          {"state", {{"running", {{"startedAt", now}}}}}}}}};
  client_->Patch(
      kubeapi::kPods, "kube-system", "kube-apiserver-" + MirrorPodNode(),
      kubeclient::PatchType::kMerge, {{"status", status}}, [](const base::Result<Json>&) {},
      "status");
}

void Cluster::WatchIngress() {
  ingress_ = std::make_unique<kubeclient::Informer>(
      shared_.loop, *client_, kubeapi::kServices, "istio-system",
      kubeclient::ListOptions{.field_selector = "metadata.name=istio-ingressgateway"},
      kubeclient::InformerEvents{.changed =
                                     [this](const std::string&, const Json* now) {
                                       ingress_address_ =
                                           now == nullptr
                                               ? ""
                                               : kubeapi::StringAt(*now, {"spec", "clusterIP"});
                                     },
                                 .synced = [] {},
                                 .health = [](const base::Status&) {}});
}

void Cluster::StopApiServer() {
  for (const auto& process : processes_)
    if (process->spec().is_api_server) process->Stop();
}

void Cluster::StartApiServer() {
  for (const auto& process : processes_)
    if (process->spec().is_api_server) (void)process->Start();
}

Json Cluster::Status() const {
  Json processes = Json::array();
  for (const auto& process : processes_)
    processes.push_back({{"name", process->spec().name},
                         {"pid", process->pid()},
                         {"restarts", process->restarts()},
                         {"wanted", process->wanted()}});
  Json nodes = Json::array();
  for (const NodeSpec& node : spec_.nodes)
    nodes.push_back({{"name", node.name}, {"address", node.address}, {"podCIDR", node.pod_range}});
  return {{"name", spec_.name},
          {"network", spec_.network},
          {"apiServer", fmt::format("{}:{}", spec_.api_server, spec_.api_port)},
          {"serviceCIDR", spec_.service_range},
          {"ready", ready_},
          {"nodes", nodes},
          {"processes", processes}};
}

}  // namespace isthmus::lab::world
