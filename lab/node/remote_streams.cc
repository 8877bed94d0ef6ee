#include "lab/node/remote_streams.h"

#include <array>
#include <map>

#include "base/loop.h"
#include "base/strings.h"
#include "http/websocket.h"
#include "kubeapi/json.h"
#include "lab/node/spdy.h"

namespace isthmus::lab::node {
namespace {

using kubeapi::Json;
using std::chrono_literals::operator""s;

constexpr std::array<const char*, 5> kChannelNames = {"stdin", "stdout", "stderr", "error",
                                                      "resize"};

// What goes on the error channel at the end. Protocols before v4 have plain text, and nothing for
// success.
std::string Verdict(int version, int exit_code, const std::string& message) {
  if (version < 4) {
    if (!message.empty()) return message;
    return exit_code == 0 ? "" : fmt::format("command terminated with exit code {}", exit_code);
  }
  Json status = {{"metadata", Json::object()},
                 {"status", exit_code == 0 && message.empty() ? "Success" : "Failure"}};
  if (!message.empty()) {
    status["message"] = message;
    status["reason"] = "InternalError";
  } else if (exit_code != 0) {
    status["message"] =
        fmt::format("command terminated with non-zero exit code: exit status {}", exit_code);
    status["reason"] = "NonZeroExitCode";
    status["details"] = {{"causes", Json::array({{{"reason", "ExitCode"},
                                                  {"message", std::to_string(exit_code)}}})}};
  }
  return kubeapi::ToJson(status);
}

class SpdyStreams final : public RemoteStreams {
 public:
  SpdyStreams(base::Loop& loop, std::unique_ptr<http::ByteStream> connection, int version,
              int expected, Events events)
      : version_(version),
        expected_(expected),
        events_(std::move(events)),
        session_(
            std::move(connection),
            {.opened = [this](uint32_t id, const SpdyHeaders& headers) { Opened(id, headers); },
             .data =
                 [this](uint32_t id, std::string_view bytes) {
                   if (auto found = channels_.find(id); found != channels_.end())
                     events_.data(found->second, bytes);
                 },
             .ended =
                 [this](uint32_t id) {
                   if (auto found = channels_.find(id); found != channels_.end())
                     events_.ended(found->second);
                 },
             .closed = [this](const base::Status&) { events_.closed(); }}) {
    session_.OnDrain([this] { events_.drained(); });
    // Whoever does not open what they announced is not waited for.
    patience_ = base::Timer::After(loop, 30s, [this] { events_.closed(); });
  }

  void Send(Channel channel, std::string_view bytes) override {
    if (const uint32_t id = IdOf(channel); id != 0 && !bytes.empty()) session_.Send(id, bytes);
  }
  void Finish(int exit_code, const std::string& message) override {
    if (const uint32_t id = IdOf(kError); id != 0)
      session_.Send(id, Verdict(version_, exit_code, message), true);
    for (const auto& [id, channel] : channels_)
      if (channel == kStdout || channel == kStderr) session_.Send(id, "", true);
    session_.Finish();
  }
  size_t buffered() const override { return session_.buffered(); }
  void PauseReading(bool pause) override { session_.PauseReading(pause); }

 private:
  void Opened(uint32_t id, const SpdyHeaders& headers) {
    session_.Accept(id);
    for (const auto& [name, value] : headers) {
      if (!base::EqualsIgnoreCase(name, "streamtype")) continue;
      for (size_t i = 0; i < kChannelNames.size(); ++i)
        if (value == kChannelNames[i]) channels_[id] = static_cast<Channel>(i);
    }
    if (static_cast<int>(channels_.size()) != expected_) return;
    patience_.Cancel();
    events_.ready();
  }
  uint32_t IdOf(Channel channel) const {
    for (const auto& [id, candidate] : channels_)
      if (candidate == channel) return id;
    return 0;
  }

