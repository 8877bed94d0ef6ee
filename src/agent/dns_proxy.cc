#include "agent/dns_proxy.h"

#include <algorithm>
#include <map>
#include <random>

#include "base/log.h"
#include "base/strings.h"
#include "http/tcp.h"

namespace isthmus::agent {
namespace {

using base::Code;
using Reply = std::function<void(std::string)>;

constexpr size_t kMostForwards = 1024;

std::mt19937& Random() {
  static std::mt19937 generator{std::random_device{}()};
  return generator;
}

/// A DNS message with its length before it, as over TCP.
std::string Framed(std::string_view message) {
  std::string framed;
  framed += static_cast<char>(message.size() >> 8);
  framed += static_cast<char>(message.size() & 0xff);
  framed += message;
  return framed;
}

/// Takes a whole message off the front of `buffer`.
bool TakeMessage(std::string& buffer, std::string& message) {
  if (buffer.size() < 2) return false;
  const size_t size =
      static_cast<size_t>(static_cast<uint8_t>(buffer[0])) << 8 | static_cast<uint8_t>(buffer[1]);
  if (buffer.size() < size + 2) return false;
  message = buffer.substr(2, size);
  buffer.erase(0, size + 2);
  return true;
}

/// One question on its way through the upstream resolvers, one after the other. Keeps itself alive.
class Forward : public std::enable_shared_from_this<Forward> {
 public:
  Forward(base::Loop& loop, std::string message, std::vector<base::SocketAddress> upstreams,
          base::Duration timeout, bool tcp, Reply reply)
      : loop_(loop),
        message_(std::move(message)),
        upstreams_(std::move(upstreams)),
        timeout_(timeout),
        tcp_(tcp),
        reply_(std::move(reply)) {}

  void Start() {
    keep_ = shared_from_this();
    Next();
  }

 private:
  void Next() {
    socket_.reset();
    stream_.reset();
    dial_.reset();
    if (at_ == upstreams_.size()) return Finish({});
    const base::SocketAddress& upstream = upstreams_[at_++];
    timer_ = base::Timer::After(loop_, timeout_, [this] { Next(); });
    tcp_ ? AskTcp(upstream) : AskUdp(upstream);
  }

  // Posted, since each may be called from a callback of what it destroys.
  void NextSoon() {
    loop_.Post([self = shared_from_this()] {
      if (self->reply_) self->Next();
    });
  }

  void AskUdp(const base::SocketAddress& upstream) {
    // A socket, and so a port, of its own for each question makes forged answers hard.
    const base::Result<base::SocketAddress> any =
        base::SocketAddress::From(upstream.is_v6() ? "::" : "0.0.0.0", 0);
    if (!any.ok()) return NextSoon();
    base::Result<std::unique_ptr<base::UdpSocket>> socket = base::UdpSocket::Bind(
        loop_, *any, [this, upstream](std::string_view datagram, const base::SocketAddress& from) {
          if (from == upstream && datagram.size() >= 12 &&
              datagram.substr(0, 2) == std::string_view(message_).substr(0, 2))
            Finish(std::string(datagram));
        });
    if (!socket.ok()) return NextSoon();
    socket_ = std::move(*socket);
    if (!socket_->Send(message_, upstream).ok()) NextSoon();
  }

  void AskTcp(const base::SocketAddress& upstream) {
    dial_ = http::DialTcp(loop_, {upstream.ip(), upstream.port()}, timeout_,
                          [this](base::Result<std::unique_ptr<http::ByteStream>> stream) {
                            if (!stream.ok()) return NextSoon();
                            stream_ = std::move(*stream);
                            stream_->OnData([this](std::string_view bytes) {
                              received_ += bytes;
                              std::string answer;
                              if (TakeMessage(received_, answer)) Finish(std::move(answer));
                            });
                            stream_->OnClose([this](base::Status) { NextSoon(); });
                            stream_->Write(base::Slice(Framed(message_)));
                          });
  }

