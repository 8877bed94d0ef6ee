#include "lab/world/proxy.h"

#include <arpa/inet.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "base/net.h"
#include "http/server.h"
#include "lab/network/fd_stream.h"
#include "lab/network/netns.h"

namespace isthmus::lab::world {
namespace {

using network::Fd;
using network::FdStream;
using network::FdWatch;
using std::chrono_literals::operator""s;

constexpr size_t kMostUnsent = 1 << 20;

// Opens a connection without blocking; `done` is called once, never inside. Keeps itself until
// then.
class Dialer : public std::enable_shared_from_this<Dialer> {
 public:
  using Done = std::function<void(base::Result<int>)>;  // The descriptor is the receiver's.
  static void Dial(base::Loop& loop, const Target& target, Done done) {
    auto self = std::make_shared<Dialer>(loop, target, std::move(done));
    self->self_ = self;
    self->Start();
  }
  Dialer(base::Loop& loop, Target target, Done done)
      : loop_(loop), target_(std::move(target)), done_(std::move(done)) {}

 private:
  void Start() {
    auto ns = network::NetNs::Open(target_.network_namespace);
    if (!ns.ok()) return Finish(ns.status());
    const base::Status status = ns->Within([&]() -> base::Status {
      fd_.Reset(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
      return {};
    });
    if (!status.ok()) return Finish(status);
    auto to = base::SocketAddress::From(target_.address, target_.port);
    if (!to.ok()) return Finish(to.status());
    if (connect(fd_.get(), to->raw(), sizeof(sockaddr_in)) != 0 && errno != EINPROGRESS)
      return Finish(Problem(errno));
    watch_ = FdWatch::Writable(loop_, fd_.get(), [this] {
      int error = 0;
      socklen_t size = sizeof error;
      getsockopt(fd_.get(), SOL_SOCKET, SO_ERROR, &error, &size);
      Finish(error == 0 ? base::Status() : Problem(error));
    });
    timer_ = base::Timer::After(loop_, 10s, [this] { Finish(Problem(ETIMEDOUT)); });
  }
  base::Status Problem(int error) const {
    return base::Error(base::Code::kUnavailable, "connecting to {}:{} in the lab: {}",
                       target_.address, target_.port, strerror(error));
  }
  void Finish(const base::Status& status) {
    watch_.Cancel();
    timer_.Cancel();
    loop_.Post([self = std::exchange(self_, nullptr), status] {
      if (self == nullptr) return;
      self->done_(status.ok() ? base::Result<int>(self->fd_.Release()) : base::Result<int>(status));
    });
  }

  base::Loop& loop_;
  const Target target_;
  Done done_;
  std::shared_ptr<Dialer> self_;
  Fd fd_;
  FdWatch watch_;
  base::Timer timer_;
};

// Two ends joined until both are done. Keeps itself.
class Splice {
 public:
  static void Join(base::Loop& loop, std::unique_ptr<http::ByteStream> client, Fd server) {
    auto self = std::make_shared<Splice>(loop, std::move(client));
    Splice* raw = self.get();
    raw->self_ = self;
    raw->server_ = std::make_unique<FdStream>(
        loop, std::move(server),
        FdStream::Events{.data = [raw](std::string_view bytes) { raw->FromServer(bytes); },
                         .end =
                             [raw] {
                               raw->client_->Finish();
                               raw->ServerEnded();
                             },
                         .drained = [raw] { raw->client_->PauseReading(false); }});
    raw->client_->OnData([raw](std::string_view bytes) {
      raw->server_->Write(bytes);
      if (raw->server_->buffered() > kMostUnsent) raw->client_->PauseReading(true);
    });
    raw->client_->OnDrain([raw] { raw->server_->PauseReading(false); });
    raw->client_->OnClose([raw](const base::Status&) { raw->End(); });
  }
  Splice(base::Loop& loop, std::unique_ptr<http::ByteStream> client)
      : loop_(loop), client_(std::move(client)) {}

 private:
  void FromServer(std::string_view bytes) {
    client_->Write(base::Slice::Copy(bytes));
    if (client_->buffered() > kMostUnsent) server_->PauseReading(true);
  }
  void ServerEnded() {
    // What was written goes out first; a client that never closes is not waited for.
    linger_ = base::Timer::After(loop_, 5s, [this] { End(); });
  }
  void End() {
    loop_.Post([self = std::exchange(self_, nullptr)] {});
  }

