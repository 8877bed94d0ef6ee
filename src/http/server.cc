#include "http/server.h"

#include <uv.h>

#include <algorithm>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/log.h"
#include "http/listener.h"
#include "http/server_connection.h"
#include "http/tls_session.h"

namespace isthmus::http {
namespace {

constexpr std::string_view kHttp2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
// How long the peer's end is waited for after ours.
constexpr uint64_t kLingerMs = 500;

uint64_t Milliseconds(base::Duration duration) {
  return static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(duration).count());
}

}  // namespace

// ---- one connection ----

ServerConnection::ServerConnection(std::shared_ptr<ServerShared> shared)
    : shared_(std::move(shared)), socket_(std::make_unique<Socket>(shared_->loop, this)) {
  if (const uint64_t limit = Milliseconds(shared_->options.handshake_timeout); limit > 0) {
    deadline_ = uv_now(shared_->loop.uv()) + limit;
  }
}

base::Status ServerConnection::Accept(uv_stream_s* listener, std::unique_ptr<TlsSession> tls) {
  return socket_->Accept(listener, std::move(tls));
}

void ServerConnection::OnOpen() {
  peer_ = std::make_shared<const PeerInfo>(socket_->peer());
  if (!shared_->options.tls) return;
  const auto self = shared_from_this();
  Start(socket_->alpn() == "h2" ? NewHttp2Server(*this) : NewHttp1Server(*this));
}

void ServerConnection::Start(std::shared_ptr<ServerProtocol> protocol) {
  protocol_ = std::move(protocol);
  deadline_ = 0;
}

void ServerConnection::OnBytes(std::string_view bytes) {
  const auto self = shared_from_this();
  if (lingering_) return;
  if (protocol_ == nullptr) {
    first_bytes_ += bytes;
    const size_t known = std::min(first_bytes_.size(), kHttp2Preface.size());
    const bool http2 =
        std::string_view(first_bytes_).substr(0, known) == kHttp2Preface.substr(0, known);
    if (http2 && known < kHttp2Preface.size()) return;
    Start(http2 ? NewHttp2Server(*this) : NewHttp1Server(*this));
    const std::string first = std::exchange(first_bytes_, {});
    const auto protocol = protocol_;
    return protocol->OnBytes(first);
  }
  const auto protocol = protocol_;
  protocol->OnBytes(bytes);
}

void ServerConnection::OnEnd(base::Status status) {
  const auto self = shared_from_this();
  if (!status.ok() && protocol_ == nullptr && shared_->options.tls) {
    LOG_DEBUG("http", "connection from {}: {}", socket_->peer().address, status.message());
  }
  if (protocol_ == nullptr || lingering_) return Close(status);
  const auto protocol = protocol_;
  protocol->OnEnd(std::move(status));
}

void ServerConnection::OnWritable() {
  const auto self = shared_from_this();
  if (protocol_ == nullptr || lingering_) return;
  const auto protocol = protocol_;
  protocol->OnWritable();
}

void ServerConnection::Shutdown() {
  const auto self = shared_from_this();
  if (protocol_ == nullptr) return Close({});
  const auto protocol = protocol_;
  if (!lingering_) protocol->Shutdown();
}

void ServerConnection::Close(const base::Status& status, bool quiet) {
  const auto self = shared_from_this();
  if (const auto protocol = std::exchange(protocol_, nullptr)) protocol->Close(status, quiet);
  socket_.reset();
  if (shared_->remove) shared_->remove(this);
}

void ServerConnection::Linger() {
  if (std::exchange(lingering_, true)) return;
  deadline_ = 0;
  socket_->Finish();
}

void ServerConnection::Tick(uint64_t now) {
  const auto self = shared_from_this();
  if (socket_ == nullptr) return;
  if (lingering_ && deadline_ == 0) {
    if (socket_->buffered() == 0) {
      deadline_ = now + kLingerMs;
    } else if (now - socket_->last_write() > kStallMs) {
      deadline_ = now;
    }
  }
  if (deadline_ != 0 && now >= deadline_) {
    return Close(base::Error(base::Code::kDeadlineExceeded, "the client was too slow"));
  }
  if (protocol_ == nullptr || lingering_) return;
  const auto protocol = protocol_;
  if (base::Status status = protocol->Tick(now); !status.ok()) Close(status);
}

std::unique_ptr<Socket> ServerConnection::TakeSocket() {
  auto socket = std::move(socket_);
  socket->set_handler(nullptr);
  // Posted, for the protocol is still at work.
  shared_->loop.Post([self = shared_from_this()] {
    if (self->shared_->remove) self->shared_->remove(self.get());
  });
  return socket;
}

// ---- the server ----

struct Server::Impl {
  Impl(base::Loop& loop, ServerOptions options, Handler handler)
      : loop(loop),
        shared(std::make_shared<ServerShared>(loop, std::move(options), std::move(handler))) {}

  base::Loop& loop;
  const std::shared_ptr<ServerShared> shared;
  std::unique_ptr<TlsServerContext> tls;
  std::unique_ptr<Listener> listener;
  uint16_t port = 0;
  std::unordered_map<ServerConnection*, std::shared_ptr<ServerConnection>> connections;
  base::Timer ticker, grace;
  std::function<void()> shut_down;

