#include "lab/node/kubelet_server.h"

#include "base/strings.h"
#include "kubeapi/meta.h"
#include "lab/node/exec_session.h"
#include "lab/node/log_reader.h"
#include "lab/node/port_forward.h"

namespace isthmus::lab::node {
namespace {

using kubeapi::Json;
using Stream = std::shared_ptr<http::ServerStream>;

bool Truthy(const http::RequestHead& head, const char* one, const char* other) {
  for (const char* name : {one, other})
    if (const std::string value = head.query_value(name); value == "true" || value == "1")
      return true;
  return false;
}

LogOptions LogOptionsOf(const http::RequestHead& head) {
  LogOptions options;
  options.follow = Truthy(head, "follow", "follow");
  options.timestamps = Truthy(head, "timestamps", "timestamps");
  if (auto number = base::ParseInt(head.query_value("tailLines")); number.ok())
    options.tail = *number;
  if (auto number = base::ParseInt(head.query_value("limitBytes")); number.ok())
    options.limit_bytes = *number;
  if (auto number = base::ParseInt(head.query_value("sinceSeconds")); number.ok())
    options.since = base::SystemClock().Now() - std::chrono::seconds(*number);
  if (auto time = base::ParseTime(head.query_value("sinceTime")); time.ok()) options.since = *time;
  return options;
}

}  // namespace

struct KubeletServer::Impl {
  base::Loop& loop;
  FindPod find;
  AllPods all;
  std::unique_ptr<http::Server> server;

