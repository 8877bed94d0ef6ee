// http::Server on a unix socket, with a handler that uses all that a stream can do.
#include <unistd.h>

#include <algorithm>

#include "base/files.h"
#include "base/loop.h"
#include "frame_script.h"
#include "fuzz.h"
#include "http/server.h"
#include "http/socket.h"
#include "http/websocket.h"
#include "rpc/server.h"

namespace isthmus::fuzz {
namespace {

constexpr std::string_view kGood = "GET /good HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
constexpr auto kPatience = std::chrono::seconds(30);

/// A stranger's connection.
class Stranger final : public http::SocketHandler {
 public:
  Stranger(base::Loop& loop, const std::string& path) : socket_(loop, this) {
    socket_.ConnectUnix(path);
  }
  void Send(std::string_view bytes) {
    socket_.WriteCopy(bytes);
    socket_.FlushSoon();
  }
  void Finish() { socket_.Finish(); }
  void OnBytes(std::string_view bytes) override {
    if (received.size() < 4096) received += bytes;
  }
  void OnEnd(base::Status) override { closed = true; }
  void OnWritable() override {}

  std::string received;
  bool closed = false;

 private:
  http::Socket socket_;
};

/// Sends what comes back to the one who sent it; keeps itself until the connection ends.
void EchoWebSocket(std::unique_ptr<http::ByteStream> stream) {
  auto socket =
      std::make_shared<http::WebSocket>(std::move(stream), http::WebSocket::Role::kServer);
  socket->OnMessage([raw = socket.get()](std::string_view payload, bool binary) {
    raw->Send(payload, binary);
    if (payload == "close") raw->Close();
  });
  // The callback goes when it has been called, and the socket with it.
  socket->OnClose([socket](const base::Status&) {});
}

class HttpTarget : public Target {
 public:
  HttpTarget() : server_(MakeServer()) {
    router_.Add("/fuzz.Echo/Call", [](const std::shared_ptr<rpc::ServerCall>& call) {
      call->OnMessage(
          [call](std::string_view message) { call->Send({base::Slice::Copy(message)}); },
          [call] { call->Finish({}); });
      call->OnClose([] {});
    });
    Require(server_->Start().ok(), "the server starts");
  }
  ~HttpTarget() override {
    server_.reset();
    loop_.RunUntil([] { return true; }, kPatience);
    ::unlink(path_.c_str());
    ::rmdir(folder_.c_str());
  }

 protected:
  void Feed(std::string_view bytes, Random& random) {
    Stranger stranger(loop_, path_);
    for (const std::string_view piece : Cut(bytes, random)) {
      stranger.Send(piece);
      for (size_t turns = random.Below(4); turns > 0; --turns) Turn();
    }
    stranger.Finish();
    Require(loop_.RunUntil([&] { return stranger.closed; }, kPatience),
            "the server closes the connection of one who has gone");
    if (random.OneIn(32)) CheckThatOthersAreServed();
  }

 private:
  std::unique_ptr<http::Server> MakeServer() {
    char folder[] = "/tmp/isthmus-fuzz-XXXXXX";
    Require(::mkdtemp(folder) != nullptr, "a folder for the socket");
    folder_ = folder;
    path_ = folder_ + "/socket";
    http::ServerOptions options;
    options.address = "unix:" + path_;
    options.max_concurrent_streams = 20;
    options.max_header_bytes = 8 * 1024;
    return std::make_unique<http::Server>(
        loop_, options,
        [this](const std::shared_ptr<http::ServerStream>& stream) { Serve(stream); });
  }

  void Turn() {
    bool turned = false;
    loop_.Post([&turned] { turned = true; });
    loop_.RunUntil([&turned] { return turned; }, kPatience);
  }

  void CheckThatOthersAreServed() {
    Stranger stranger(loop_, path_);
    stranger.Send(kGood);
    Require(loop_.RunUntil([&] { return stranger.closed; }, kPatience),
            "a good request is answered");
    Require(stranger.received.starts_with("HTTP/1.1 200 "), "a good request is answered with 200");
  }

  void Serve(const std::shared_ptr<http::ServerStream>& stream) {
    if (rpc::Router::IsGrpc(stream->head())) return router_.Serve(stream);
    const std::string path = stream->head().path();
    const auto has = [&](std::string_view word) { return path.find(word) != std::string::npos; };
    if (has("read"))
      return stream->ReadBody(1000, [stream](std::string body) {
        stream->Respond(200, "text/plain", std::move(body));
      });
    if (has("stream")) return ServeStream(stream);
    if (has("reset")) return stream->Reset();
    if (has("keep")) return stream->OnClose([stream] {});
    if (has("later")) return loop_.Post([stream] { stream->Respond(201, "text/plain", "later"); });
    if (http::WantsWebSocket(stream->head()) || has("upgrade")) {
      const auto protocol = http::ChooseProtocol(stream->head(), {"v5.channel.k8s.io", "a"});
      auto upgraded = stream->Upgrade(http::WebSocketAnswer(stream->head(), protocol));
      if (upgraded != nullptr) return EchoWebSocket(std::move(upgraded));
    }
    std::string text = path;
    for (const auto& [name, value] : stream->head().query()) text += "\n" + name + "=" + value;
    stream->Respond(200, "text/plain", text);
  }

  static void ServeStream(const std::shared_ptr<http::ServerStream>& stream) {
    stream->SendHeaders(200, {{"x-a", stream->head().target}});
    stream->OnBody(
        [stream](std::string_view piece) {
          stream->PauseBody(piece.size() % 2 == 1);
          stream->SendData(base::Slice::Copy(piece));
          stream->PauseBody(false);
        },
        [stream] {
          stream->SendTrailers({{"x-end", "yes"}});
        });
  }

  base::Loop loop_;
  rpc::Router router_{1 << 16};
  std::string folder_, path_;
  std::unique_ptr<http::Server> server_;
};

class Http1Target final : public HttpTarget {
 public:
  void Run(std::string_view input, Random& random) override { Feed(input, random); }
};

/// Inputs are scripts of frames, so that most of what is sent gets past the framing.
class Http2Target final : public HttpTarget {
 public:
  void Run(std::string_view input, Random& random) override {
    std::string wire = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    wire += Http2Frames(input);
    if (random.OneIn(4)) wire[random.Below(wire.size())] = static_cast<char>(random.Next());
    Feed(wire, random);
  }
};

}  // namespace

std::unique_ptr<Target> NewHttp1Target() { return std::make_unique<Http1Target>(); }
std::unique_ptr<Target> NewHttp2Target() { return std::make_unique<Http2Target>(); }

}  // namespace isthmus::fuzz