  void AcceptOne(uv_stream_t* stream);
  void Tick();
  void Remove(ServerConnection* connection);
  std::vector<std::shared_ptr<ServerConnection>> All() const {
    std::vector<std::shared_ptr<ServerConnection>> all;
    for (const auto& [key, connection] : connections) all.push_back(connection);
    return all;
  }
};

void Server::Impl::AcceptOne(uv_stream_t* stream) {
  auto connection = std::make_shared<ServerConnection>(shared);
  std::unique_ptr<TlsSession> session;
  base::Status status;
  if (tls != nullptr) {
    auto made = tls->NewSession();
    status = made.status();
    if (made.ok()) session = std::move(made).value();
  }
  // Accepted even when it cannot be served: it would stay in the queue otherwise.
  const base::Status accepted = connection->Accept(stream, std::move(session));
  if (!status.ok()) LOG_WARN("http", "{}", status.message());
  if (status.ok() && accepted.ok()) connections.emplace(connection.get(), connection);
}

void Server::Impl::Tick() {
  const uint64_t now = uv_now(loop.uv());
  // A callback may destroy the server.
  const auto held = shared;
  for (const auto& connection : All()) {
    if (held->remove) connection->Tick(now);
  }
}

void Server::Impl::Remove(ServerConnection* connection) {
  const auto it = connections.find(connection);
  if (it == connections.end()) return;
  const auto held = std::move(it->second);
  connections.erase(it);
  if (connections.empty() && shut_down) {
    grace.Cancel();
    loop.Post(std::exchange(shut_down, nullptr));
  }
}

Server::Server(base::Loop& loop, ServerOptions options, Handler handler)
    : impl_(std::make_unique<Impl>(loop, std::move(options), std::move(handler))) {}

Server::~Server() {
  impl_->listener.reset();
  impl_->shared->remove = nullptr;
  for (const auto& connection : impl_->All()) connection->Close({}, true);
}

base::Status Server::Start() {
  const ServerOptions& options = impl_->shared->options;
  if (options.tls) impl_->tls = std::make_unique<TlsServerContext>(*options.tls);
  ASSIGN_OR_RETURN(
      impl_->listener,
      Listener::Open(impl_->loop, options.address, options.port,
                     [impl = impl_.get()](uv_stream_t* stream) { impl->AcceptOne(stream); }),
      "starting the server");
  impl_->port = impl_->listener->port();
  impl_->shared->remove = [impl = impl_.get()](ServerConnection* connection) {
    impl->Remove(connection);
  };
  // Often enough for the shortest limit.
  base::Duration period = std::chrono::seconds(1);
  for (const base::Duration limit : {options.handshake_timeout, options.keepalive}) {
    if (limit > base::Duration::zero()) period = std::min(period, limit / 2);
  }
  impl_->ticker = base::Timer::Every(impl_->loop,
                                     std::max<base::Duration>(period, std::chrono::milliseconds(1)),
                                     [impl = impl_.get()] { impl->Tick(); });
  return {};
}

uint16_t Server::port() const { return impl_->port; }
size_t Server::connections() const { return impl_->connections.size(); }

void Server::Shutdown(base::Duration grace, std::function<void()> done) {
  impl_->listener.reset();
  impl_->shared->shutting_down = true;
  impl_->shut_down = std::move(done);
  for (const auto& connection : impl_->All()) connection->Shutdown();
  if (impl_->connections.empty()) {
    if (impl_->shut_down) impl_->loop.Post(std::exchange(impl_->shut_down, nullptr));
    return;
  }
  impl_->grace = base::Timer::After(impl_->loop, grace, [impl = impl_.get()] {
    const auto held = impl->shared;
    for (const auto& connection : impl->All()) {
      if (held->remove)
        connection->Close(base::Error(base::Code::kUnavailable, "the server shuts down"));
    }
  });
}

// ---- helpers of every stream ----

void ServerStream::ReadBody(size_t limit, std::function<void(std::string)> done) {
  struct Reading {
    std::string body;
    bool refused = false;
  };
  const auto reading = std::make_shared<Reading>();
  // `this` holds the functions.
  OnBody(
      [this, reading, limit](std::string_view data) {
        if (reading->refused) return;
        if (reading->body.size() + data.size() > limit) {
          reading->refused = true;
          reading->body = {};
          return Respond(413, "text/plain", "the request body is too large\n");
        }
        reading->body += data;
      },
      [reading, done = std::move(done)] {
        if (!reading->refused) done(std::move(reading->body));
      });
}

void ServerStream::Respond(int status, std::string_view content_type, std::string body) {
  Headers headers;
  if (!content_type.empty()) headers.Add("content-type", content_type);
  headers.Add("content-length", std::to_string(body.size()));
  if (body.empty()) return SendHeaders(status, headers, true);
  SendHeaders(status, headers, false);
  SendData(base::Slice(std::move(body)), true);
}

}  // namespace isthmus::http
