#include "http/client.h"

#include <algorithm>
#include <deque>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/encoding.h"
#include "base/net.h"
#include "base/strings.h"
#include "http/client_connection.h"
#include "http/client_exchange.h"
#include "http/dialer.h"
#include "http/tls_session.h"

namespace isthmus::http {
namespace {

constexpr size_t kMaxFetchBody = 512 * 1024 * 1024;

/// What an URL without path says.
struct Origin {
  bool tls = false;
  std::string unix_path;
  std::string userinfo;
  base::HostPort host;

  static base::Result<Origin> Parse(std::string_view url) {
    Origin origin;
    std::string_view rest = url;
    if (base::ConsumePrefix(rest, "unix:")) {
      base::ConsumePrefix(rest, "//");
      origin.unix_path = rest;
      origin.host = {"localhost", 80};
      return origin;
    }
    if (base::ConsumePrefix(rest, "https://")) {
      origin.tls = true;
    } else if (!base::ConsumePrefix(rest, "http://")) {
      return base::Error(base::Code::kInvalidArgument,
                         "the URL '{}' begins with neither http:// nor https:// nor unix:", url);
    }
    rest = base::Cut(rest, "/").first;
    if (const size_t at = rest.rfind('@'); at != std::string_view::npos) {
      origin.userinfo = UrlDecode(rest.substr(0, at));
      rest = rest.substr(at + 1);
    }
    ASSIGN_OR_RETURN(origin.host, base::HostPort::Parse(rest, origin.tls ? 443 : 80),
                     fmt::format("the URL '{}'", url));
    return origin;
  }
  /// As a Host header has it.
  std::string authority() const {
    std::string text = host.text();
    if (host.port == (tls ? 443 : 80)) text.resize(text.rfind(':'));
    return text;
  }
};

/// The user's end of an exchange.
class ExchangeHandle final : public ClientStream {
 public:
  explicit ExchangeHandle(std::shared_ptr<ClientExchange> exchange)
      : exchange_(std::move(exchange)) {}
  ~ExchangeHandle() override { exchange_->Cancel(false); }
  void SendData(base::Slice data, bool end) override { exchange_->SendData(std::move(data), end); }
  void Cancel() override { exchange_->Cancel(true); }
  size_t buffered() const override { return exchange_->buffered(); }
  void OnDrain(std::function<void()> callback) override { exchange_->OnDrain(std::move(callback)); }
  void PauseBody(bool pause) override { exchange_->PauseBody(pause); }

 private:
  const std::shared_ptr<ClientExchange> exchange_;
};

}  // namespace

struct Client::Impl : std::enable_shared_from_this<Client::Impl> {
  Impl(base::Loop& loop, ClientOptions options) : loop(loop), options(std::move(options)) {}

  enum class Protocol { kUnknown, kHttp1, kHttp2 };

  base::Loop& loop;
  const ClientOptions options;
  base::Status bad_url;  // Told to every request.
  Origin origin, proxy;
  std::unique_ptr<TlsClientContext> tls;
  Protocol protocol = Protocol::kUnknown;
  std::deque<std::shared_ptr<ClientExchange>> waiting;
  std::unordered_map<ClientConnection*, std::shared_ptr<ClientConnection>> connections;
  std::unordered_map<uint64_t, std::unique_ptr<Dialer>> dials;
  /// Upgrades under way: a dial, then an attempt.
  struct UpgradeJob {
    std::unique_ptr<Dialer> dialer;
    std::shared_ptr<void> attempt;
    std::function<void(UpgradeResult)> done;
  };
  std::unordered_map<uint64_t, UpgradeJob> upgrades;
  uint64_t next_id = 1;
  bool assign_posted = false, closed = false;

