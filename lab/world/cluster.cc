#include "lab/world/cluster.h"

#include "base/clock.h"
#include "base/files.h"
#include "base/log.h"
#include "kubeapi/meta.h"
#include "kubeclient/config.h"
#include "lab/node/node.h"
#include "lab/node/resources.h"

namespace isthmus::lab::world {
namespace {

using kubeapi::Json;
using std::chrono_literals::operator""ms;
constexpr auto kPollPeriod = 20ms;
// A real API server takes some seconds; a busy machine several times that.
constexpr std::chrono::seconds kStartLimit{180};
const kubeapi::Resource kNamespaces{"", "v1", "namespaces", "Namespace", false};

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
  poll_ = base::Timer::Every(shared_.loop, kPollPeriod, [this] { Poll(); });
  return {};
}

void Cluster::Poll() {
  if (!nodes_started_) {
    if (!shared_.control_plane.FilesReady(spec_)) return;
    nodes_started_ = true;
    base::Status status = StartNodes();
    if (status.ok()) status = ConnectApi();
    if (status.ok()) return;
    poll_.Cancel();
    return on_ready_(status.In("cluster " + spec_.name));
  }
  CheckNodes();
}

base::Status Cluster::StartNodes() {
  RETURN_IF_ERROR(WriteKubeconfig(), "kubeconfig");
  for (ProcessSpec& process : shared_.control_plane.Controllers(shared_.lab, spec_, FirstNs())) {
    processes_.push_back(std::make_unique<ManagedProcess>(shared_.loop, std::move(process)));
    RETURN_IF_ERROR(processes_.back()->Start(), "controllers");
  }
  for (const NodeSpec& node : spec_.nodes) RETURN_IF_ERROR(StartNode(node), "node " + node.name);
  return {};
}

base::Status Cluster::StartNode(const NodeSpec& node) {
  RETURN_IF_ERROR(shared_.control_plane.IssueKubeletCertificate(spec_, node), "certificate");
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
  const std::string config = shared_.dirs.cluster(spec_.name) + "/" + node.name + ".json";
  RETURN_IF_ERROR(base::WriteFile(config, options.ToJson(), 0600), "options");
  processes_.push_back(std::make_unique<ManagedProcess>(
      shared_.loop,
      ProcessSpec{.name = spec_.name + "/" + node.name,
                  .argv = {shared_.program, "node", "--config", config},
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
  client_->List(node::kNodes, "", {}, [this](const base::Result<Json>& list) {
    if (!deadline_.active()) return;
    size_t ready = 0;
    const Json* items = list.ok() ? kubeapi::Find(*list, {"items"}) : nullptr;
    if (items != nullptr && items->is_array()) {
      if (!std::exchange(objects_made_, true)) {
        progress_(fmt::format("{}: the API server answers", spec_.name));
        MakeObjects();
      }
      for (const Json& item : *items) ready += kubeapi::ConditionIsTrue(item, "Ready") ? 1 : 0;
    }
    if (ready < spec_.nodes.size()) {
      poll_ = base::Timer::After(shared_.loop, kPollPeriod, [this] { CheckNodes(); });
      return;
    }
    CheckAccounts();
  });
}

// Nodes may be ready before the controllers are; then no pod could be made yet.
void Cluster::CheckAccounts() {
  client_->Get(
      node::kServiceAccounts, "default", "default", [this](const base::Result<Json>& account) {
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
  poll_.Cancel();
  deadline_.Cancel();
  on_ready_(base::Error(base::Code::kDeadlineExceeded,
                        "cluster {}: not ready after {} s; the logs of its programs are in {}",
                        spec_.name, kStartLimit.count(), shared_.dirs.logs()));
}

// What a cluster has besides the API server's own objects.
void Cluster::MakeObjects() {
  auto ignore = [](const base::Result<Json>&) {};
  // The namespace of leases comes with the API server, but not with every one.
  client_->Create(
      kNamespaces, "",
      {{"apiVersion", "v1"}, {"kind", "Namespace"}, {"metadata", {{"name", "kube-node-lease"}}}},
      ignore);
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
  client_->Create(node::kServices, "kube-system", dns, [this](const base::Result<Json>& made) {
    if (!made.ok() && made.status().code() != base::Code::kAlreadyExists)
      LOG_WARN("lab", "{}: service kube-dns: {}", spec_.name, made.status().message());
  });
  MakeMirrorPod();
}

// The API server as a pod, which `kubectl cluster-info dump` shows with its command line.
void Cluster::MakeMirrorPod() {
  std::string node_name = spec_.nodes.front().name;
  for (const NodeSpec& node : spec_.nodes)
    if (node.address == spec_.api_server) node_name = node.name;
  const std::string name = "kube-apiserver-" + node_name;
  const Json pod = {{"apiVersion", "v1"},
                    {"kind", "Pod"},
                    {"metadata",
                     {{"name", name},
                      {"namespace", "kube-system"},
                      {"labels", {{"component", "kube-apiserver"}, {"tier", "control-plane"}}},
                      {"annotations", {{"kubernetes.io/config.mirror", "isthmus-lab"}}}}},
                    {"spec",
                     {{"nodeName", node_name},
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
  client_->Create(node::kPods, "kube-system", pod, [this, name](const base::Result<Json>& made) {
    if (!made.ok()) return;
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
        node::kPods, "kube-system", name, kubeclient::PatchType::kMerge, {{"status", status}},
        [](const base::Result<Json>&) {}, "status");
  });
}

void Cluster::WatchIngress() {
  ingress_ = std::make_unique<kubeclient::Informer>(
      shared_.loop, *client_, node::kServices, "istio-system",
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
