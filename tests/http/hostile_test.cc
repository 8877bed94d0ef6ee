// What strangers may send: nothing of it may crash the server, hold it up, or make it keep much.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <optional>
#include <random>

#include "base/files.h"
#include "base/strings.h"
#include "http/client.h"
#include "http/listener.h"
#include "http/server.h"
#include "http/tls_session.h"
#include "tests/http/raw_client.h"

namespace isthmus::http {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

std::string Frame(uint8_t type, uint8_t flags, uint32_t stream, std::string_view payload) {
  std::string frame;
  for (const int shift : {16, 8, 0}) frame += static_cast<char>(payload.size() >> shift);
  frame += static_cast<char>(type);
  frame += static_cast<char>(flags);
  for (const int shift : {24, 16, 8, 0}) frame += static_cast<char>(stream >> shift);
  return frame + std::string(payload);
}
std::string Settings() { return Frame(4, 0, 0, ""); }
/// GET / with indexed fields and a literal authority.
std::string GetBlock() { return std::string("\x82\x86\x84\x41\x01x", 6); }
std::string Field(const std::string& name, const std::string& value) {
  std::string field("\0", 1);
  field += static_cast<char>(name.size());
  field += name;
  // Lengths of seven bits and more (RFC 7541, 5.1).
  size_t size = value.size();
  if (size < 127) {
    field += static_cast<char>(size);
  } else {
    field += '\x7f';
    for (size -= 127; size >= 128; size /= 128) field += static_cast<char>(size % 128 + 128);
    field += static_cast<char>(size);
  }
  return field + value;
}

size_t ResidentBytes() {
  const std::string status = base::ReadFile("/proc/self/statm").value();
  return static_cast<size_t>(base::ParseInt(base::Split(status, ' ')[1]).value()) * 4096;
}

// A sanitizer keeps freed memory; the size says nothing there.
#if defined(__SANITIZE_ADDRESS__) || defined(_GLIBCXX_TSAN)
constexpr size_t kSlack = size_t{1} << 30;
#else
constexpr size_t kSlack = 0;
#endif

class HostileTest : public testing::Test {
 protected:
  void Serve(ServerOptions options = {}, Handler handler = nullptr) {
    if (!handler) {
      handler = [this](std::shared_ptr<ServerStream> stream) {
        ++requests_;
        stream->ReadBody(
            1 << 20, [stream](std::string body) { stream->Respond(200, "text/plain", "fine"); });
      };
    }
    server_ = std::make_unique<Server>(loop_, std::move(options), std::move(handler));
    ASSERT_TRUE(server_->Start().ok());
  }
  /// The server still serves others.
  void ExpectAlive() {
    for (const bool http2 : {false, true}) {
      ClientOptions options;
      options.url = fmt::format("http://127.0.0.1:{}", server_->port());
      options.http2_prior_knowledge = http2;
      Client client(loop_, options);
      std::optional<base::Result<Response>> got;
      client.Fetch({}, seconds(10), [&](auto response) { got = std::move(response); });
      ASSERT_TRUE(loop_.RunUntil([&] { return got.has_value(); }, seconds(20)));
      ASSERT_TRUE(got->ok()) << got->status().message();
      EXPECT_EQ(got->value().body, "fine");
    }
  }