  void Prepare();
  Route MakeRoute(bool http1_only) const;
  void AssignSoon();
  void Assign();
  void Dial();
  void Connected(uint64_t id, base::Result<Dialed> dialed);
  ClientConnection::Owner MakeOwner();
  void FailWaiting(const base::Status& status);
  base::Status Told(const base::Status& status) const {
    return status.In(fmt::format("connecting to {}", options.url));
  }
  void UpgradeDialed(uint64_t id, RequestHead head, base::Result<Dialed> dialed);
  void UpgradeDone(uint64_t id, UpgradeResult result);
  void Close();
};

void Client::Impl::Prepare() {
  auto parsed = Origin::Parse(options.url);
  if (!parsed.ok()) {
    bad_url = parsed.status();
    return;
  }
  origin = std::move(parsed).value();
  if (!options.proxy_url.empty()) {
    auto parsed_proxy = Origin::Parse(options.proxy_url);
    if (!parsed_proxy.ok() || parsed_proxy->tls || !parsed_proxy->unix_path.empty()) {
      bad_url =
          base::Error(base::Code::kInvalidArgument,
                      "the proxy URL '{}' is not of the form http://host:port", options.proxy_url);
      return;
    }
    proxy = std::move(parsed_proxy).value();
  }
  if (origin.tls)
    tls = std::make_unique<TlsClientContext>(options.tls.value_or(TlsClientOptions()),
                                             origin.host.host);
  if (options.http2_prior_knowledge && !origin.tls) protocol = Protocol::kHttp2;
}

Route Client::Impl::MakeRoute(bool http1_only) const {
  Route route;
  route.local_ip = options.local_ip;
  route.unix_path = origin.unix_path;
  route.target = origin.host;
  route.proxy = proxy.host;
  if (!proxy.userinfo.empty())
    route.proxy_authorization = "Basic " + base::Base64Encode(proxy.userinfo);
  route.tls = tls.get();
  route.http1_only = http1_only;
  // An upgraded connection may well carry what somebody pastes, to a program that reads it later.
  if (!http1_only) route.lost_after = options.lost_after;
  return route;
}

void Client::Impl::AssignSoon() {
  if (closed || std::exchange(assign_posted, true)) return;
  loop.Post([weak = weak_from_this()] {
    const auto self = weak.lock();
    if (!self || self->closed) return;
    self->assign_posted = false;
    self->Assign();
  });
}

void Client::Impl::Assign() {
  std::erase_if(waiting, [](const auto& exchange) { return exchange->done(); });
  if (!bad_url.ok()) return FailWaiting(bad_url);
  std::vector<std::shared_ptr<ClientConnection>> free;
  for (const auto& [key, connection] : connections) {
    if (connection->CanTake()) free.push_back(connection);
  }
  while (!waiting.empty() && !free.empty()) {
    const auto exchange = std::move(waiting.front());
    waiting.pop_front();
    free.back()->Take(exchange);
    if (!free.back()->CanTake()) free.pop_back();
  }
  if (waiting.empty()) return;
  if (protocol == Protocol::kHttp1) {
    while (dials.size() < waiting.size() &&
           connections.size() + dials.size() < options.max_http1_connections)
      Dial();
  } else if (dials.empty()) {
    // One connection that can take no more streams now is waited for; one that goes away is
    // replaced.
    Dial();
  }
}

void Client::Impl::Dial() {
  const uint64_t id = next_id++;
  dials.emplace(id, std::make_unique<Dialer>(loop, MakeRoute(false), options.connect_timeout,
                                             [this, id](base::Result<Dialed> dialed) {
                                               Connected(id, std::move(dialed));
                                             }));
}

void Client::Impl::Connected(uint64_t id, base::Result<Dialed> dialed) {
  const auto self = shared_from_this();
  // The dialer calls this as its last act; it goes soon, with what it still has on the stack.
  loop.Post([dialer = std::shared_ptr<Dialer>(std::move(dials.extract(id).mapped()))] {});
  if (!dialed.ok()) return FailWaiting(Told(dialed.status()));
  const bool http2 = options.http2_prior_knowledge || dialed->socket->alpn() == "h2";
  protocol = http2 ? Protocol::kHttp2 : Protocol::kHttp1;
  auto connection =
      http2 ? NewHttp2Connection(loop, std::move(dialed->socket), std::move(dialed->early),
                                 origin.authority(), origin.tls,
                                 {options.keepalive, options.keepalive_timeout}, MakeOwner())
            : NewHttp1Connection(loop, std::move(dialed->socket), std::move(dialed->early),
                                 origin.authority(), MakeOwner());
  connections.emplace(connection.get(), connection);
  Assign();
}

ClientConnection::Owner Client::Impl::MakeOwner() {
  ClientConnection::Owner owner;
  owner.ready = [this](ClientConnection*) {
    if (!waiting.empty()) AssignSoon();
  };
  owner.gone = [this](ClientConnection* connection) {
    const auto node = connections.extract(connection);
    if (!waiting.empty()) AssignSoon();
  };
  owner.retry = [this](std::shared_ptr<ClientExchange> exchange) {
    waiting.push_front(std::move(exchange));
    AssignSoon();
  };
  return owner;
}

void Client::Impl::FailWaiting(const base::Status& status) {
  const auto self = shared_from_this();
  const auto failed = std::exchange(waiting, {});
  for (const auto& exchange : failed) exchange->Finish(status);
}

void Client::Impl::UpgradeDialed(uint64_t id, RequestHead head, base::Result<Dialed> dialed) {
  const auto self = shared_from_this();
  UpgradeJob& job = upgrades.at(id);
  loop.Post([dialer = std::shared_ptr<Dialer>(std::move(job.dialer))] {});
  if (!dialed.ok()) return UpgradeDone(id, Told(dialed.status()));
  job.attempt =
      StartUpgrade(loop, std::move(dialed->socket), std::move(dialed->early), std::move(head),
                   [this, id](UpgradeResult result) { UpgradeDone(id, std::move(result)); });
}

void Client::Impl::UpgradeDone(uint64_t id, UpgradeResult result) {
  const auto self = shared_from_this();
  auto job = std::move(upgrades.extract(id).mapped());
  // The attempt is still on the stack.
  loop.Post([attempt = std::move(job.attempt)] {});
  job.done(std::move(result));
}

void Client::Impl::Close() {
  closed = true;
  const auto self = shared_from_this();
  const base::Status status = base::Error(base::Code::kCancelled, "the client was closed");
  // A dialer or an attempt that is running was taken out before it called.
  dials.clear();
  const auto held = std::exchange(connections, {});
  for (const auto& [key, connection] : held) connection->Close(status);
  FailWaiting(status);
  auto jobs = std::exchange(upgrades, {});
  for (auto& [id, job] : jobs) {
    job.dialer.reset();
    job.attempt.reset();
    job.done(status);
  }
}

Client::Client(base::Loop& loop, ClientOptions options)
    : impl_(std::make_shared<Impl>(loop, std::move(options))) {
  impl_->Prepare();
}

Client::~Client() { impl_->Close(); }

base::Loop& Client::loop() const { return impl_->loop; }

std::shared_ptr<ClientStream> Client::Open(RequestHead head, bool end, ClientEvents events) {
  auto exchange =
      std::make_shared<ClientExchange>(impl_->loop, std::move(head), end, std::move(events));
  impl_->waiting.push_back(exchange);
  impl_->AssignSoon();
  return std::make_shared<ExchangeHandle>(std::move(exchange));
}

void Client::Fetch(Request request, base::Duration timeout,
                   std::function<void(base::Result<Response>)> done) {
  struct Fetching {
    std::shared_ptr<ClientStream> stream;
    base::Timer timer;
    Response response;
    std::function<void(base::Result<Response>)> done;

    void Finish(base::Result<Response> result) {
      const auto call = std::exchange(done, nullptr);
      timer.Cancel();
      const auto held = std::exchange(stream, nullptr);
      if (call) call(std::move(result));
    }
  };
  const auto fetching = std::make_shared<Fetching>();
  fetching->done = std::move(done);
  ClientEvents events;
  events.head = [fetching](ResponseHead head) {
    static_cast<ResponseHead&>(fetching->response) = std::move(head);
  };
  events.data = [fetching](std::string_view data) {
    if (fetching->response.body.size() + data.size() > kMaxFetchBody) {
      return fetching->Finish(base::Error(base::Code::kResourceExhausted,
                                          "the answer is over {} bytes", kMaxFetchBody));
    }
    fetching->response.body += data;
  };
  events.close = [fetching](base::Status status) {
    if (!status.ok()) return fetching->Finish(std::move(status));
    fetching->Finish(std::move(fetching->response));
  };
  const bool end = request.body.empty();
  if (!end && !request.headers.Get("content-length")) {
    request.headers.Add("content-length", std::to_string(request.body.size()));
  }
  base::Slice body(std::move(request.body));
  fetching->stream = Open(std::move(static_cast<RequestHead&>(request)), end, std::move(events));
  if (!end) fetching->stream->SendData(std::move(body), true);
  if (timeout > base::Duration::zero()) {
    fetching->timer = base::Timer::After(
        impl_->loop, timeout, [weak = std::weak_ptr(fetching), url = impl_->options.url] {
          if (const auto self = weak.lock()) {
            self->Finish(
                base::Error(base::Code::kDeadlineExceeded, "{} did not answer in time", url));
          }
        });
  }
}

void Client::Upgrade(RequestHead head, std::function<void(UpgradeResult)> done) {
  Impl& impl = *impl_;
  if (!impl.bad_url.ok()) {
    impl.loop.Post([done = std::move(done), status = impl.bad_url] { done(status); });
    return;
  }
  const uint64_t id = impl.next_id++;
  if (head.authority.empty()) head.authority = impl.origin.authority();
  Impl::UpgradeJob& job = impl.upgrades[id];
  job.done = std::move(done);
  job.dialer = std::make_unique<Dialer>(
      impl.loop, impl.MakeRoute(true), impl.options.connect_timeout,
      [impl = &impl, id, head = std::move(head)](base::Result<Dialed> dialed) mutable {
        impl->UpgradeDialed(id, std::move(head), std::move(dialed));
      });
}

}  // namespace isthmus::http