  void Finish(std::string answer) {
    timer_.Cancel();
    if (const Reply reply = std::exchange(reply_, nullptr)) reply(std::move(answer));
    loop_.Post([self = std::exchange(keep_, nullptr)]() mutable { self.reset(); });
  }

  base::Loop& loop_;
  const std::string message_;
  std::vector<base::SocketAddress> upstreams_;
  const base::Duration timeout_;
  const bool tcp_;
  Reply reply_;
  size_t at_ = 0;
  base::Timer timer_;
  std::unique_ptr<base::UdpSocket> socket_;
  std::unique_ptr<http::ByteStream> stream_;
  std::shared_ptr<void> dial_;
  std::string received_;
  std::shared_ptr<Forward> keep_;
};

}  // namespace

struct DnsProxy::Impl : std::enable_shared_from_this<Impl> {
  Impl(base::Loop& loop, base::MetricRegistry& metrics, DnsProxyOptions options)
      : loop(loop), metrics(metrics), options(std::move(options)) {}

  base::Loop& loop;
  base::MetricRegistry& metrics;
  DnsProxyOptions options;
  std::vector<std::unique_ptr<base::UdpSocket>> sockets;
  std::vector<std::unique_ptr<http::TcpListener>> listeners;
  size_t forwards = 0;
  struct Connection {
    std::unique_ptr<http::ByteStream> stream;
    std::string received;
    base::Timer idle;
  };
  std::map<uint64_t, std::shared_ptr<Connection>> connections;
  uint64_t next_connection = 0;

  /// `reply` gets "" when there is nothing to say, as to a message that is no question.
  void Handle(std::string_view message, bool tcp, Reply reply) {
    metrics.AddCounter("istio_agent_dns_requests_total", "DNS questions.").Add();
    const base::Result<DnsQuery> query = ParseDnsQuery(message);
    if (!query.ok()) return reply({});
    const size_t limit = tcp ? 0 : query->udp_size;
    const std::shared_ptr<const NameTable> table = options.table();
    if (table == nullptr)
      return reply(MakeDnsAnswer(*query, {}, DnsCode::kServerFailure, false, limit));
    NameAnswer answer = query->dns_class == 1
                            ? LookUp(*table, options.scope, query->name, query->type)
                            : NameAnswer();
    if (answer.known) {
      const auto first_address =
          std::find_if(answer.records.begin(), answer.records.end(),
                       [](const DnsRecord& record) { return record.type != kDnsCname; });
      std::shuffle(first_address, answer.records.end(), Random());
      return reply(MakeDnsAnswer(*query, answer.records, DnsCode::kOk, true, limit));
    }
    Pass(*query, std::string(message), tcp, std::move(reply));
  }

  void Pass(const DnsQuery& query, std::string message, bool tcp, Reply reply) {
    if (forwards >= kMostForwards)
      return reply(MakeDnsAnswer(query, {}, DnsCode::kServerFailure, false, 0));
    ++forwards;
    metrics.AddCounter("istio_agent_dns_upstream_requests_total", "DNS questions passed on.").Add();
    std::vector<base::SocketAddress> upstreams = options.upstreams;
    std::shuffle(upstreams.begin(), upstreams.end(), Random());
    std::make_shared<Forward>(
        loop, std::move(message), std::move(upstreams), options.timeout, tcp,
        [weak = weak_from_this(), query, reply = std::move(reply)](std::string answer) {
          auto self = weak.lock();
          if (self == nullptr) return;
          --self->forwards;
          if (!answer.empty()) return reply(std::move(answer));
          self->metrics
              .AddCounter("istio_agent_dns_upstream_failures_total",
                          "DNS questions that no resolver answered.")
              .Add();
          reply(MakeDnsAnswer(query, {}, DnsCode::kServerFailure, false, 0));
        })
        ->Start();
  }

