#include "ads/server.h"

#include <fmt/format.h>

#include <algorithm>
#include <list>
#include <utility>

#include "ads/identity.h"
#include "base/log.h"
#include "pki/digest.h"

namespace isthmus::ads {
namespace {

using base::Code;
using base::Error;
using base::Status;

constexpr std::string_view kSotwMethod =
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources";
constexpr std::string_view kDeltaMethod =
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
// What a client may send before it is known who it is.
constexpr size_t kMaxEarlyBytes = 1 << 20;
// How long payloads are remembered for further streams.
constexpr auto kRemember = std::chrono::seconds(10);

class Session;
using SessionList = std::list<std::shared_ptr<Session>>;

// One call with its stream. Held by the server's list; callbacks of the call hold it weakly.
class Session final : public Sink, public std::enable_shared_from_this<Session> {
 public:
  Session(StreamContext& context, const ServerOptions& options,
          std::shared_ptr<rpc::ServerCall> call, Protocol protocol, uint64_t number)
      : options_(options),
        call_(std::move(call)),
        stream_(context, *this, protocol),
        number_(number),
        connected_(context.clock.Now()) {}

  void Start(Authenticator* authenticator, std::function<void()> closed) {
    std::weak_ptr<Session> weak = weak_from_this();
    call_->OnMessage(
        [weak](std::string_view bytes) {
          if (auto self = weak.lock()) self->OnMessage(bytes);
        },
        [weak] {
          if (auto self = weak.lock()) self->End({});
        });
    call_->OnDrain([weak] {
      if (auto self = weak.lock()) self->Pump();
    });
    call_->OnClose([weak, closed = std::move(closed)] {
      auto self = weak.lock();
      if (self == nullptr) return;
      self->ended_ = true;
      closed();
    });
    if (authenticator == nullptr) {
      known_ = true;
      const std::string& peer = call_->peer().address;
      stream_.SetLocal(peer.starts_with("127.") || peer.starts_with("[::1]") ||
                       peer.starts_with("::1"));
      return;
    }
    authenticator->Authenticate(*call_, [weak](base::Result<std::vector<std::string>> identities) {
      if (auto self = weak.lock()) self->OnIdentities(std::move(identities));
    });
  }

  void Pump() {
    if (!ended_) stream_.Pump();
  }
  void End(const Status& status) {
    if (std::exchange(ended_, true)) return;
    early_.clear();
    if (!status.ok()) LOG_INFO("ads", "{}: stream ends: {}", id(), status.message());
    call_->Finish(status);
  }

  void Send(std::vector<base::Slice> parts) override { call_->Send(std::move(parts)); }
  size_t buffered() const override { return call_->buffered(); }

  std::string id() const {
    return stream_.started() ? fmt::format("{}-{}", stream_.node().proxy.id, number_)
                             : fmt::format("{}-{}", call_->peer().address, number_);
  }
  Connection Describe() const { return {id(), call_->peer().address, connected_, &stream_}; }
  const Stream& stream() const { return stream_; }
  uint64_t number() const { return number_; }
  bool IsProxy() const { return stream_.started() && stream_.node().is_proxy; }

 private:
  void OnMessage(std::string_view bytes) {
    if (ended_) return;
    if (known_) return Handle(bytes);
    early_bytes_ += bytes.size();
    if (early_bytes_ > kMaxEarlyBytes)
      return End(Error(Code::kResourceExhausted, "more than {} bytes before authentication",
                       kMaxEarlyBytes));
    early_.emplace_back(bytes);
  }

  void OnIdentities(base::Result<std::vector<std::string>> identities) {
    if (ended_) return;
    if (!identities.ok()) return End(identities.status());
    identities_ = std::move(*identities);
    known_ = true;
    for (const std::string& bytes : std::exchange(early_, {})) {
      if (ended_) return;
      Handle(bytes);
    }
  }

  void Handle(std::string_view bytes) {
    const Status status =
        stream_.OnMessage(bytes, [this](const Node& node) { return Admit(node); });
    if (!status.ok()) return End(status);
    stream_.Pump();
  }

  Status Admit(const Node& node) {
    if (identities_.empty()) return {};
    auto ns = CheckIdentity(node, identities_);
    if (ns.ok())
      stream_.SetVerifiedNamespace(*ns);
    else if (options_.check_identity)
      return ns.status();
    LOG_DEBUG("ads", "{}: {} connected, {}", node.proxy.id, node.id, call_->peer().address);
    return {};
  }