  base::Loop loop_;
  std::unique_ptr<Server> server_;
  int requests_ = 0;
};

TEST_F(HostileTest, BrokenHttp1IsAnsweredAndClosed) {
  Serve();
  const std::vector<std::string> broken = {
      "\r\n\r\nnonsense\r\n\r\n",
      "GET\r\n\r\n",
      "GET / HTTP/1.1\r\nbad header\r\n\r\n",
      "GET / HTTP/1.1\r\nhost: x\r\n folded: no\r\nbad name: x\r\n\r\n",
      "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
      "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999\r\n\r\n",
      "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
      "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: "
      "chunked\r\n\r\n0\r\n\r\n",
      "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip\r\n\r\nabc",
      "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
      std::string("GET / HTTP/1.1\r\nhost: \0x\r\n\r\n", 28),
  };
  for (const std::string& bytes : broken) {
    RawClient client(loop_, server_->port());
    client.Send(bytes);
    EXPECT_TRUE(client.WaitFor("HTTP/1.1 400 Bad Request")) << bytes;
    EXPECT_TRUE(client.WaitForClose()) << bytes;
  }
  EXPECT_EQ(requests_, 0);
  RawClient future(loop_, server_->port());
  future.Send("GET / HTTP/9.9\r\n\r\n");
  EXPECT_TRUE(future.WaitFor("HTTP/1.1 505 "));
  // What breaks after the head ends the connection.
  RawClient client(loop_, server_->port());
  client.Send("POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n");
  EXPECT_TRUE(client.WaitForClose());
  ExpectAlive();
}

TEST_F(HostileTest, HugeHeadersAreRefused) {
  Serve();
  {
    RawClient client(loop_, server_->port());
    client.Send("GET / HTTP/1.1\r\nhost: x\r\n");
    for (int i = 0; i < 100 && !client.closed; ++i) {
      client.Send(fmt::format("x-{}: {}\r\n", i, std::string(1000, 'v')));
      loop_.RunUntil([] { return false; }, milliseconds(0));
    }
    EXPECT_TRUE(client.WaitFor("HTTP/1.1 431 Request Header Fields Too Large"));
  }
  {
    RawClient client(loop_, server_->port());
    client.Send("GET /" + std::string(200000, 'a') + " HTTP/1.1\r\n\r\n");
    EXPECT_TRUE(client.WaitFor("HTTP/1.1 431"));
  }
  {
    // A header list that is small on the wire: one indexed field a thousand times.
    RawClient client(loop_, server_->port());
    std::string block = GetBlock() + "\x40" + Field("bomb", std::string(4000, 'b')).substr(1);
    for (int i = 0; i < 1000; ++i) block += '\xbe';
    client.Send(std::string(kPreface) + Settings() + Frame(1, 5, 1, block));
    EXPECT_TRUE(client.WaitFor(Frame(3, 0, 1, std::string("\0\0\0\x02", 4))));
  }
  {
    // Continuations without end.
    RawClient client(loop_, server_->port());
    client.Send(std::string(kPreface) + Settings() + Frame(1, 1, 1, GetBlock()));
    for (int i = 0; i < 1000; ++i) client.Send(Frame(9, 0, 1, Field("x", std::string(1000, 'v'))));
    EXPECT_TRUE(client.WaitForClose());
  }
  EXPECT_EQ(requests_, 0);
  ExpectAlive();
}

TEST_F(HostileTest, RapidResetEndsTheConnection) {
  Serve();
  RawClient client(loop_, server_->port());
  std::string bytes = std::string(kPreface) + Settings();
  for (uint32_t id = 1; id < 20001; id += 2) {
    bytes += Frame(1, 4, id, GetBlock()) + Frame(3, 0, id, std::string("\0\0\0\x08", 4));
  }
  client.Send(bytes);
  EXPECT_TRUE(client.WaitForClose());
  EXPECT_LT(requests_, 1100);
  // GOAWAY says why: ENHANCE_YOUR_CALM.
  EXPECT_NE(client.received.find(std::string("\x07\0\0\0\0\0", 6)), std::string::npos);
  ExpectAlive();
}

TEST_F(HostileTest, FloodsOfControlFramesAreBounded) {
  Serve();
  const std::vector<std::string> floods = {Frame(6, 0, 0, "12345678"),
                                           Settings(),
                                           Frame(4, 0, 0, std::string("\0\x04\0\0\xff\xff", 6)),
                                           Frame(1, 4, 0, GetBlock()),
                                           Frame(0, 0, 0, "x"),
                                           Frame(2, 0, 1, "12345"),
                                           Frame(99, 0, 7, "unknown")};
  for (const std::string& frame : floods) {
    RawClient client(loop_, server_->port());
    client.Pause(true);  // Reads none of the answers.
    std::string bytes = std::string(kPreface) + Settings();
    for (int i = 0; i < 20000; ++i) bytes += frame;
    const size_t before = ResidentBytes();
    client.Send(bytes);
    loop_.RunUntil([&] { return client.unsent() == 0; }, milliseconds(300));
    EXPECT_LT(ResidentBytes(), before + kSlack + (8 << 20));
  }
  ExpectAlive();
}

TEST_F(HostileTest, StreamsOverTheLimitAreRefused) {
  ServerOptions options;
  options.max_concurrent_streams = 10;
  std::vector<std::shared_ptr<ServerStream>> held;
  Serve(options, [&](std::shared_ptr<ServerStream> stream) { held.push_back(std::move(stream)); });
  RawClient client(loop_, server_->port());
  std::string bytes = std::string(kPreface) + Settings() + Frame(4, 1, 0, "");
  for (uint32_t id = 1; id < 401; id += 2) bytes += Frame(1, 5, id, GetBlock());
  client.Send(bytes);
  loop_.RunUntil([&] { return client.closed; }, milliseconds(100));
  EXPECT_LE(held.size(), 10u);
}

TEST_F(HostileTest, SlowClientsAreCutOff) {
  ServerOptions options;
  options.handshake_timeout = milliseconds(40);
  Serve(options);
  RawClient silent(loop_, server_->port()), dripping(loop_, server_->port()),
      half_preface(loop_, server_->port());
  half_preface.Send(kPreface.substr(0, 10));
  std::string request = "GET / HTTP/1.1\r\nhost: x\r\nx-long: ";
  base::Timer drip = base::Timer::Every(loop_, milliseconds(2), [&] {
    dripping.Send(request.empty() ? "x" : request.substr(0, 1));
    if (!request.empty()) request.erase(0, 1);
  });
  EXPECT_TRUE(loop_.RunUntil(
      [&] { return silent.closed && dripping.closed && half_preface.closed; }, seconds(10)));
  EXPECT_TRUE(loop_.RunUntil([&] { return server_->connections() == 0; }, seconds(10)));
  ExpectAlive();
}

TEST_F(HostileTest, SilentHttp2ClientsArePingedThenClosed) {
  ServerOptions options;
  options.keepalive = milliseconds(30);
  bool closed = false;
  std::shared_ptr<ServerStream> held;
  Serve(options, [&](std::shared_ptr<ServerStream> stream) {
    held = stream;
    stream->OnClose([&] { closed = true; });
  });
  RawClient client(loop_, server_->port());
  client.Send(std::string(kPreface) + Settings() + Frame(1, 5, 1, GetBlock()));
  EXPECT_TRUE(loop_.RunUntil([&] { return closed && client.closed; }, seconds(10)));
  EXPECT_NE(client.received.find(std::string("\0\0\x08\x06\0", 5)), std::string::npos)
      << "no ping came";
  // One that answers pings stays.
  ClientOptions to;
  to.url = fmt::format("http://127.0.0.1:{}", server_->port());
  to.http2_prior_knowledge = true;
  Client good(loop_, to);
  held.reset();
  closed = false;
  auto stream = good.Open({}, true, {});
  ASSERT_TRUE(loop_.RunUntil([&] { return held != nullptr; }, seconds(10)));
  EXPECT_FALSE(loop_.RunUntil([&] { return closed; }, milliseconds(200)));
}

TEST_F(HostileTest, ClientThatReadsNothingCostsLittle) {
  const base::Slice big(std::string(32 << 20, 'b'));
  Serve({}, [&](std::shared_ptr<ServerStream> stream) {
    stream->SendHeaders(200, {});
    stream->SendData(big, true);
  });
  const size_t before = ResidentBytes();
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < 20; ++i) {
    clients.push_back(std::make_unique<RawClient>(loop_, server_->port()));
    clients.back()->Pause(true);
    clients.back()->Send(i % 2 == 0
                             ? "GET / HTTP/1.1\r\nhost: x\r\n\r\n"
                             : std::string(kPreface) + Settings() + Frame(1, 5, 1, GetBlock()));
  }
  loop_.RunUntil([] { return false; }, milliseconds(100));
  EXPECT_LT(ResidentBytes(), before + kSlack + (16 << 20))
      << "the shared bytes were copied for each client";
  EXPECT_EQ(server_->connections(), 20u);
}

