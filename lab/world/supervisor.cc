#include "lab/world/supervisor.h"

#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "base/files.h"
#include "base/log.h"
#include "base/strings.h"
#include "http/server.h"
#include "kubeapi/json.h"
#include "lab/world/cluster.h"
#include "lab/world/control_plane.h"
#include "lab/world/programs.h"
#include "lab/world/proxy.h"
#include "lab/world/wan.h"

namespace isthmus::lab::world {
namespace {

using kubeapi::Json;
constexpr size_t kMostTopology = 4 << 20;

// A port chosen before is kept, so that a kubeconfig stays good.
uint16_t RememberedPort(const std::string& path) {
  auto text = base::ReadFile(path);
  auto port = text.ok() ? base::ParseInt(base::Trim(*text)) : base::Result<int64_t>(text.status());
  return port.ok() && *port > 0 && *port < 65536 ? static_cast<uint16_t>(*port) : 0;
}

}  // namespace

struct Supervisor::Impl {
  Impl(base::Loop& loop_in, SupervisorOptions options_in)
      : loop(loop_in),
        options(std::move(options_in)),
        wan(options.spec, options.dirs.namespaces()),
        control_plane(options.dirs, options.program, options.assets) {}

  base::Status Start();
  base::Status MountRun();
  base::Status StartProxy();
  base::Status StartIngress(Cluster& cluster);
  Cluster::Shared SharedParts();
  base::Status StartCluster(const ClusterSpec& spec);
  void Grow(std::shared_ptr<http::ServerStream> stream, const std::string& topology);
  base::Status AddClusters(const std::string& topology);
  void Grown(const base::Status& status);
  base::Status WriteKubeconfig();
  void ClusterReady(const std::string& name, const base::Status& status);
  void Handle(const std::shared_ptr<http::ServerStream>& stream);
  base::Status Command(const http::RequestHead& head);
  Json Status() const;

