#include "http/tcp.h"

#include <utility>

#include "http/dialer.h"
#include "http/listener.h"
#include "http/stream_socket.h"

namespace isthmus::http {
namespace {

std::shared_ptr<void> Dial(base::Loop& loop, Route route, base::Duration timeout,
                           std::function<void(base::Result<std::unique_ptr<ByteStream>>)> done) {
  const std::string name = route.unix_path.empty() ? route.target.text() : route.unix_path;
  return std::make_shared<Dialer>(
      loop, std::move(route), timeout,
      [&loop, name, done = std::move(done)](base::Result<Dialed> dialed) {
        if (!dialed.ok()) return done(dialed.status().In(fmt::format("connecting to {}", name)));
        done(std::unique_ptr<ByteStream>(std::make_unique<StreamSocket>(
            loop, std::move(dialed->socket), std::move(dialed->early))));
      });
}

class TcpListenerImpl final : public TcpListener {
 public:
  TcpListenerImpl(base::Loop& loop, Callback accepted)
      : loop_(loop), accepted_(std::make_shared<Callback>(std::move(accepted))) {}

  base::Status Open(const std::string& address, uint16_t port) {
    auto opened =
        Listener::Open(loop_, address, port, [this](uv_stream_s* stream) { Incoming(stream); });
    if (!opened.ok()) return opened.status();
    listener_ = std::move(opened).value();
    return {};
  }
  uint16_t port() const override { return listener_->port(); }

 private:
  void Incoming(uv_stream_s* stream) {
    auto socket = std::make_unique<Socket>(loop_, nullptr);
    if (!socket->Accept(stream, nullptr).ok()) return;
    const std::string peer = socket->peer().address;
    const auto call = accepted_;
    (*call)(std::make_unique<StreamSocket>(loop_, std::move(socket), std::string()), peer);
  }

  base::Loop& loop_;
  const std::shared_ptr<Callback> accepted_;
  std::unique_ptr<Listener> listener_;
};

struct Splicing : std::enable_shared_from_this<Splicing> {
  struct Side {
    std::unique_ptr<ByteStream> stream;
    bool ended = false;  // It sends no more.
  };
  explicit Splicing(base::Loop& loop) : loop(loop) {}

  base::Loop& loop;
  Side sides[2];
  std::function<void(base::Status)> done;

  void Start() {
    for (const int i : {0, 1}) {
      Side& from = sides[i];
      Side& to = sides[1 - i];
      from.stream->OnData([&from, &to](std::string_view data) {
        to.stream->Write(base::Slice::Copy(data));
        // The kernel takes what it can at the end of this round; what it does not is waited for.
        if (to.stream->buffered() > 256 * 1024) from.stream->PauseReading(true);
      });
      to.stream->OnDrain([this, &from] {
        from.stream->PauseReading(false);
        EndWhenSent();
      });
      from.stream->OnClose([this, &from, &to](base::Status status) {
        from.ended = true;
        if (!status.ok()) return End(std::move(status));
        to.stream->Finish();
        EndWhenSent();
      });
    }
  }
  void EndWhenSent() {
    if (!sides[0].ended || !sides[1].ended) return;
    if (sides[0].stream->buffered() == 0 && sides[1].stream->buffered() == 0) End({});
  }
  void End(base::Status status) {
    if (!done) return;
    const auto call = std::exchange(done, nullptr);
    loop.Post([self = shared_from_this(), call, status = std::move(status)] { call(status); });
  }
};

}  // namespace

std::shared_ptr<void> DialTcp(base::Loop& loop, base::HostPort target, base::Duration timeout,
                              std::function<void(base::Result<std::unique_ptr<ByteStream>>)> done,
                              const std::string& local_ip) {
  Route route;
  route.target = std::move(target);
  route.local_ip = local_ip;
  return Dial(loop, std::move(route), timeout, std::move(done));
}

std::shared_ptr<void> DialUnix(
    base::Loop& loop, const std::string& path, base::Duration timeout,
    std::function<void(base::Result<std::unique_ptr<ByteStream>>)> done) {
  Route route;
  route.unix_path = path;
  return Dial(loop, std::move(route), timeout, std::move(done));
}

base::Result<std::unique_ptr<TcpListener>> TcpListener::Listen(base::Loop& loop,
                                                               const std::string& address,
                                                               uint16_t port, Callback accepted) {
  auto listener = std::make_unique<TcpListenerImpl>(loop, std::move(accepted));
  RETURN_IF_ERROR(listener->Open(address, port), "opening a port");
  return std::unique_ptr<TcpListener>(std::move(listener));
}

std::shared_ptr<void> Splice(base::Loop& loop, std::unique_ptr<ByteStream> a,
                             std::unique_ptr<ByteStream> b,
                             std::function<void(base::Status)> done) {
  auto splicing = std::make_shared<Splicing>(loop);
  splicing->sides[0].stream = std::move(a);
  splicing->sides[1].stream = std::move(b);
  splicing->done = std::move(done);
  splicing->Start();
  return splicing;
}

}  // namespace isthmus::http
