#include "http/dialer.h"

#include <utility>

#include "base/strings.h"

namespace isthmus::http {
namespace {

constexpr size_t kMaxProxyAnswer = 16 * 1024;

}  // namespace

Dialer::Dialer(base::Loop& loop, Route route, base::Duration timeout,
               std::function<void(base::Result<Dialed>)> done)
    : loop_(loop), route_(std::move(route)), done_(std::move(done)) {
  if (timeout > base::Duration::zero()) {
    timer_ = base::Timer::After(loop_, timeout, [this] {
      Fail(base::Error(base::Code::kDeadlineExceeded, "no connection in time"));
    });
  }
  if (!route_.unix_path.empty()) {
    socket_ = std::make_unique<Socket>(loop_, this);
    socket_->ConnectUnix(route_.unix_path);
    return;
  }
  lookup_ = base::Resolve(loop_, next_hop().host, next_hop().port,
                          [this](auto addresses) { Found(std::move(addresses)); });
}

Dialer::~Dialer() = default;

void Dialer::Found(base::Result<std::vector<base::SocketAddress>> addresses) {
  if (!addresses.ok()) return Fail(addresses.status());
  addresses_ = std::move(addresses).value();
  TryNext();
}

void Dialer::TryNext() {
  socket_ = std::make_unique<Socket>(loop_, this);
  socket_->Connect(addresses_[attempts_++ % addresses_.size()], route_.local_ip);
  attempt_timer_ = base::Timer::After(loop_, patience_, [this] {
    patience_ *= 2;
    TryNext();
  });
}

void Dialer::OnOpen() {
  attempt_timer_.Cancel();
  if (step_ == Step::kConnecting && route_.lost_after > base::Duration::zero())
    socket_->LoseAfter(route_.lost_after);
  if (step_ == Step::kConnecting && !route_.proxy.host.empty() && route_.unix_path.empty()) {
    step_ = Step::kTunnelling;
    const std::string target = route_.target.text();
    std::string request = fmt::format("CONNECT {} HTTP/1.1\r\nhost: {}\r\n", target, target);
    if (!route_.proxy_authorization.empty()) {
      request += fmt::format("proxy-authorization: {}\r\n", route_.proxy_authorization);
    }
    socket_->WriteCopy(request + "\r\n");
    return;  // The socket flushes after OnOpen().
  }
  if (step_ == Step::kConnecting) return Tunnelled();
  Succeed();
}

void Dialer::Tunnelled() {
  if (route_.tls == nullptr) return Succeed();
  auto session = route_.tls->NewSession(route_.http1_only);
  if (!session.ok()) return Fail(session.status());
  step_ = Step::kHandshaking;
  socket_->StartTls(std::move(session).value());
}

void Dialer::OnBytes(std::string_view bytes) {
  received_ += bytes;
  if (step_ != Step::kTunnelling) return;
  const size_t end = received_.find("\r\n\r\n");
  if (end == std::string::npos) {
    if (received_.size() > kMaxProxyAnswer) {
      Fail(base::Error(base::Code::kUnavailable, "the proxy answers no HTTP"));
    }
    return;
  }
  const std::string_view line = base::Cut(received_, "\r\n").first;
  const auto [version, rest] = base::Cut(line, " ");
  if (!base::HasPrefix(version, "HTTP/1.") || !base::HasPrefix(rest, "2")) {
    return Fail(base::Error(base::Code::kUnavailable, "the proxy {} answers: {}",
                            route_.proxy.text(), line));
  }
  received_.erase(0, end + 4);
  Tunnelled();
}

void Dialer::OnEnd(base::Status status) {
  if (status.ok()) status = base::Error(base::Code::kUnavailable, "the peer closed the connection");
  if (step_ == Step::kConnecting && attempts_ < addresses_.size()) return TryNext();
  Fail(std::move(status));
}

void Dialer::Fail(base::Status status) {
  timer_.Cancel();
  attempt_timer_.Cancel();
  socket_.reset();
  if (!route_.proxy.host.empty() && step_ == Step::kConnecting) {
    status = status.In(fmt::format("proxy {}", route_.proxy.text()));
  }
  const auto done = std::exchange(done_, nullptr);
  if (done) done(std::move(status));
}

void Dialer::Succeed() {
  timer_.Cancel();
  const auto done = std::exchange(done_, nullptr);
  done(Dialed{std::move(socket_), std::move(received_)});
}

}  // namespace isthmus::http