  base::Loop& loop_;
  std::shared_ptr<Splice> self_;
  std::unique_ptr<http::ByteStream> client_;
  std::unique_ptr<FdStream> server_;
  base::Timer linger_;
};

// The same between two sockets.
class SocketSplice {
 public:
  static void Join(base::Loop& loop, Fd client, Fd server) {
    auto self = std::make_shared<SocketSplice>(loop);
    SocketSplice* raw = self.get();
    raw->self_ = self;
    raw->Open(0, std::move(client));
    raw->Open(1, std::move(server));
  }
  explicit SocketSplice(base::Loop& loop) : loop_(loop) {}

 private:
  void Open(int side, Fd fd) {
    const int other = 1 - side;
    ends_[side] = std::make_unique<FdStream>(
        loop_, std::move(fd),
        FdStream::Events{.data =
                             [this, side, other](std::string_view bytes) {
                               ends_[other]->Write(bytes);
                               if (ends_[other]->buffered() > kMostUnsent)
                                 ends_[side]->PauseReading(true);
                             },
                         .end =
                             [this, other] {
                               ends_[other]->FinishWriting();
                               if (++ended_ == 2)
                                 loop_.Post([self = std::exchange(self_, nullptr)] {});
                             },
                         .drained = [this, other] { ends_[other]->PauseReading(false); }});
  }
  base::Loop& loop_;
  std::shared_ptr<SocketSplice> self_;
  std::unique_ptr<FdStream> ends_[2];
  int ended_ = 0;
};

}  // namespace

struct ConnectProxy::Impl {
  base::Loop& loop;
  Resolve resolve;
  http::Server server;

  Impl(base::Loop& loop_in, uint16_t port, Resolve resolve_in)
      : loop(loop_in),
        resolve(std::move(resolve_in)),
        server(loop, {.address = "127.0.0.1", .port = port},
               [this](std::shared_ptr<http::ServerStream> stream) { Handle(stream); }) {}

  void Handle(const std::shared_ptr<http::ServerStream>& stream) {
    if (stream->head().method != "CONNECT")
      return stream->Respond(405, "text/plain",
                             "this is the lab's proxy; it takes CONNECT requests only\n");
    const std::string& authority =
        stream->head().authority.empty() ? stream->head().target : stream->head().authority;
    auto host = base::HostPort::Parse(authority, 443);
    auto target = host.ok() ? resolve(host->host, host->port) : base::Result<Target>(host.status());
    if (!target.ok()) return stream->Respond(403, "text/plain", target.status().message() + "\n");
    Dialer::Dial(loop, *target, [this, stream](base::Result<int> fd) {
      if (!fd.ok()) return stream->Respond(502, "text/plain", fd.status().message() + "\n");
      Fd owned(*fd);
      if (auto client = stream->Upgrade({}); client != nullptr)
        Splice::Join(loop, std::move(client), std::move(owned));
    });
  }
};

ConnectProxy::ConnectProxy(base::Loop& loop, uint16_t port, Resolve resolve)
    : impl_(std::make_unique<Impl>(loop, port, std::move(resolve))) {}
ConnectProxy::~ConnectProxy() = default;
base::Status ConnectProxy::Start() { return impl_->server.Start(); }
uint16_t ConnectProxy::port() const { return impl_->server.port(); }

struct PortForward::Impl {
  base::Loop& loop;
  uint16_t port;
  Resolve resolve;
  Fd listener;
  FdWatch accepts;

  void Accept() {
    const int raw = accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (raw < 0) return;
    auto client = std::make_shared<Fd>(raw);
    auto target = resolve();
    if (!target.ok()) return;
    Dialer::Dial(loop, *target, [this, client](base::Result<int> fd) {
      if (fd.ok()) SocketSplice::Join(loop, std::move(*client), Fd(*fd));
    });
  }
};

PortForward::PortForward(base::Loop& loop, uint16_t port, Resolve resolve)
    : impl_(std::make_unique<Impl>(Impl{loop, port, std::move(resolve), {}, {}})) {}
PortForward::~PortForward() = default;
uint16_t PortForward::port() const { return impl_->port; }

base::Status PortForward::Start() {
  Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int yes = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(impl_->port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      listen(fd.get(), 128) != 0)
    return base::Error(
        base::Code::kUnavailable, "listening on 127.0.0.1:{}: {}{}", impl_->port, strerror(errno),
        errno == EADDRINUSE ? "; another program uses the port, give another one as ingressPort"
                            : "");
  socklen_t size = sizeof address;
  getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size);
  impl_->port = ntohs(address.sin_port);
  impl_->listener = std::move(fd);
  impl_->accepts =
      FdWatch::Readable(impl_->loop, impl_->listener.get(), [raw = impl_.get()] { raw->Accept(); });
  return {};
}

}  // namespace isthmus::lab::world
