#include "lab/apiserver/node_proxy.h"

#include "base/net.h"
#include "base/strings.h"
#include "http/client.h"
#include "http/server.h"
#include "kubeapi/meta.h"
#include "kubeapi/resources.h"

namespace isthmus::lab::apiserver {
namespace {

using kubeapi::ApiError;
using kubeapi::Find;
using kubeapi::IntAt;
using kubeapi::StringAt;

/// The most that may wait between two sides before the faster one is paused.
constexpr size_t kMostWaiting = 256 * 1024;

void Refuse(const std::shared_ptr<http::ServerStream>& stream, const ApiError& error) {
  stream->Respond(error.code, "application/json", kubeapi::ToJson(error.ToJson()));
}

ApiError Unreachable(const std::string& why) {
  ApiError error = kubeapi::InternalError("error dialing backend: " + why);
  error.message = "error dialing backend: " + why;
  return error;
}

/// Headers that belong to one connection, not to the exchange.
bool IsHopHeader(std::string_view name) {
  for (std::string_view hop :
       {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding",
        "upgrade", "host", "authorization", "content-length"})
    if (name == hop) return true;
  return name.starts_with("impersonate-");
}

/// Two connections joined: what comes in at one goes out at the other. Owns both; ends when either
/// ends.
struct Splice : std::enable_shared_from_this<Splice> {
  std::unique_ptr<http::ByteStream> client, node;