  const ServerOptions& options_;
  std::shared_ptr<rpc::ServerCall> call_;
  Stream stream_;
  const uint64_t number_;
  const base::Time connected_;
  std::vector<std::string> identities_;
  std::vector<std::string> early_;
  size_t early_bytes_ = 0;
  bool known_ = false;
  bool ended_ = false;
};

}  // namespace

struct Server::Impl {
  Impl(base::Loop& loop_in, ViewSource& views, const base::Clock& clock, ServerOptions options_in)
      : loop(loop_in),
        options(std::move(options_in)),
        context{views, clock, {}, {}, nullptr, {}, options.control_plane, pki::RandomUuid, {}} {
    NextVersion();
    forget = base::Timer::Every(loop, kRemember, [this] {
      context.payloads.Forget();
      EndOldStreams();
    });
  }

  void NextVersion() {
    context.version = fmt::format("{}/{}", base::FormatTime(context.clock.Now()), ++pushes);
  }

  void EndOldStreams() {
    if (options.max_stream_age == base::Duration::zero()) return;
    const base::Time now = context.clock.Now();
    for (const auto& session : sessions) {
      // Spread by their numbers, so that streams that began together do not come back together.
      const auto age =
          options.max_stream_age * static_cast<int64_t>(90 + session->number() % 21) / 100;
      if (now - session->Describe().connected > age)
        session->End(Error(Code::kUnavailable, "the stream has reached its age; connect again"));
    }
  }

  void Serve(std::shared_ptr<rpc::ServerCall> call, Protocol protocol,
             Authenticator* authenticator) {
    if (!ready)
      return call->Finish(
          Error(Code::kUnavailable, "server is not ready to serve discovery information"));
    auto session = std::make_shared<Session>(context, options, std::move(call), protocol, ++number);
    auto at = sessions.insert(sessions.end(), session);
    std::weak_ptr<bool> weak = alive;
    session->Start(authenticator, [this, weak, at] {
      // Not inside the call's own callback: it may still be using the call.
      loop.Post([this, weak, at] {
        if (weak.expired()) return;
        const auto ended = *at;
        sessions.erase(at);
        if (ended->stream().started()) context.views.Forget(ended->stream().node().proxy);
      });
    });
  }

  base::Loop& loop;
  const ServerOptions options;
  StreamContext context;
  SessionList sessions;
  base::Timer forget;
  uint64_t pushes = 0;
  uint64_t number = 0;
  bool ready = false;
  std::shared_ptr<bool> alive = std::make_shared<bool>(true);
};

Server::Server(base::Loop& loop, ViewSource& views, const base::Clock& clock, ServerOptions options)
    : impl_(std::make_unique<Impl>(loop, views, clock, std::move(options))) {}
Server::~Server() = default;

void Server::AddTo(rpc::Router& router, Authenticator* authenticator) {
  router.Add(std::string(kSotwMethod),
             [this, authenticator](std::shared_ptr<rpc::ServerCall> call) {
               Serve(std::move(call), Protocol::kSotw, authenticator);
             });
  router.Add(std::string(kDeltaMethod),
             [this, authenticator](std::shared_ptr<rpc::ServerCall> call) {
               Serve(std::move(call), Protocol::kDelta, authenticator);
             });
}

void Server::Serve(std::shared_ptr<rpc::ServerCall> call, Protocol protocol,
                   Authenticator* authenticator) {
  impl_->Serve(std::move(call), protocol, authenticator);
}

void Server::SetDebug(DebugAnswerer* debug) { impl_->context.debug = debug; }
void Server::SetReady(bool ready) { impl_->ready = ready; }

void Server::Changed() {
  impl_->NextVersion();
  impl_->context.payloads.Forget();
  // The list can only grow while streams are pumped: ended ones are taken out later.
  for (const auto& session : impl_->sessions) session->Pump();
}

void Server::CloseAll(const base::Status& why) {
  for (const auto& session : impl_->sessions) session->End(why);
}

void Server::CloseProxies(const std::function<bool(const model::Proxy&)>& which,
                          const base::Status& why) {
  for (const auto& session : impl_->sessions)
    if (session->IsProxy() && which(session->stream().node().proxy)) session->End(why);
}

bool Server::HasProxy(const std::function<bool(const model::Proxy&)>& which) const {
  return std::ranges::any_of(impl_->sessions, [&](const auto& session) {
    return session->IsProxy() && which(session->stream().node().proxy);
  });
}

std::vector<Connection> Server::connections() const {
  std::vector<Connection> all;
  for (const auto& session : impl_->sessions)
    if (session->stream().started()) all.push_back(session->Describe());
  return all;
}

size_t Server::connection_count() const { return impl_->sessions.size(); }

const Stream* Server::FindProxy(std::string_view id) const {
  for (auto it = impl_->sessions.rbegin(); it != impl_->sessions.rend(); ++it) {
    const Stream& stream = (*it)->stream();
    if (stream.started() && stream.node().proxy.id == id && !stream.subscriptions().empty())
      return &stream;
  }
  return nullptr;
}

const Stats& Server::stats() const { return impl_->context.stats; }
const std::string& Server::version() const { return impl_->context.version; }

}  // namespace isthmus::ads