  const int version_;
  const int expected_;
  Events events_;
  std::map<uint32_t, Channel> channels_;
  base::Timer patience_;
  SpdySession session_;
};

class WebSocketStreams final : public RemoteStreams {
 public:
  WebSocketStreams(base::Loop& loop, std::unique_ptr<http::ByteStream> connection, int version,
                   Events events)
      : version_(version),
        events_(std::move(events)),
        socket_(std::move(connection), http::WebSocket::Role::kServer) {
    socket_.OnMessage([this](std::string_view message, bool) {
      if (message.empty()) return;
      const int channel = static_cast<unsigned char>(message[0]);
      // Since v5: the client closes a channel by 255 and its number.
      if (channel == 255 && message.size() >= 2)
        return events_.ended(static_cast<Channel>(message[1]));
      if (channel <= kResize) events_.data(static_cast<Channel>(channel), message.substr(1));
    });
    socket_.OnClose([this](const base::Status&) { events_.closed(); });
    socket_.OnDrain([this] { events_.drained(); });
    start_ = base::Timer::After(loop, base::Duration::zero(), [this] { events_.ready(); });
  }

  void Send(Channel channel, std::string_view bytes) override {
    std::string message(1, static_cast<char>(channel));
    socket_.Send(message.append(bytes));
  }
  void Finish(int exit_code, const std::string& message) override {
    const std::string verdict = Verdict(version_, exit_code, message);
    if (!verdict.empty()) Send(kError, verdict);
    socket_.Close();
  }
  size_t buffered() const override { return socket_.buffered(); }
  void PauseReading(bool pause) override { socket_.PauseReading(pause); }

 private:
  const int version_;
  Events events_;
  http::WebSocket socket_;
  base::Timer start_;
};

// "v4.channel.k8s.io" to 4.
int VersionOf(std::string_view protocol) {
  return protocol.size() > 1 && protocol[0] == 'v' ? protocol[1] - '0' : 1;
}

}  // namespace

bool WantsSpdy(const http::RequestHead& head) {
  return base::EqualsIgnoreCase(head.headers.Get("upgrade").value_or(""), "SPDY/3.1");
}

std::string ChooseStreamProtocol(const http::RequestHead& head,
                                 const std::vector<std::string>& ours) {
  std::vector<std::string> theirs;
  for (const auto& [name, value] : head.headers.all())
    if (name == "x-stream-protocol-version")
      for (std::string& item : base::SplitList(value)) theirs.push_back(std::move(item));
  for (const std::string& candidate : ours)
    for (const std::string& offered : theirs)
      if (candidate == offered) return candidate;
  return "";
}

std::unique_ptr<RemoteStreams> RemoteStreams::Accept(
    base::Loop& loop, const std::shared_ptr<http::ServerStream>& stream,
    const RemoteRequest& request, Events events) {
  const http::RequestHead& head = stream->head();
  if (http::WantsWebSocket(head)) {
    const std::string protocol =
        http::ChooseProtocol(head, {"v5.channel.k8s.io", "v4.channel.k8s.io", "channel.k8s.io"});
    auto connection = stream->Upgrade(http::WebSocketAnswer(head, protocol));
    if (connection == nullptr) return nullptr;
    return std::make_unique<WebSocketStreams>(loop, std::move(connection), VersionOf(protocol),
                                              std::move(events));
  }
  if (!WantsSpdy(head)) {
    stream->Respond(400, "text/plain", "you must upgrade to SPDY/3.1 or a WebSocket\n");
    return nullptr;
  }
  const std::string protocol = ChooseStreamProtocol(
      head, {"v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"});
  http::Headers headers = {{"connection", "Upgrade"}, {"upgrade", "SPDY/3.1"}};
  if (!protocol.empty()) headers.Add("x-stream-protocol-version", protocol);
  auto connection = stream->Upgrade(headers);
  if (connection == nullptr) return nullptr;
  const int version = VersionOf(protocol);
  const int expected =
      1 + request.in + request.out + (request.err && !request.tty) + (request.tty && version >= 3);
  return std::make_unique<SpdyStreams>(loop, std::move(connection), version, expected,
                                       std::move(events));
}

}  // namespace isthmus::lab::node