  void Run() {
    Join(client.get(), node.get());
    Join(node.get(), client.get());
  }
  void Join(http::ByteStream* from, http::ByteStream* to) {
    // The callbacks hold the splice; Close() breaks that circle.
    from->OnData([self = shared_from_this(), from, to](std::string_view bytes) {
      to->Write(base::Slice::Copy(bytes));
      if (to->buffered() > kMostWaiting) from->PauseReading(true);
    });
    to->OnDrain([from] { from->PauseReading(false); });
    from->OnClose([self = shared_from_this(), to](base::Status) { to->Finish(); });
  }
};

}  // namespace

NodeProxy::NodeProxy(base::Loop& loop, Engine& engine,
                     std::shared_ptr<const pki::KeyCertificate> client_certificate)
    : loop_(loop), engine_(engine), certificate_(std::move(client_certificate)) {}

NodeProxy::~NodeProxy() = default;

Outcome<std::string> NodeProxy::Kubelet(const std::string& name) const {
  auto node = engine_.Get("nodes", "", name);
  if (!node) return kubeapi::NotFound(kubeapi::kNodes, name);
  std::string address;
  const Json* addresses = Find(*node, {"status", "addresses"});
  for (const char* type : {"InternalIP", "ExternalIP", "Hostname"})
    if (address.empty() && addresses && addresses->is_array())
      for (const Json& each : *addresses)
        if (StringAt(each, {"type"}) == type && address.empty())
          address = StringAt(each, {"address"});
  if (address.empty()) return Unreachable(fmt::format("node {} has no address yet", name));
  const int64_t port =
      IntAt(*node, {"status", "daemonEndpoints", "kubeletEndpoint", "Port"}, 10250);
  return "https://" + base::HostPort{address, static_cast<uint16_t>(port)}.text();
}

Outcome<NodeProxy::Target> NodeProxy::OfPod(const Request& request, const RequestInfo& info) const {
  auto pod = engine_.Get("pods", info.ns, info.name);
  if (!pod) return kubeapi::NotFound(kubeapi::kPods, info.name);
  const std::string node = StringAt(*pod, {"spec", "nodeName"});
  if (node.empty()) {
    if (info.subresource == "log")
      return kubeapi::BadRequest(fmt::format("pod {} does not have a host assigned", info.name));
    return kubeapi::BadRequest(fmt::format("pod {} does not have a host assigned", info.name));
  }
  std::string container = request.Query("container");
  if (info.subresource != "portforward") {
    std::vector<std::string> names, init;
    for (const auto& [field, list] :
         {std::pair("containers", &names), std::pair("initContainers", &init),
          std::pair("ephemeralContainers", &init)})
      if (const Json* containers = Find(*pod, {"spec", field});
          containers && containers->is_array())
        for (const Json& each : *containers) list->push_back(StringAt(each, {"name"}));
    if (container.empty()) {
      if (names.size() != 1) {
        std::string text =
            fmt::format("a container name must be specified for pod {}, choose one of: [{}]",
                        info.name, base::Join(names, " "));
        if (!init.empty())
          text += fmt::format(" or one of the init containers: [{}]", base::Join(init, " "));
        return kubeapi::BadRequest(text);
      }
      container = names[0];
    } else if (std::find(names.begin(), names.end(), container) == names.end() &&
               std::find(init.begin(), init.end(), container) == init.end()) {
      return kubeapi::BadRequest(
          fmt::format("container {} is not valid for pod {}", container, info.name));
    }
  }
  auto origin = Kubelet(node);
  if (!origin.ok()) return origin.error();
  Target target;
  target.origin = *origin;
  const char* verb = info.subresource == "log"           ? "containerLogs"
                     : info.subresource == "portforward" ? "portForward"
                                                         : info.subresource.c_str();
  target.path = fmt::format("/{}/{}/{}", verb, info.ns, info.name);
  if (info.subresource != "portforward") target.path += "/" + container;
  std::string query;
  for (const auto& [key, value] : request.query) {
    if (key == "container") continue;
    // The kubelet has its own words for the streams.
    std::string name = key;
    if (info.subresource == "exec" || info.subresource == "attach")
      name = key == "stdin"    ? "input"
             : key == "stdout" ? "output"
             : key == "stderr" ? "error"
                               : key;
    std::string text = value;
    if (name != key || name == "tty") text = value == "true" ? "1" : value == "false" ? "" : value;
    if ((name != key || name == "tty") && text.empty()) continue;
    query += (query.empty() ? "?" : "&") + http::UrlEncode(name) + "=" + http::UrlEncode(text);
  }
  target.path += query;
  return target;
}

Outcome<NodeProxy::Target> NodeProxy::OfProxy(const Request& request,
                                              const RequestInfo& info) const {
  // The name may carry scheme and port: "https:web:8443", "web:80".
  const auto parts = base::Split(info.name, ':');
  std::string scheme = "http", name = info.name, port;
  if (parts.size() == 2) name = parts[0], port = parts[1];
  if (parts.size() == 3) scheme = parts[0], name = parts[1], port = parts[2];
  Target target;
  if (info.resource == "nodes") {
    auto origin = Kubelet(name);
    if (!origin.ok()) return origin.error();
    target.origin = *origin;
  } else if (info.resource == "pods") {
    auto pod = engine_.Get("pods", info.ns, name);
    if (!pod) return kubeapi::NotFound(kubeapi::kPods, name);
    const std::string ip = StringAt(*pod, {"status", "podIP"});
    if (ip.empty()) return Unreachable("pod " + name + " has no address yet");
    if (port.empty()) {
      const Json* found = Find(*pod, {"spec", "containers"});
      for (const Json& container : found ? *found : Json::array())
        if (const Json* ports = Find(container, {"ports"});
            ports && !ports->empty() && port.empty())
          port = std::to_string(IntAt((*ports)[0], {"containerPort"}));
    }
    target.origin = fmt::format("{}://{}:{}", scheme, ip, port.empty() ? "80" : port);
  } else {
    auto endpoints = engine_.Get("endpoints", info.ns, name);
    auto service = engine_.Get("services", info.ns, name);
    if (!service) return kubeapi::NotFound(kubeapi::kServices, name);
    std::string wanted = port;
    if (const Json* ports = Find(*service, {"spec", "ports"}); ports && ports->is_array())
      for (const Json& each : *ports)
        if (port.empty() || std::to_string(IntAt(each, {"port"})) == port ||
            StringAt(each, {"name"}) == port) {
          wanted = StringAt(each, {"name"});
          break;
        }
    const Json* subsets = endpoints ? Find(*endpoints, {"subsets"}) : nullptr;
    if (subsets && subsets->is_array())
      for (const Json& subset : *subsets) {
        const Json *addresses = Find(subset, {"addresses"}), *ports = Find(subset, {"ports"});
        if (!addresses || addresses->empty() || !ports) continue;
        for (const Json& each : *ports)
          if (StringAt(each, {"name"}) == wanted && target.origin.empty())
            target.origin = fmt::format("{}://{}:{}", scheme, StringAt((*addresses)[0], {"ip"}),
                                        IntAt(each, {"port"}));
      }
    if (target.origin.empty())
      return kubeapi::ServiceUnavailable(
          fmt::format("no endpoints available for service \"{}\"", info.name));
  }
  for (const std::string& part : info.rest) target.path += "/" + http::UrlEncode(part);
  if (target.path.empty()) target.path = "/";
  std::string query;
  for (const auto& [key, value] : request.query)
    query += (query.empty() ? "?" : "&") + http::UrlEncode(key) + "=" + http::UrlEncode(value);
  target.path += query;
  return target;
}

Outcome<NodeProxy::Target> NodeProxy::Resolve(const Request& request,
                                              const RequestInfo& info) const {
  return info.subresource == "proxy" ? OfProxy(request, info) : OfPod(request, info);
}

std::shared_ptr<http::Client> NodeProxy::ClientFor(const std::string& origin) {
  std::shared_ptr<http::Client>& client = clients_[origin];
  if (!client) {
    http::ClientOptions options;
    options.url = origin;
    if (origin.starts_with("https://")) {
      // As a real API server without --kubelet-certificate-authority: kubelets sign their own
      // certificates.
      options.tls.emplace();
      options.tls->certificate = [certificate = certificate_] { return certificate; };
      options.tls->alpn = {"http/1.1"};
    }
    client = std::make_shared<http::Client>(loop_, std::move(options));
  }
  return client;
}

void NodeProxy::Serve(const std::shared_ptr<http::ServerStream>& stream, const Request& request,
                      const RequestInfo& info) {
  auto target = Resolve(request, info);
  if (!target.ok()) return Refuse(stream, target.error());
  if (stream->head().headers.Get("upgrade")) return Upgrade(stream, *target);
  const bool needs_upgrade = info.subresource == "exec" || info.subresource == "attach" ||
                             info.subresource == "portforward";
  if (needs_upgrade) return Refuse(stream, kubeapi::BadRequest("Upgrade request required"));
  Forward(stream, *target);
}

void NodeProxy::Upgrade(const std::shared_ptr<http::ServerStream>& stream, const Target& target) {
  http::RequestHead head;
  head.method = stream->head().method;
  head.target = target.path;
  head.authority = target.origin.substr(target.origin.find("://") + 3);
  for (const auto& [name, value] : stream->head().headers.all())
    if (!IsHopHeader(name)) head.headers.Add(name, value);
  head.headers.Add("connection", "Upgrade");
  head.headers.Add("upgrade", *stream->head().headers.Get("upgrade"));
  auto client = ClientFor(target.origin);
  client->Upgrade(std::move(head), [stream, client](auto answer) {
    if (!answer.ok()) return Refuse(stream, Unreachable(answer.status().message()));
    http::Headers headers;
    for (const auto& [name, value] : answer->first.headers.all())
      if (!IsHopHeader(name) || name == "upgrade" || name == "connection") headers.Add(name, value);
    auto splice = std::make_shared<Splice>();
    splice->client = stream->Upgrade(headers);
    splice->node = std::move(answer->second);
    if (!splice->client)
      return Refuse(stream, kubeapi::BadRequest("the connection cannot be upgraded; use HTTP/1.1"));
    splice->Run();
  });
}

void NodeProxy::Forward(const std::shared_ptr<http::ServerStream>& stream, const Target& target) {
  http::RequestHead head;
  head.method = stream->head().method;
  head.target = target.path;
  head.authority = target.origin.substr(target.origin.find("://") + 3);
  for (const auto& [name, value] : stream->head().headers.all())
    if (!IsHopHeader(name)) head.headers.Add(name, value);
  const bool body = head.method != "GET" && head.method != "HEAD" && head.method != "DELETE";
  auto started = std::make_shared<bool>(false);
  auto upstream = std::make_shared<std::shared_ptr<http::ClientStream>>();
  http::ClientEvents events;
  // A kubelet says no in plain text; clients of the API expect a Status.
  const bool is_log = target.path.starts_with("/containerLogs/");
  auto refusal = std::make_shared<std::pair<int, std::string>>(0, "");
  events.head = [stream, started, is_log, refusal](http::ResponseHead answer) {
    if (is_log && answer.status >= 400) {
      refusal->first = answer.status;
      return;
    }
    *started = true;
    http::Headers headers;
    for (const auto& [name, value] : answer.headers.all())
      if (!IsHopHeader(name)) headers.Add(name, value);
    stream->SendHeaders(answer.status, headers);
  };
  events.data = [stream, upstream, refusal](std::string_view bytes) {
    if (refusal->first != 0) {
      if (refusal->second.size() < kMostWaiting) refusal->second += bytes;
      return;
    }
    stream->SendData(base::Slice::Copy(bytes));
    if (stream->buffered() > kMostWaiting && *upstream) (*upstream)->PauseBody(true);
  };
  events.close = [stream, started, refusal](base::Status status) {
    if (refusal->first != 0) {
      kubeapi::ApiError error = kubeapi::BadRequest(base::Trim(refusal->second));
      error.code = refusal->first;
      return Refuse(stream, error);
    }
    if (*started) return status.ok() ? stream->SendData({}, true) : stream->Reset();
    Refuse(stream, Unreachable(status.message()));
  };
  auto client = ClientFor(target.origin);
  stream->OnDrain([upstream] {
    if (*upstream) (*upstream)->PauseBody(false);
  });
  stream->OnClose([upstream, client] {
    if (*upstream) (*upstream)->Cancel();
    upstream->reset();
  });
  if (body) {
    stream->OnBody(
        [upstream](std::string_view bytes) {
          if (*upstream) (*upstream)->SendData(base::Slice::Copy(bytes));
        },
        [upstream] {
          if (*upstream) (*upstream)->SendData({}, true);
        });
  }
  *upstream = client->Open(std::move(head), !body, std::move(events));
}

}  // namespace isthmus::lab::apiserver