  void Handle(const Stream& stream);
  void HandlePod(const Stream& stream, const std::string& verb,
                 const std::vector<std::string>& parts);
  void Logs(const Stream& stream, const Pod& pod, const std::string& name);
  void Exec(const Stream& stream, const Pod& pod, const std::string& name, bool attach);
  void ListPods(const Stream& stream);
};

void KubeletServer::Impl::Handle(const Stream& stream) {
  const std::string path = stream->head().path();
  if (stream->peer().chain.empty()) return stream->Respond(401, "text/plain", "Unauthorized\n");
  if (path == "/healthz" || path == "/livez" || path == "/readyz")
    return stream->Respond(200, "text/plain", "ok");
  if (path == "/pods" || path == "/pods/") return ListPods(stream);
  if (path == "/stats/summary")
    return stream->Respond(
        200, "application/json",
        kubeapi::ToJson(Json{{"node", Json::object()}, {"pods", Json::array()}}));
  const std::vector<std::string> parts = base::SplitList(path, '/');
  if (parts.size() >= 3)
    for (const char* verb : {"containerLogs", "exec", "attach", "portForward", "run"})
      if (parts[0] == verb) return HandlePod(stream, verb, parts);
  stream->Respond(404, "text/plain", "404 page not found\n");
}

// /<verb>/<namespace>/<pod>[/<uid>][/<container>]
void KubeletServer::Impl::HandlePod(const Stream& stream, const std::string& verb,
                                    const std::vector<std::string>& parts) {
  Pod* pod = find(parts[1], parts[2]);
  if (pod == nullptr)
    return stream->Respond(404, "text/plain",
                           fmt::format("pod {}/{} is not on this node\n", parts[1], parts[2]));
  if (verb == "portForward") return ServePortForward(loop, stream, pod->network_namespace());
  const std::string container = parts.size() >= 4 ? parts.back() : "";
  if (verb == "containerLogs") return Logs(stream, *pod, container);
  Exec(stream, *pod, container, verb == "attach");
}

void KubeletServer::Impl::Logs(const Stream& stream, const Pod& pod, const std::string& name) {
  const PodContainer* container = pod.Find(name);
  if (container == nullptr)
    return stream->Respond(404, "text/plain",
                           fmt::format("container \"{}\" not found in pod\n", name));
  const bool previous = Truthy(stream->head(), "previous", "previous");
  const std::string path = container->LogPath(previous);
  if (path.empty()) {
    const std::string key = kubeapi::NameOf(pod.object());
    if (previous)
      return stream->Respond(
          400, "text/plain",
          fmt::format("previous terminated container \"{}\" in pod \"{}\" not found",
                      container->name(), key));
    return stream->Respond(
        400, "text/plain",
        fmt::format("container \"{}\" in pod \"{}\" is waiting to start: ContainerCreating",
                    container->name(), key));
  }
  // The pod may go while its log is followed: ask by name each time.
  const std::string ns = kubeapi::NamespaceOf(pod.object()),
                    pod_name = kubeapi::NameOf(pod.object());
  auto ended = [this, ns, pod_name, path, name] {
    const Pod* now = find(ns, pod_name);
    const PodContainer* current = now == nullptr ? nullptr : now->Find(name);
    return current == nullptr || current->ended() || current->LogPath(false) != path;
  };
  ServeLog(loop, stream, path, LogOptionsOf(stream->head()), std::move(ended));
}

void KubeletServer::Impl::Exec(const Stream& stream, const Pod& pod, const std::string& name,
                               bool attach) {
  const http::RequestHead& head = stream->head();
  const PodContainer* container = pod.Find(name);
  if (container == nullptr)
    return stream->Respond(404, "text/plain", fmt::format("container not found (\"{}\")\n", name));
  if (container->container() == nullptr)
    return stream->Respond(500, "text/plain",
                           fmt::format("container {} is not running\n", container->name()));
  RemoteRequest request{.in = Truthy(head, "input", "stdin"),
                        .out = Truthy(head, "output", "stdout"),
                        .err = Truthy(head, "error", "stderr"),
                        .tty = Truthy(head, "tty", "tty")};
  if (attach) return ServeAttach(loop, stream, *container->container(), request);
  std::vector<std::string> command;
  for (const auto& [key, value] : head.query())
    if (key == "command") command.push_back(value);
  if (command.empty())
    return stream->Respond(400, "text/plain", "query parameter \"command\" is required\n");
  ServeExec(loop, stream, *container->container(), request, std::move(command));
}

void KubeletServer::Impl::ListPods(const Stream& stream) {
  Json items = Json::array();
  for (const Pod* pod : all()) {
    Json object = pod->object();
    object["status"] = pod->Status();
    items.push_back(std::move(object));
  }
  stream->Respond(
      200, "application/json",
      kubeapi::ToJson(Json{{"kind", "PodList"}, {"apiVersion", "v1"}, {"items", items}}));
}

KubeletServer::KubeletServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
KubeletServer::~KubeletServer() = default;
uint16_t KubeletServer::port() const { return impl_->server->port(); }

base::Result<std::unique_ptr<KubeletServer>> KubeletServer::Start(
    base::Loop& loop, const KubeletServerOptions& options, FindPod find, AllPods all) {
  ASSIGN_OR_RETURN(pki::KeyCertificate own,
                   pki::KeyCertificate::FromPem(options.key_pem, options.certificate_pem),
                   "kubelet certificate");
  ASSIGN_OR_RETURN(pki::TrustBundle roots, pki::TrustBundle::FromPem(options.client_ca_pem),
                   "kubelet client authority");
  http::TlsServerOptions tls;
  tls.certificate = [own = std::make_shared<const pki::KeyCertificate>(std::move(own))] {
    return own;
  };
  tls.client_certificate = http::TlsServerOptions::ClientCertificate::kOptional;
  tls.client_roots = [roots = std::make_shared<const pki::TrustBundle>(std::move(roots))] {
    return roots;
  };
  tls.alpn = {"http/1.1"};  // Upgrades need it.
  auto impl = std::make_unique<Impl>(Impl{loop, std::move(find), std::move(all), nullptr});
  impl->server = std::make_unique<http::Server>(
      loop, http::ServerOptions{.address = options.address, .port = options.port, .tls = tls},
      [raw = impl.get()](Stream stream) { raw->Handle(stream); });
  RETURN_IF_ERROR(impl->server->Start(), "kubelet API");
  return std::unique_ptr<KubeletServer>(new KubeletServer(std::move(impl)));
}

}  // namespace isthmus::lab::node
