#include "agent/app_probe.h"

#include "base/net.h"
#include "base/strings.h"
#include "http/tcp.h"
#include "kubeapi/json.h"
#include "rpc/client.h"
#include "rpc/protobuf_wire.h"

namespace isthmus::agent {
namespace {

using base::Code;
using kubeapi::Json;

constexpr size_t kMaxBody = 10 << 10;
constexpr int kMaxRedirects = 10;

base::Result<int> PortOf(const Json& probe) {
  const int64_t port = kubeapi::IntAt(probe, {"port"}, -1);
  if (port < 1 || port > 65535)
    return base::Error(Code::kInvalidArgument, "port is not a number from 1 to 65535");
  return static_cast<int>(port);
}

base::Result<AppProbe> ParseProbe(const Json& json) {
  AppProbe probe;
  const Json* http = kubeapi::Find(json, {"httpGet"});
  const Json* tcp = kubeapi::Find(json, {"tcpSocket"});
  const Json* grpc = kubeapi::Find(json, {"grpc"});
  const Json* target = http != nullptr ? http : tcp != nullptr ? tcp : grpc;
  if (target == nullptr)
    return base::Error(Code::kInvalidArgument, "none of httpGet, tcpSocket, grpc");
  probe.kind = http != nullptr  ? AppProbe::Kind::kHttp
               : tcp != nullptr ? AppProbe::Kind::kTcp
                                : AppProbe::Kind::kGrpc;
  ASSIGN_OR_RETURN(probe.port, PortOf(*target), "probe");
  probe.service = kubeapi::StringAt(*target, {"service"});
  probe.host = kubeapi::StringAt(*target, {"host"});
  probe.tls = kubeapi::StringAt(*target, {"scheme"}) == "HTTPS";
  if (const std::string path = kubeapi::StringAt(*target, {"path"}); !path.empty())
    probe.path = path;
  if (!probe.path.starts_with('/')) probe.path.insert(0, 1, '/');
  if (const Json* headers = kubeapi::Find(*target, {"httpHeaders"});
      headers != nullptr && headers->is_array()) {
    for (const Json& header : *headers) {
      const std::string name = kubeapi::StringAt(header, {"name"});
      const std::string value = kubeapi::StringAt(header, {"value"});
      if (base::EqualsIgnoreCase(name, "host"))
        probe.host = value;
      else if (!name.empty())
        probe.headers.Add(name, value);
    }
  }
  probe.timeout =
      std::chrono::seconds(std::max<int64_t>(1, kubeapi::IntAt(json, {"timeoutSeconds"}, 1)));
  return probe;
}

/// Hop-by-hop fields and those of the kubelet's own connection.
bool IsForwarded(std::string_view name) {
  return name != "host" && name != "connection" && name != "content-length" &&
         name != "transfer-encoding" && name != "upgrade" && name != "keep-alive" && name != "te";
}

}  // namespace

base::Result<std::map<std::string, AppProbe>> ParseAppProbes(const std::string& json) {
  std::map<std::string, AppProbe> probes;
  if (base::Trim(json).empty()) return probes;
  ASSIGN_OR_RETURN(const Json parsed, kubeapi::ParseJson(json),
                   "environment ISTIO_KUBE_APP_PROBERS");
  if (!parsed.is_object())
    return base::Error(Code::kInvalidArgument,
                       "environment ISTIO_KUBE_APP_PROBERS is not a JSON object");
  for (const auto& [path, value] : parsed.items()) {
    ASSIGN_OR_RETURN(probes[path], ParseProbe(value),
                     "environment ISTIO_KUBE_APP_PROBERS: " + path);
  }
  return probes;
}

/// One probe under way. What it owns keeps it alive until Finish().
struct AppProber::Running {
  const AppProbe* probe = nullptr;
  http::Headers headers;
  std::function<void(int, std::string)> done;
  std::shared_ptr<http::Client> client;
  std::shared_ptr<void> dial;
};

AppProber::AppProber(base::Loop& loop, std::map<std::string, AppProbe> probes, std::string address,
                     std::string local_ip)
    : loop_(loop),
      probes_(std::move(probes)),
      address_(std::move(address)),
      local_ip_(std::move(local_ip)) {}
AppProber::~AppProber() = default;

void AppProber::Run(const std::string& path, const http::Headers& headers,
                    std::function<void(int, std::string)> done) {
  const auto at = probes_.find(path);
  if (at == probes_.end()) return done(400, "no probe of the application has this path\n");
  auto run = std::make_shared<Running>();
  run->probe = &at->second;
  run->done = std::move(done);
  for (const auto& [name, value] : headers.all())
    if (IsForwarded(name)) run->headers.Add(name, value);
  for (const auto& [name, value] : run->probe->headers.all()) run->headers.Set(name, value);
  switch (run->probe->kind) {
    case AppProbe::Kind::kHttp:
      return RunHttp(run, run->probe->path, 0);
    case AppProbe::Kind::kTcp:
      return RunTcp(run);
    case AppProbe::Kind::kGrpc:
      return RunGrpc(run);
  }
}

void AppProber::Finish(const std::shared_ptr<Running>& run, int status, std::string body) {
  // The caller may be a callback of the client's.
  loop_.Post([client = std::move(run->client), dial = std::move(run->dial)]() mutable {
    client.reset();
    dial.reset();
  });
  if (body.size() > kMaxBody) body.resize(kMaxBody);
  if (const auto done = std::exchange(run->done, nullptr)) done(status, std::move(body));
}

void AppProber::RunHttp(std::shared_ptr<Running> run, const std::string& target, int redirects) {
  const AppProbe& probe = *run->probe;
  const base::HostPort address{address_, static_cast<uint16_t>(probe.port)};
  if (run->client == nullptr) {
    http::ClientOptions options;
    options.url = (probe.tls ? "https://" : "http://") + address.text();
    options.connect_timeout = probe.timeout;
    options.local_ip = local_ip_;
    if (probe.tls) {
      options.tls.emplace();
      options.tls->alpn = {"http/1.1"};
    }
    run->client = std::make_shared<http::Client>(loop_, std::move(options));
  }
  http::Request request;
  request.target = target;
  request.authority = probe.host.empty() ? address.text() : probe.host;
  request.headers = run->headers;
  request.headers.Set("connection", "close");
  run->client->Fetch(std::move(request), probe.timeout,
                     [this, run, redirects,
                      alive = std::weak_ptr<bool>(alive_)](base::Result<http::Response> response) {
                       if (!alive.expired()) OnHttp(run, redirects, std::move(response));
                     });
}

void AppProber::OnHttp(std::shared_ptr<Running> run, int redirects,
                       base::Result<http::Response> response) {
  if (!response.ok()) return Finish(run, 500, response.status().message() + "\n");
  if (response->status < 300 || response->status >= 400)
    return Finish(run, response->status, std::move(response->body));
  const std::string location(response->headers.Get("location").value_or(""));
  // Only on the same host; anything else counts as an answer, as it does for kubelets.
  if (!location.starts_with('/') || location.starts_with("//") || redirects >= kMaxRedirects)
    return Finish(run, 200, "");
  RunHttp(std::move(run), location, redirects + 1);
}

void AppProber::RunTcp(std::shared_ptr<Running> run) {
  run->dial = http::DialTcp(
      loop_, {address_, static_cast<uint16_t>(run->probe->port)}, run->probe->timeout,
      [this, run, alive = std::weak_ptr<bool>(alive_)](
          base::Result<std::unique_ptr<http::ByteStream>> stream) {
        if (alive.expired()) return;
        if (stream.ok()) return Finish(run, 200, "");
        Finish(run, 500, stream.status().message() + "\n");
      },
      local_ip_);
}

void AppProber::RunGrpc(std::shared_ptr<Running> run) {
  http::ClientOptions options;
  options.url =
      "http://" + base::HostPort{address_, static_cast<uint16_t>(run->probe->port)}.text();
  options.http2_prior_knowledge = true;
  options.connect_timeout = run->probe->timeout;
  options.local_ip = local_ip_;
  run->client = std::make_shared<http::Client>(loop_, std::move(options));
  std::string request;
  if (!run->probe->service.empty()) rpc::PutBytes(request, 1, run->probe->service);
  rpc::UnaryCall(
      *run->client, "/grpc.health.v1.Health/Check", {}, std::move(request), run->probe->timeout,
      [this, run, alive = std::weak_ptr<bool>(alive_)](base::Result<std::string> answer) {
        if (alive.expired()) return;
        if (!answer.ok()) return Finish(run, 500, answer.status().message() + "\n");
        uint64_t status = 0;
        rpc::WireReader in(*answer);
        while (in.Next())
          if (in.field() == 1) status = in.number();
        Finish(run, status == 1 ? 200 : 500, "");
      });
}

}  // namespace isthmus::agent
