#include "lab/node/dns_server.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <list>

#include "lab/network/fd.h"
#include "lab/network/fd_watch.h"

namespace isthmus::lab::node {
namespace {
constexpr size_t kUdpLimit = 1232;  // What passes everywhere without fragments.
constexpr size_t kMostPeers = 256;
}  // namespace

struct DnsServer::Impl {
  struct Peer {
    network::Fd fd;
    network::FdWatch watch;
    base::Timer idle;
    std::string received;
  };

  base::Loop& loop;
  Answer answer;
  std::unique_ptr<base::UdpSocket> udp;
  network::Fd listener;
  network::FdWatch accepts;
  std::list<Peer> peers;

  Impl(base::Loop& loop_in, Answer answer_in) : loop(loop_in), answer(std::move(answer_in)) {}

  void Accept() {
    network::Fd fd(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!fd.valid() || peers.size() >= kMostPeers) return;
    auto peer = peers.emplace(peers.end());
    peer->fd = std::move(fd);
    peer->watch = network::FdWatch::Readable(loop, peer->fd.get(), [this, peer] { Read(peer); });
    peer->idle =
        base::Timer::After(loop, std::chrono::seconds(10), [this, peer] { peers.erase(peer); });
  }

  // Each message follows its length in two bytes.
  void Read(std::list<Peer>::iterator peer) {
    char buffer[4096];
    const ssize_t n = read(peer->fd.get(), buffer, sizeof buffer);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) return static_cast<void>(peers.erase(peer));
    std::string& text = peer->received.append(buffer, static_cast<size_t>(n));
    while (text.size() >= 2) {
      const size_t size =
          static_cast<unsigned char>(text[0]) << 8 | static_cast<unsigned char>(text[1]);
      if (text.size() < 2 + size) return;
      std::string out = answer(std::string_view(text).substr(2, size), 65535);
      text.erase(0, 2 + size);
      if (out.empty()) return static_cast<void>(peers.erase(peer));
      out.insert(0, {static_cast<char>(out.size() >> 8), static_cast<char>(out.size() & 255)});
      if (send(peer->fd.get(), out.data(), out.size(), MSG_NOSIGNAL) !=
          static_cast<ssize_t>(out.size()))
        return static_cast<void>(peers.erase(peer));
    }
  }
};

DnsServer::DnsServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
DnsServer::~DnsServer() = default;
uint16_t DnsServer::port() const { return impl_->udp->local().port(); }

base::Result<std::unique_ptr<DnsServer>> DnsServer::Start(base::Loop& loop, const std::string& ip,
                                                          uint16_t port, Answer answer) {
  auto impl = std::make_unique<Impl>(loop, std::move(answer));
  Impl* raw = impl.get();
  ASSIGN_OR_RETURN(const base::SocketAddress address, base::SocketAddress::From(ip, port), "DNS");
  ASSIGN_OR_RETURN(
      impl->udp,
      base::UdpSocket::Bind(loop, address,
                            [raw](std::string_view query, const base::SocketAddress& from) {
                              const std::string out = raw->answer(query, kUdpLimit);
                              if (!out.empty()) (void)raw->udp->Send(out, from);
                            }),
      "DNS");
  const base::SocketAddress bound = impl->udp->local();
  impl->listener.Reset(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int yes = 1;
  setsockopt(impl->listener.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (bind(impl->listener.get(), bound.raw(), sizeof(sockaddr_in)) != 0 ||
      listen(impl->listener.get(), 64) != 0)
    return base::Error(base::Code::kUnavailable, "DNS: listening on {}: {}", bound.text(),
                       strerror(errno));
  impl->accepts = network::FdWatch::Readable(loop, impl->listener.get(), [raw] { raw->Accept(); });
  return std::unique_ptr<DnsServer>(new DnsServer(std::move(impl)));
}

}  // namespace isthmus::lab::node
