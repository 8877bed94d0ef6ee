#include "lab/apiserver/server.h"

#include <malloc.h>

#include <algorithm>

#include "base/files.h"
#include "base/log.h"
#include "base/strings.h"
#include "http/server.h"
#include "lab/apiserver/allocator.h"
#include "lab/apiserver/cluster_pki.h"
#include "lab/apiserver/node_proxy.h"
#include "lab/apiserver/tokens.h"
#include "lab/apiserver/watch.h"
#include "lab/apiserver/webhooks.h"

namespace isthmus::lab::apiserver {
namespace {

constexpr size_t kMostBody = 6 << 20;  // Kubernetes takes 3 MB; large CRD bundles come near it.
constexpr size_t kMostUnsent =
    32 << 20;  // A watcher that reads so little is cut off; it will list again.
constexpr size_t kLargeBody =
    64 << 10;  // What is parsed of these is given back to the system at once.
constexpr auto kBookmarkPeriod = std::chrono::seconds(60);
constexpr int64_t kDefaultWatchSeconds = 1800;

/// Who a verified client certificate stands for.
User UserOfCertificate(const pki::Certificate& certificate) {
  User user;
  user.name = certificate.common_name();
  user.groups = certificate.organizations();
  user.groups.push_back("system:authenticated");
  return user;
}

/// One watch as it runs: the stream, its watch and its timers. Kept alive by the stream's OnClose.
struct Running {
  std::shared_ptr<Watch> watch;
  base::Timer timeout;
  base::Timer bookmarks;
};

void RunWatch(base::Loop& loop, const std::shared_ptr<http::ServerStream>& stream,
              std::shared_ptr<Watch> watch) {
  auto running = std::make_shared<Running>();
  running->watch = watch;
  const int64_t seconds =
      watch->timeout_seconds > 0 ? watch->timeout_seconds : kDefaultWatchSeconds;
  std::weak_ptr<http::ServerStream> weak = stream;
  auto end = [weak, raw = running.get()] {
    raw->watch.reset();
    raw->bookmarks.Cancel();
    if (auto alive = weak.lock()) alive->SendData({}, true);
  };
  running->timeout = base::Timer::After(loop, std::chrono::seconds(seconds), end);
  if (watch->bookmarks)
    running->bookmarks = base::Timer::Every(loop, kBookmarkPeriod, [raw = running.get()] {
      if (raw->watch) raw->watch->Bookmark();
    });
  // The stream holds what runs on it, and drops it when the client has gone.
  stream->OnClose([running]() mutable {
    running->watch.reset();
    running->timeout.Cancel();
    running->bookmarks.Cancel();
  });
  watch->Run(
      [weak](base::Slice line) {
        auto alive = weak.lock();
        if (!alive) return;
        if (alive->buffered() > kMostUnsent) return alive->Reset();
        alive->SendData(std::move(line));
      },
      end);
}

}  // namespace

struct ApiServer::Impl : std::enable_shared_from_this<ApiServer::Impl> {
  Impl(base::Loop& l, ServerConfig c) : loop(l), config(std::move(c)) {}

  base::Loop& loop;
  ServerConfig config;
  base::SystemClock clock;
  std::string admin_kubeconfig;
  std::unique_ptr<ClusterPki> pki;
  std::unique_ptr<Store> store;
  std::unique_ptr<Handler> handler;
  std::unique_ptr<TokenIssuer> tokens;
  std::unique_ptr<HttpWebhooks> webhooks;
  std::unique_ptr<NodeProxy> proxy;
  std::vector<std::unique_ptr<http::Server>> servers;