  base::Status Listen(const base::SocketAddress& address) {
    const size_t index = sockets.size();
    ASSIGN_OR_RETURN(std::unique_ptr<base::UdpSocket> socket,
                     base::UdpSocket::Bind(
                         loop, address,
                         [this, index](std::string_view datagram, const base::SocketAddress& from) {
                           Handle(datagram, false, [this, index, from](std::string answer) {
                             if (!answer.empty() && index < sockets.size())
                               (void)sockets[index]->Send(answer, from);
                           });
                         }),
                     "DNS over UDP");
    sockets.push_back(std::move(socket));
    ASSIGN_OR_RETURN(
        std::unique_ptr<http::TcpListener> listener,
        http::TcpListener::Listen(loop, address.ip(), address.port(),
                                  [this](std::unique_ptr<http::ByteStream> stream,
                                         const std::string&) { Accept(std::move(stream)); }),
        "DNS over TCP");
    listeners.push_back(std::move(listener));
    return {};
  }

  void Accept(std::unique_ptr<http::ByteStream> stream) {
    const uint64_t id = next_connection++;
    auto connection = std::make_shared<Connection>();
    connection->stream = std::move(stream);
    connections[id] = connection;
    TouchConnection(id);
    connection->stream->OnData([this, id](std::string_view bytes) { OnTcp(id, bytes); });
    connection->stream->OnClose([this, id](base::Status) { Close(id); });
  }

  void TouchConnection(uint64_t id) {
    connections[id]->idle =
        base::Timer::After(loop, std::chrono::seconds(30), [this, id] { Close(id); });
  }

  void OnTcp(uint64_t id, std::string_view bytes) {
    const auto at = connections.find(id);
    if (at == connections.end()) return;
    const std::shared_ptr<Connection> connection = at->second;
    TouchConnection(id);
    connection->received += bytes;
    std::string message;
    while (TakeMessage(connection->received, message)) {
      Handle(message, true, [weak = std::weak_ptr<Connection>(connection)](std::string answer) {
        auto connection = weak.lock();
        if (connection != nullptr && connection->stream != nullptr && !answer.empty())
          connection->stream->Write(base::Slice(Framed(answer)));
      });
    }
  }

  void Close(uint64_t id) {
    const auto at = connections.find(id);
    if (at == connections.end()) return;
    // A callback of the stream may be running.
    loop.Post([connection = std::move(at->second)]() mutable { connection.reset(); });
    connections.erase(at);
  }
};

DnsProxy::DnsProxy(base::Loop& loop, base::MetricRegistry& metrics, DnsProxyOptions options)
    : impl_(std::make_shared<Impl>(loop, metrics, std::move(options))) {}
DnsProxy::~DnsProxy() {
  // What is under way may keep the state a little longer; the ports close now.
  impl_->sockets.clear();
  impl_->listeners.clear();
  impl_->connections.clear();
}

base::Status DnsProxy::Start() {
  for (const base::SocketAddress& address : impl_->options.listen)
    RETURN_IF_ERROR(impl_->Listen(address), "DNS proxy on " + address.text());
  return {};
}

uint16_t DnsProxy::udp_port() const {
  return impl_->sockets.empty() ? 0 : impl_->sockets.front()->local().port();
}
uint16_t DnsProxy::tcp_port() const {
  return impl_->listeners.empty() ? 0 : impl_->listeners.front()->port();
}

std::string FirstSearchDomain(const std::string& resolv_conf) {
  std::string domain;
  for (const std::string_view line : base::Split(resolv_conf, '\n')) {
    const std::vector<std::string> words = base::SplitList(base::ReplaceAll(line, "\t", " "), ' ');
    // The last search line counts, as for resolvers.
    if (words.size() >= 2 && words[0] == "search") domain = words[1];
  }
  return base::ToLower(domain);
}

}  // namespace isthmus::agent