  base::Loop& loop;
  SupervisorOptions options;
  Wan wan;
  ControlPlane control_plane;
  std::unique_ptr<ConnectProxy> proxy;
  std::vector<std::unique_ptr<Cluster>> clusters;
  std::map<std::string, std::unique_ptr<PortForward>> ingress;
  std::unique_ptr<http::Server> control;
  bool reported = false;
  // Whoever asked for more clusters, until they are ready; and the topology that has them.
  std::shared_ptr<http::ServerStream> asker;
  std::string grown_topology;
};

base::Status Supervisor::Impl::MountRun() {
  RETURN_IF_ERROR(base::MakeDirs(options.dirs.run()), "state folder");
  if (mount("isthmus-lab", options.dirs.run().c_str(), "tmpfs", MS_NOSUID, "mode=755") != 0)
    return base::Error(base::Code::kInternal, "mounting {}: {}", options.dirs.run(),
                       strerror(errno));
  return base::MakeDirs(options.dirs.logs());
}

base::Status Supervisor::Impl::StartProxy() {
  const std::string port_file = options.dirs.state + "/proxy-port";
  auto resolve = [this](const std::string& host, uint16_t port) -> base::Result<Target> {
    return Target{wan.NsPath(), host, port};
  };
  proxy = std::make_unique<ConnectProxy>(loop, RememberedPort(port_file), resolve);
  if (!proxy->Start().ok()) {
    proxy = std::make_unique<ConnectProxy>(loop, 0, resolve);
    RETURN_IF_ERROR(proxy->Start(), "the lab's proxy");
  }
  return base::WriteFile(port_file, std::to_string(proxy->port()));
}

base::Status Supervisor::Impl::StartIngress(Cluster& cluster) {
  const ClusterSpec& spec = cluster.spec();
  if (spec.ingress_port < 0) return {};
  auto& forward = ingress[spec.name];
  forward = std::make_unique<PortForward>(
      loop, static_cast<uint16_t>(spec.ingress_port), [this, &cluster]() -> base::Result<Target> {
        if (cluster.ingress_address().empty())
          return base::Error(base::Code::kUnavailable,
                             "{} has no service istio-system/istio-ingressgateway yet",
                             cluster.spec().name);
        // From a node, where the service's own address works.
        return Target{wan.NodeNsPath(cluster.spec(), cluster.spec().nodes.front()),
                      cluster.ingress_address(), 80};
      });
  return forward->Start().In("ingress of " + spec.name);
}

base::Status Supervisor::Impl::Start() {
  RETURN_IF_ERROR(MountRun(), "lab");
  RETURN_IF_ERROR(wan.Create(), "lab");
  RETURN_IF_ERROR(StartProxy(), "lab");
  options.progress(
      fmt::format("networks are made; {} clusters are started", options.spec.clusters.size()));
  for (const ClusterSpec& spec : options.spec.clusters) RETURN_IF_ERROR(StartCluster(spec), "lab");
  (void)base::RemoveFile(options.dirs.control());
  control = std::make_unique<http::Server>(
      loop, http::ServerOptions{.address = "unix:" + options.dirs.control()},
      [this](std::shared_ptr<http::ServerStream> stream) { Handle(stream); });
  RETURN_IF_ERROR(control->Start(), "control socket");
  chmod(options.dirs.control().c_str(), 0600);
  return {};
}

Cluster::Shared Supervisor::Impl::SharedParts() {
  return {.loop = loop,
          .dirs = options.dirs,
          .lab = options.spec,
          .wan = wan,
          .control_plane = control_plane,
          .program = options.program,
          .programs = FindPrograms(options.program),
          .image_tables = options.spec.image_tables,
          .proxy_url = fmt::format("http://127.0.0.1:{}", proxy->port())};
}

base::Status Supervisor::Impl::StartCluster(const ClusterSpec& spec) {
  clusters.push_back(std::make_unique<Cluster>(
      SharedParts(), spec, options.progress,
      [this, name = spec.name](const base::Status& status) { ClusterReady(name, status); }));
  RETURN_IF_ERROR(StartIngress(*clusters.back()), spec.name);
  return clusters.back()->Start();
}

void Supervisor::Impl::Grow(std::shared_ptr<http::ServerStream> stream,
                            const std::string& topology) {
  if (asker != nullptr || !reported)
    return stream->Respond(400, "text/plain", "the lab is just starting clusters; try again then");
  asker = std::move(stream);
  grown_topology = topology;
  if (base::Status status = AddClusters(topology); !status.ok()) Grown(status);
}

// What the lab has stays as it is: its clusters, and the order of all.
base::Status Supervisor::Impl::AddClusters(const std::string& topology) {
  ASSIGN_OR_RETURN(LabSpec wanted, LabSpec::Parse(topology), "topology");
  options.spec.routed = std::move(wanted.routed);
  options.spec.routes = std::move(wanted.routes);
  std::vector<const ClusterSpec*> added;
  for (ClusterSpec& cluster : wanted.clusters) {
    if (options.spec.Find(cluster.name) != nullptr) continue;
    options.spec.clusters.push_back(std::move(cluster));
    added.push_back(&options.spec.clusters.back());
  }
  if (added.empty()) {
    Grown({});
    return {};
  }
  for (const ClusterSpec* cluster : added) RETURN_IF_ERROR(wan.Join(*cluster), cluster->name);
  for (const auto& cluster : clusters) RETURN_IF_ERROR(cluster->RefreshNodes(), "networks");
  for (const ClusterSpec* cluster : added) RETURN_IF_ERROR(StartCluster(*cluster), "lab");
  return {};
}

void Supervisor::Impl::Grown(const base::Status& status) {
  base::Status result = status;
  if (result.ok()) result = WriteKubeconfig();
  if (result.ok()) result = base::WriteFile(options.dirs.topology(), grown_topology);
  auto stream = std::exchange(asker, nullptr);
  if (result.ok()) return stream->Respond(200, "text/plain", "ok");
  stream->Respond(400, "text/plain",
                  fmt::format("{}; the clusters that ran go on, but the lab must be started again "
                              "to have the new ones (isthmus-lab down)",
                              result.message()));
}

void Supervisor::Impl::ClusterReady(const std::string& name, const base::Status& status) {
  if (asker != nullptr) {
    const bool all = std::all_of(clusters.begin(), clusters.end(),
                                 [](const auto& cluster) { return cluster->ready(); });
    if (!status.ok() || all) Grown(status);
    return;
  }
  if (reported) return;
  if (status.ok()) options.progress(fmt::format("{}: ready", name));
  bool all = true;
  for (const auto& cluster : clusters) all = all && cluster->ready();
  if (status.ok() && !all) return;
  reported = true;
  base::Status result = status;
  if (result.ok()) result = WriteKubeconfig();
  options.ready(result);
}

// All contexts in one file.
base::Status Supervisor::Impl::WriteKubeconfig() {
  Json merged;
  for (const auto& cluster : clusters) {
    ASSIGN_OR_RETURN(const std::string text, cluster->OuterKubeconfig(), "kubeconfig");
    ASSIGN_OR_RETURN(const Json one, kubeapi::ParseYaml(text), "kubeconfig");
    if (merged.is_null()) {
      merged = one;
      continue;
    }
    for (const char* list : {"clusters", "users", "contexts"}) merged[list].push_back(one[list][0]);
  }
  return base::WriteFile(options.dirs.kubeconfig(), kubeapi::ToYaml(merged), 0600);
}

Json Supervisor::Impl::Status() const {
  Json list = Json::array();
  for (const auto& cluster : clusters) {
    Json one = cluster->Status();
    const auto port = ingress.find(cluster->spec().name);
    if (port != ingress.end()) one["ingressPort"] = port->second->port();
    list.push_back(std::move(one));
  }
  Json cuts = Json::array();
  for (const auto& [a, b] : wan.cuts()) cuts.push_back({a, b});
  return {{"name", options.spec.name},
          {"ready", reported},
          {"clusters", list},
          {"cuts", cuts},
          {"proxyPort", proxy->port()},
          {"outside", wan.outside()},
          {"kubernetes", control_plane.real() ? "real" : "own"}};
}

void Supervisor::Impl::Handle(const std::shared_ptr<http::ServerStream>& stream) {
  if (stream->head().path() == "/status")
    return stream->Respond(200, "application/json", kubeapi::ToJson(Status()));
  if (stream->head().path() == "/grow")
    return stream->ReadBody(kMostTopology,
                            [this, stream](std::string text) { Grow(stream, text); });
  const base::Status status = Command(stream->head());
  if (!status.ok()) return stream->Respond(400, "text/plain", status.message());
  stream->Respond(200, "text/plain", "ok");
}

base::Status Supervisor::Impl::Command(const http::RequestHead& head) {
  const std::string path = head.path();
  if (path == "/cut" || path == "/mend")
    return wan.Cut(head.query_value("a"), head.query_value("b"), path == "/cut");
  if (path == "/open") {
    const std::string a = head.query_value("a"), b = head.query_value("b");
    RETURN_IF_ERROR(wan.Open(a, b), "opening");
    for (const auto& cluster : clusters)
      if (cluster->spec().name == a || cluster->spec().name == b)
        RETURN_IF_ERROR(cluster->RefreshNodes(), "opening");
    return {};
  }
  if (path == "/stop" || path == "/start") {
    for (const auto& cluster : clusters) {
      if (cluster->spec().name != head.query_value("cluster")) continue;
      path == "/stop" ? cluster->StopApiServer() : cluster->StartApiServer();
      return {};
    }
    return base::Error(base::Code::kNotFound, "the lab has no cluster {}",
                       head.query_value("cluster"));
  }
  return base::Error(base::Code::kNotFound, "no such command");
}

Supervisor::Supervisor(base::Loop& loop, SupervisorOptions options)
    : impl_(std::make_unique<Impl>(loop, std::move(options))) {}
Supervisor::~Supervisor() = default;
base::Status Supervisor::Start() { return impl_->Start(); }

}  // namespace isthmus::lab::world