  base::Status Start();
  base::Status Listen();
  void OnRequest(const std::shared_ptr<http::ServerStream>& stream);
  std::optional<User> Authenticate(const http::ServerStream& stream) const;
  void Dispatch(const std::shared_ptr<http::ServerStream>& stream, Request request);
  void Send(const std::shared_ptr<http::ServerStream>& stream, Response response);
};

base::Status ApiServer::Impl::Start() {
  RETURN_IF_ERROR(base::MakeDirs(config.data_dir, 0700), "making the data folder");
  std::vector<std::string> sans = config.sans;
  sans.insert(sans.end(), config.addresses.begin(), config.addresses.end());
  if (config.advertise_address.empty()) config.advertise_address = config.addresses.front();
  sans.push_back(config.advertise_address);
  ASSIGN_OR_RETURN(store, Store::Open(config.data_dir + "/store.db"), "the API server's store");
  HandlerOptions options;
  options.service_cidr = config.service_cidr;
  options.node_port_min = config.node_port_min;
  options.node_port_max = config.node_port_max;
  options.git_version = config.git_version;
  ASSIGN_OR_RETURN(handler, Handler::Create(*store, clock, options), "the API server");
  sans.push_back(handler->engine().allocator->FirstAddress());
  ASSIGN_OR_RETURN(ClusterPki made, ClusterPki::LoadOrCreate(config.data_dir + "/pki", sans, clock),
                   "the cluster's keys");
  pki = std::make_unique<ClusterPki>(std::move(made));
  tokens = std::make_unique<TokenIssuer>(handler->engine(), pki->service_account_key, config.issuer,
                                         std::vector<std::string>{});
  webhooks = std::make_unique<HttpWebhooks>(loop, handler->engine());
  proxy = std::make_unique<NodeProxy>(loop, handler->engine(), pki->kubelet_client);
  handler->engine().tokens = tokens.get();
  handler->engine().webhooks = webhooks.get();
  RETURN_IF_ERROR(Listen(), "the API server");
  handler->Bootstrap(config.advertise_address, servers.front()->port());
  const std::string url =
      fmt::format("https://{}:{}", config.addresses.front(), servers.front()->port());
  admin_kubeconfig = config.data_dir + "/admin.kubeconfig";
  RETURN_IF_ERROR(WriteKubeconfig(config.data_dir + "/pki", "admin", url, config.cluster_name,
                                  admin_kubeconfig),
                  "the admin's kubeconfig");
  return WriteKubeconfig(config.data_dir + "/pki", "controllers", url, config.cluster_name,
                         config.data_dir + "/controllers.kubeconfig");
}

base::Status ApiServer::Impl::Listen() {
  for (const std::string& address : config.addresses) {
    http::ServerOptions options;
    options.address = address;
    options.port = servers.empty() ? config.port : servers.front()->port();
    http::TlsServerOptions tls;
    tls.certificate = [this] { return pki->serving; };
    tls.client_certificate = http::TlsServerOptions::ClientCertificate::kOptional;
    tls.client_roots = [this] { return pki->roots; };
    options.tls = std::move(tls);
    auto server = std::make_unique<http::Server>(
        loop, std::move(options),
        [weak = weak_from_this()](std::shared_ptr<http::ServerStream> stream) {
          if (auto self = weak.lock()) self->OnRequest(stream);
        });
    RETURN_IF_ERROR(server->Start(), "listening");
    servers.push_back(std::move(server));
  }
  return {};
}

std::optional<User> ApiServer::Impl::Authenticate(const http::ServerStream& stream) const {
  const auto authorization = stream.head().headers.Get("authorization");
  if (authorization && base::ToLower(authorization->substr(0, 7)) == "bearer ") {
    auto identity = tokens->Check(std::string(base::Trim(authorization->substr(7))), {});
    if (!identity.ok()) {
      LOG_DEBUG("apiserver", "token refused: {}", identity.status().message());
      return std::nullopt;
    }
    return identity->user;
  }
  if (!stream.peer().chain.empty()) return UserOfCertificate(stream.peer().chain.front());
  return User{};
}

void ApiServer::Impl::OnRequest(const std::shared_ptr<http::ServerStream>& stream) {
  const http::RequestHead& head = stream->head();
  Request request;
  request.method = head.method;
  request.path = head.path();
  request.query = head.query();
  request.headers = head.headers.all();
  auto user = Authenticate(*stream);
  if (!user) return Send(stream, ErrorResponse(kubeapi::Unauthorized()));
  request.user = std::move(*user);
  if (auto error = handler->Impersonate(&request)) return Send(stream, ErrorResponse(*error));
  const RequestInfo info = RequestInfo::Of(request);
  if (Handler::IsConnect(info)) {
    if (auto error = handler->Authorize(request.user, info))
      return Send(stream, ErrorResponse(*error));
    return proxy->Serve(stream, request, info);
  }
  if (request.method == "GET" || request.method == "HEAD")
    return Dispatch(stream, std::move(request));
  stream->ReadBody(kMostBody, [weak = weak_from_this(), stream,
                               request = std::move(request)](std::string body) mutable {
    auto self = weak.lock();
    if (!self) return;
    request.body = std::move(body);
    self->Dispatch(stream, std::move(request));
  });
}

void ApiServer::Impl::Dispatch(const std::shared_ptr<http::ServerStream>& stream, Request request) {
  const bool large_request = request.body.size() > kLargeBody;
  handler->Handle(request, [weak = weak_from_this(), stream, large_request](Response response) {
    const bool large = large_request || response.body.size() > kLargeBody;
    if (auto self = weak.lock()) self->Send(stream, std::move(response));
    if (large) malloc_trim(0);
  });
}

void ApiServer::Impl::Send(const std::shared_ptr<http::ServerStream>& stream, Response response) {
  http::Headers headers;
  headers.Add("content-type", response.content_type);
  headers.Add("cache-control", "no-cache, private");
  for (const auto& [name, value] : response.headers) headers.Add(name, value);
  if (response.watch) {
    stream->SendHeaders(response.status, headers);
    return RunWatch(loop, stream, std::move(response.watch));
  }
  headers.Add("content-length", std::to_string(response.body.size()));
  if (stream->head().method == "HEAD" || response.body.empty())
    return stream->SendHeaders(response.status, headers, true);
  stream->SendHeaders(response.status, headers);
  stream->SendData(base::Slice(std::move(response.body)), true);
}

base::Result<std::unique_ptr<ApiServer>> ApiServer::Start(base::Loop& loop, ServerConfig config) {
  if (config.addresses.empty())
    return base::Error(base::Code::kInvalidArgument,
                       "the API server needs an address to listen at");
  if (config.data_dir.empty())
    return base::Error(base::Code::kInvalidArgument, "the API server needs a data folder");
  auto impl = std::make_shared<Impl>(loop, std::move(config));
  RETURN_IF_ERROR(impl->Start(), "starting");
  return std::unique_ptr<ApiServer>(new ApiServer(std::move(impl)));
}

ApiServer::~ApiServer() {
  // Streams first: what runs on them looks at the engine.
  impl_->servers.clear();
}

uint16_t ApiServer::port() const { return impl_->servers.front()->port(); }
const std::string& ApiServer::admin_kubeconfig() const { return impl_->admin_kubeconfig; }
Handler& ApiServer::handler() { return *impl_->handler; }

}  // namespace isthmus::lab::apiserver
