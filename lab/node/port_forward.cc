#include "lab/node/port_forward.h"

#include <arpa/inet.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <map>

#include "base/strings.h"
#include "http/websocket.h"
#include "lab/network/fd_stream.h"
#include "lab/network/netns.h"
#include "lab/node/remote_streams.h"
#include "lab/node/spdy.h"

namespace isthmus::lab::node {
namespace {

using network::FdStream;

constexpr char kSpdyProtocol[] = "portforward.k8s.io";
constexpr char kTunnelProtocol[] = "SPDY/3.1+portforward.k8s.io";

// A connection under way to 127.0.0.1:port of the pod's network.
base::Result<network::Fd> Dial(const std::string& network_namespace, uint16_t port) {
  network::Fd fd;
  auto open_socket = [&]() -> base::Status {
    fd.Reset(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    // Loopback answers at once, so that blocking is no wait.
    if (connect(fd.get(), reinterpret_cast<sockaddr*>(&to), sizeof to) == 0) return {};
    return base::Error(base::Code::kUnavailable,
                       "error forwarding port {} to pod: connecting to 127.0.0.1:{}: {}", port,
                       port, strerror(errno));
  };
  base::Status status;
  if (network_namespace.empty()) {
    status = open_socket();
  } else {
    ASSIGN_OR_RETURN(const network::NetNs ns, network::NetNs::Open(network_namespace),
                     "the pod's network");
    status = ns.Within(open_socket);
  }
  if (!status.ok()) return status;
  return fd;
}

// SPDY bytes as WebSocket messages look like a connection.
class TunnelStream final : public http::ByteStream {
 public:
  explicit TunnelStream(std::unique_ptr<http::ByteStream> connection)
      : socket_(std::move(connection), http::WebSocket::Role::kServer) {}
  void OnData(std::function<void(std::string_view)> callback) override {
    socket_.OnMessage(
        [callback = std::move(callback)](std::string_view bytes, bool) { callback(bytes); });
  }
  void OnClose(std::function<void(base::Status)> callback) override {
    socket_.OnClose(std::move(callback));
  }
  void Write(base::Slice bytes) override { socket_.Send(bytes.view()); }
  void Finish() override { socket_.Close(); }
  size_t buffered() const override { return socket_.buffered(); }
  void OnDrain(std::function<void()> callback) override { socket_.OnDrain(std::move(callback)); }
  void PauseReading(bool pause) override { socket_.PauseReading(pause); }

 private:
  http::WebSocket socket_;
};

class SpdyForward {
 public:
  static void Start(base::Loop& loop, std::unique_ptr<http::ByteStream> connection,
                    const std::string& ns) {
    auto self = std::make_shared<SpdyForward>(loop, ns);
    SpdyForward* raw = self.get();
    raw->self_ = self;
    raw->session_ = std::make_unique<SpdySession>(
        std::move(connection),
        SpdySession::Events{
            .opened = [raw](uint32_t id, const SpdyHeaders& headers) { raw->Opened(id, headers); },
            .data = [raw](uint32_t id, std::string_view bytes) { raw->FromClient(id, bytes); },
            .ended = [raw](uint32_t id) { raw->ClientEnded(id); },
            .closed = [raw](const base::Status&) { raw->End(); }});
    raw->session_->OnDrain([raw] {
      for (auto& [id, target] : raw->targets_) target->PauseReading(false);
    });
  }
  SpdyForward(base::Loop& loop, std::string ns) : loop_(loop), ns_(std::move(ns)) {}

 private:
  // A connection is two streams with one request id: first "error", then "data".
  void Opened(uint32_t id, const SpdyHeaders& headers) {
    std::map<std::string, std::string> values;
    for (const auto& [name, value] : headers) values[base::ToLower(name)] = value;
    session_->Accept(id);
    const std::string request = values["requestid"];
    if (values["streamtype"] == "error") {
      errors_[request] = id;
      return;
    }
    const auto port = base::ParseInt(values["port"]);
    const auto error_stream = errors_.find(request);
    const uint32_t error_id = error_stream == errors_.end() ? 0 : error_stream->second;
    if (error_id != 0) errors_.erase(error_stream);
    auto fd = port.ok() && *port > 0 && *port < 65536
                  ? Dial(ns_, static_cast<uint16_t>(*port))
                  : base::Result<network::Fd>(base::Error(base::Code::kInvalidArgument,
                                                          "not a port: {}", values["port"]));
    if (!fd.ok()) {
      session_->Send(error_id, fd.status().message(), true);
      session_->Send(id, "", true);
      return;
    }
    targets_[id] = std::make_unique<FdStream>(
        loop_, std::move(*fd),
        FdStream::Events{.data = [this, id](std::string_view bytes) { FromPod(id, bytes); },
                         .end = [this, id, error_id] { PodEnded(id, error_id); }});
  }
  void FromClient(uint32_t id, std::string_view bytes) {
    if (auto target = targets_.find(id); target != targets_.end()) target->second->Write(bytes);
  }
  void ClientEnded(uint32_t id) {
    if (auto target = targets_.find(id); target != targets_.end()) target->second->FinishWriting();
  }
  void FromPod(uint32_t id, std::string_view bytes) {
    session_->Send(id, bytes);
    if (session_->buffered() > kMostUnsent) targets_[id]->PauseReading(true);
  }
  void PodEnded(uint32_t id, uint32_t error_id) {
    session_->Send(id, "", true);
    session_->Send(error_id, "", true);
    // From the loop: this comes out of the target itself.
    loop_.Post([this, id, weak = std::weak_ptr<SpdyForward>(self_)] {
      if (!weak.expired()) targets_.erase(id);
    });
  }
  void End() {
    loop_.Post([self = std::exchange(self_, nullptr)] {});
  }

  base::Loop& loop_;
  const std::string ns_;
  std::shared_ptr<SpdyForward> self_;
  std::map<std::string, uint32_t> errors_;
  std::map<uint32_t, std::unique_ptr<FdStream>> targets_;
  std::unique_ptr<SpdySession> session_;
};

// The older form: for the i-th port of the query, channel 2i is data and 2i+1 errors; the first
// message of each channel is the port's number.
class ChannelForward {
 public:
  static void Start(base::Loop& loop, std::unique_ptr<http::ByteStream> connection,
                    const std::string& ns, const std::vector<uint16_t>& ports) {
    auto self = std::make_shared<ChannelForward>(loop, std::move(connection));
    ChannelForward* raw = self.get();
    raw->self_ = self;
    raw->socket_.OnMessage([raw](std::string_view message, bool) {
      if (message.size() < 2) return;
      const auto target = raw->targets_.find(static_cast<unsigned char>(message[0]));
      if (target != raw->targets_.end()) target->second->Write(message.substr(1));
    });
    raw->socket_.OnClose([raw](const base::Status&) { raw->End(); });
    for (size_t i = 0; i < ports.size() && i < 120; ++i)
      raw->Join(static_cast<int>(i) * 2, ns, ports[i]);
  }
  ChannelForward(base::Loop& loop, std::unique_ptr<http::ByteStream> connection)
      : loop_(loop), socket_(std::move(connection), http::WebSocket::Role::kServer) {}

 private:
  void Send(int channel, std::string_view bytes) {
    std::string message(1, static_cast<char>(channel));
    socket_.Send(message.append(bytes));
  }
  void Join(int channel, const std::string& ns, uint16_t port) {
    const std::string number = {static_cast<char>(port & 255), static_cast<char>(port >> 8)};
    Send(channel, number);
    Send(channel + 1, number);
    auto fd = Dial(ns, port);
    if (!fd.ok()) return Send(channel + 1, fd.status().message());
    targets_[channel] = std::make_unique<FdStream>(
        loop_, std::move(*fd),
        FdStream::Events{.data = [this, channel](std::string_view bytes) { Send(channel, bytes); },
                         .end = [this] { socket_.Close(); }});
  }
  void End() {
    loop_.Post([self = std::exchange(self_, nullptr)] {});
  }

  base::Loop& loop_;
  std::shared_ptr<ChannelForward> self_;
  std::map<int, std::unique_ptr<FdStream>> targets_;
  http::WebSocket socket_;
};

std::vector<uint16_t> PortsOf(const http::RequestHead& head) {
  std::vector<uint16_t> ports;
  for (const auto& [name, value] : head.query()) {
    if (name != "port" && name != "ports") continue;
    for (const std::string& item : base::SplitList(value))
      if (auto port = base::ParseInt(item); port.ok() && *port > 0 && *port < 65536)
        ports.push_back(static_cast<uint16_t>(*port));
  }
  return ports;
}

}  // namespace

void ServePortForward(base::Loop& loop, const std::shared_ptr<http::ServerStream>& stream,
                      const std::string& ns) {
  const http::RequestHead& head = stream->head();
  if (http::WantsWebSocket(head)) {
    const std::string protocol = http::ChooseProtocol(head, {kTunnelProtocol, "v4.channel.k8s.io"});
    const std::vector<uint16_t> ports = PortsOf(head);
    if (protocol != kTunnelProtocol && ports.empty())
      return stream->Respond(400, "text/plain", "query parameter \"ports\" is required\n");
    auto connection = stream->Upgrade(http::WebSocketAnswer(head, protocol));
    if (connection == nullptr) return;
    if (protocol != kTunnelProtocol)
      return ChannelForward::Start(loop, std::move(connection), ns, ports);
    return SpdyForward::Start(loop, std::make_unique<TunnelStream>(std::move(connection)), ns);
  }
  if (!WantsSpdy(head))
    return stream->Respond(400, "text/plain", "you must upgrade to SPDY/3.1 or a WebSocket\n");
  auto connection = stream->Upgrade({{"connection", "Upgrade"},
                                     {"upgrade", "SPDY/3.1"},
                                     {"x-stream-protocol-version", kSpdyProtocol}});
  if (connection != nullptr) SpdyForward::Start(loop, std::move(connection), ns);
}

}  // namespace isthmus::lab::node