TEST_F(HostileTest, SlowReaderOfALastAnswerGetsAllOfIt) {
  constexpr size_t kSize = 32 << 20;
  ServerOptions options;
  options.keepalive = milliseconds(40);  // Makes the server look at its connections often.
  const base::Slice big(std::string(kSize, 'b'));
  Serve(options, [&](std::shared_ptr<ServerStream> stream) {
    stream->SendHeaders(200, {{"content-length", std::to_string(kSize)}});
    stream->SendData(big, true);
  });
  RawClient client(loop_, server_->port());
  client.Pause(true);
  client.Send("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
  loop_.RunUntil([] { return false; }, milliseconds(700));
  client.Pause(false);
  EXPECT_TRUE(client.WaitForClose());
  EXPECT_GT(client.received.size(), kSize);
  EXPECT_TRUE(loop_.RunUntil([&] { return server_->connections() == 0; }, seconds(10)));
}

TEST_F(HostileTest, PipelineWithoutReadingIsBounded) {
  Serve({}, [](std::shared_ptr<ServerStream> stream) { /* Never answers. */ });
  RawClient client(loop_, server_->port());
  std::string bytes;
  for (int i = 0; i < 500000; ++i) bytes += "GET / HTTP/1.1\r\nhost: x\r\n\r\n";
  client.Send(bytes);
  loop_.RunUntil([&] { return client.unsent() == 0; }, milliseconds(200));
  EXPECT_GT(client.unsent(), 0u) << "the server took all of a pipeline that it cannot serve";
}

TEST_F(HostileTest, RandomBytesAndMutatedFrames) {
  Serve();
  std::mt19937 random(4711);
  std::string good = std::string(kPreface) + Settings() + Frame(1, 4, 1, GetBlock()) +
                     Frame(0, 0, 1, "body") + Frame(0, 1, 1, "end") +
                     Frame(8, 0, 0, std::string("\0\0\x10\0", 4)) + Frame(6, 0, 0, "12345678") +
                     Frame(1, 5, 3, GetBlock()) + Frame(7, 0, 0, std::string(8, '\0'));
  const std::string good1 =
      "POST /a?b HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"
      "GET /2 HTTP/1.1\r\nhost: y\r\nconnection: upgrade\r\nupgrade: z\r\n\r\n";
  for (int round = 0; round < 300; ++round) {
    std::string bytes = round % 3 == 0 ? good1 : good;
    const size_t from = round % 3 == 0 ? 0 : kPreface.size();
    for (int change = 0; change <= round % 7; ++change) {
      const size_t at = from + random() % (bytes.size() - from);
      switch (random() % 3) {
        case 0:
          bytes[at] = static_cast<char>(random());
          break;
        case 1:
          bytes.erase(at, random() % 5);
          break;
        default:
          bytes.insert(at, std::string(random() % 5, static_cast<char>(random())));
      }
    }
    RawClient client(loop_, server_->port());
    // In pieces, so that every boundary is crossed somewhere.
    for (size_t at = 0; at < bytes.size();) {
      const size_t size = 1 + random() % 40;
      client.Send(std::string_view(bytes).substr(at, size));
      at += size;
      loop_.RunUntil([] { return true; }, milliseconds(0));
      if (random() % 2 == 0)
        loop_.Post([] {}), loop_.RunUntil([&] { return client.unsent() == 0; }, milliseconds(1));
    }
    loop_.RunUntil([&] { return client.closed; }, milliseconds(1));
  }
  EXPECT_TRUE(loop_.RunUntil([&] { return server_->connections() == 0; }, seconds(10)));
  ExpectAlive();
}

TEST_F(HostileTest, ManyConnectionsComeAndGo) {
  Serve();
  const size_t before = ResidentBytes();
  for (int round = 0; round < 5; ++round) {
    std::vector<std::unique_ptr<RawClient>> clients;
    for (int i = 0; i < 200; ++i) {
      clients.push_back(std::make_unique<RawClient>(loop_, server_->port()));
      clients.back()->Send(i % 2 == 0 ? "GET / HTTP/1.1\r\nhost: x\r\n\r\n"
                                      : std::string(kPreface) + Settings());
    }
    EXPECT_TRUE(loop_.RunUntil([&] { return server_->connections() == 200; }, seconds(20)));
    clients.clear();
    EXPECT_TRUE(loop_.RunUntil([&] { return server_->connections() == 0; }, seconds(20)));
  }
  EXPECT_LT(ResidentBytes(), before + kSlack + (32 << 20));
}

/// A server that answers every connection with the same bytes.
class Liar {
 public:
  Liar(base::Loop& loop, std::string answer) {
    listener_ = Listener::Open(loop, "127.0.0.1", 0, [this, &loop, answer](uv_stream_s* stream) {
                  auto peer = std::make_unique<Peer>(loop);
                  if (!peer->socket.Accept(stream, nullptr).ok()) return;
                  peer->socket.WriteCopy(answer);
                  peer->socket.FlushSoon();
                  peers_.push_back(std::move(peer));
                }).value();
  }
  uint16_t port() const { return listener_->port(); }

 private:
  struct Peer : SocketHandler {
    explicit Peer(base::Loop& loop) : socket(loop, this) {}
    void OnBytes(std::string_view) override {}
    void OnEnd(base::Status) override {}
    void OnWritable() override {}
    Socket socket;
  };
  std::unique_ptr<Listener> listener_;
  std::vector<std::unique_ptr<Peer>> peers_;
};

TEST_F(HostileTest, ClientSurvivesLyingServers) {
  const std::vector<std::string> lies = {
      "nonsense\r\n\r\n",
      "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
      "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
      "HTTP/1.1 200 OK\r\n" + std::string(400000, 'h'),
      "HTTP/1.1 200 OK\r\nx: " + std::string(400000, 'h') + "\r\n\r\n",
      "HTTP/1.1 101 Switching Protocols\r\n\r\nabc",
      Settings() + Frame(1, 4, 1, "\xff\xff\xff\xff\xff"),
      Settings() + Frame(0, 1, 1, "data before headers"),
      Settings() + Frame(5, 4, 1, std::string("\0\0\0\2", 4) + GetBlock()),
      Frame(0, 0, 0, std::string(20000, 'x')),
      Settings() + Frame(7, 0, 0, std::string(8, '\0')),
  };
  for (const std::string& lie : lies) {
    for (const bool http2 : {false, true}) {
      Liar liar(loop_, lie);
      ClientOptions options;
      options.url = fmt::format("http://127.0.0.1:{}", liar.port());
      options.http2_prior_knowledge = http2;
      Client client(loop_, options);
      std::optional<base::Status> status;
      client.Fetch({}, milliseconds(200), [&](auto response) { status = response.status(); });
      ASSERT_TRUE(loop_.RunUntil([&] { return status.has_value(); }, seconds(10)));
      EXPECT_FALSE(status->ok()) << lie.substr(0, 60);
    }
  }
}

}  // namespace
}  // namespace isthmus::http
