#include "http/server.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <optional>

#include "base/files.h"
#include "base/process.h"
#include "tests/http/raw_client.h"
#include "tests/http/tls_fixture.h"

namespace isthmus::http {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class ServerTest : public testing::Test {
 protected:
  void Serve(Handler handler, ServerOptions options = {}) {
    server_ = std::make_unique<Server>(loop_, std::move(options), std::move(handler));
    const base::Status status = server_->Start();
    ASSERT_TRUE(status.ok()) << status.message();
  }
  std::string Url(std::string_view path, std::string_view scheme = "http") const {
    return fmt::format("{}://127.0.0.1:{}{}", scheme, server_->port(), path);
  }
  base::Output Curl(std::vector<std::string> args) {
    args.insert(args.begin(), {"curl", "-s", "--max-time", "30"});
    std::optional<base::Result<base::Output>> got;
    base::RunProcess(loop_, {.argv = std::move(args)}, seconds(40),
                     [&](base::Result<base::Output> output) { got = std::move(output); });
    EXPECT_TRUE(loop_.RunUntil([&] { return got.has_value(); }, seconds(60)));
    return got && got->ok() ? std::move(*got).value() : base::Output();
  }
  /// With a request body of `size` bytes, too large for an argument.
  base::Output CurlBody(size_t size, const std::string& args) {
    std::optional<base::Result<base::Output>> got;
    const std::string line =
        fmt::format("head -c {} /dev/zero | curl -s --max-time 30 --data-binary @- {}", size, args);
    base::RunProcess(loop_, {.argv = {"sh", "-c", line}}, seconds(40),
                     [&](base::Result<base::Output> output) { got = std::move(output); });
    EXPECT_TRUE(loop_.RunUntil([&] { return got.has_value(); }, seconds(60)));
    return got && got->ok() ? std::move(*got).value() : base::Output();
  }
  /// Answers what it was asked, as text.
  static void Echo(const std::shared_ptr<ServerStream>& stream) {
    stream->ReadBody(1 << 20, [stream](std::string body) {
      stream->Respond(200, "text/plain",
                      fmt::format("{} {} {} body={}", stream->head().method, stream->head().target,
                                  stream->head().headers.Get("x-test").value_or("-"), body));
    });
  }

  base::Loop loop_;
  std::unique_ptr<Server> server_;
};

TEST_F(ServerTest, CurlOverHttp1AndHttp2) {
  Serve(Echo);
  for (const char* version : {"--http1.0", "--http1.1", "--http2-prior-knowledge"}) {
    EXPECT_EQ(Curl({version, Url("/a?b=c"), "-H", "X-Test: v"}).out, "GET /a?b=c v body=")
        << version;
    EXPECT_EQ(Curl({version, Url("/p"), "-d", "hello"}).out, "POST /p - body=hello") << version;
    EXPECT_EQ(Curl({version, Url("/h"), "-I", "-w", "%{http_code}"}).out.substr(0, 4), "HTTP")
        << version;
  }
  EXPECT_EQ(Curl({Url("/1"), Url("/2")}).out, "GET /1 - body=GET /2 - body=");
}

TEST_F(ServerTest, ExpectContinueIsAnsweredWhenTheBodyIsWanted) {
  Serve(Echo);
  for (const std::string version : {"--http1.1", "--http2-prior-knowledge"}) {
    const auto out = CurlBody(
        200000, version + " -H 'Expect: 100-continue' --expect100-timeout 60 -w '%{http_code}' " +
                    Url("/e"));
    EXPECT_EQ(out.out.size(), std::string("POST /e - body=200").size() + 200000) << version;
  }
}

TEST_F(ServerTest, TlsChoosesByAlpn) {
  const TestCa ca;
  char folder[] = "/tmp/http-test-XXXXXX";
  ASSERT_NE(::mkdtemp(folder), nullptr);
  const std::string roots = std::string(folder) + "/ca.pem";
  ASSERT_TRUE(base::WriteFile(roots, ca.roots()->pem()).ok());
  ServerOptions options;
  options.tls.emplace();
  options.tls->certificate = [pair = ca.Issue({}, {"127.0.0.1"})] { return pair; };
  Serve(Echo, std::move(options));
  EXPECT_EQ(
      Curl({"--cacert", roots, "--http1.1", Url("/x", "https"), "-w", " %{http_version}"}).out,
      "GET /x - body= 1.1");
  EXPECT_EQ(Curl({"--cacert", roots, Url("/1", "https"), Url("/2", "https")}).out,
            "GET /1 - body=GET /2 - body=");
  EXPECT_EQ(Curl({"--cacert", roots, Url("/x", "https"), "-w", " %{http_version}"}).out,
            "GET /x - body= 2");
  EXPECT_EQ(CurlBody(300000, "--cacert " + roots + " " + Url("/x", "https")).out.size(),
            300000u + 15);
  // Plaintext to a TLS port ends, and harms nobody.
  EXPECT_NE(Curl({Url("/x")}).exit.code, 0);
  EXPECT_NE(Curl({Url("/x", "https")}).exit.code, 0);  // Does not know the root.
  base::RemoveFile(roots).ok();
  ::rmdir(folder);
}

TEST_F(ServerTest, StreamsChunksAndTrailers) {
  std::shared_ptr<ServerStream> held;
  Serve([&](std::shared_ptr<ServerStream> stream) {
    held = stream;
    stream->SendHeaders(200, {{"content-type", "text/plain"}});
  });
  RawClient client(loop_, server_->port());
  client.Send("GET /watch HTTP/1.1\r\nhost: x\r\n\r\n");
  ASSERT_TRUE(client.WaitFor("transfer-encoding: chunked\r\n\r\n"));
  held->SendData(base::Slice(std::string("one")));
  ASSERT_TRUE(client.WaitFor("3\r\none\r\n"));
  held->SendData(base::Slice(std::string(1000, 'x')));
  held->SendTrailers({{"x-end", "yes"}, {"bad", "a\r\nb: c"}});
  ASSERT_TRUE(client.WaitFor("0\r\nx-end: yes\r\n\r\n"));
  EXPECT_EQ(client.received.find("bad"), std::string::npos);
  // After the end calls do nothing, and the connection serves the next request.
  held->SendData(base::Slice::Static("late"));
  client.Send("GET /2 HTTP/1.1\r\nhost: x\r\n\r\n");
  ASSERT_TRUE(client.WaitFor("0\r\nx-end: yes\r\n\r\nHTTP/1.1 200 OK"));
  held->SendData({}, true);
  EXPECT_EQ(server_->connections(), 1u);
}

TEST_F(ServerTest, PipelinedRequestsAreAnsweredInOrder) {
  Serve(Echo);
  RawClient client(loop_, server_->port());
  std::string all;
  for (int i = 0; i < 50; ++i) {
    all += fmt::format("POST /{} HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{:02}", i, i);
  }
  client.Send(all);
  ASSERT_TRUE(client.WaitFor("body=49"));
  size_t at = 0;
  for (int i = 0; i < 50; ++i) {
    at = client.received.find(fmt::format("POST /{} - body={:02}", i, i), at);
    ASSERT_NE(at, std::string::npos) << i;
  }
}

TEST_F(ServerTest, TellsWhenTheClientHasGone) {
  std::shared_ptr<ServerStream> held;
  bool closed = false;
  Serve([&](std::shared_ptr<ServerStream> stream) {
    held = stream;
    stream->OnClose([&] {
      closed = true;
      held.reset();
    });
    stream->SendHeaders(200, {});
  });
  RawClient client(loop_, server_->port());
  client.Send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
  ASSERT_TRUE(client.WaitFor("200 OK"));
  client.Drop();
  EXPECT_TRUE(loop_.RunUntil([&] { return closed && server_->connections() == 0; }, seconds(10)));
}

TEST_F(ServerTest, HeadAndEmptyAnswersHaveNoBody) {
  Serve([](std::shared_ptr<ServerStream> stream) {
    if (stream->head().target == "/204")
      return stream->SendHeaders(204, {{"content-length", "9"}}, true);
    stream->Respond(200, "text/plain", "body");
  });
  RawClient client(loop_, server_->port());
  client.Send(
      "HEAD / HTTP/1.1\r\nhost: x\r\n\r\nGET /204 HTTP/1.1\r\nhost: x\r\n\r\nGET / "
      "HTTP/1.1\r\nhost: x\r\n\r\n");
  ASSERT_TRUE(client.WaitFor("\r\n\r\nbody"));
  EXPECT_EQ(client.received,
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 4\r\n\r\n"
            "HTTP/1.1 204 No Content\r\n\r\n"
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 4\r\n\r\nbody");
}

TEST_F(ServerTest, BodyOverTheLimitIsRefused) {
  Serve([](std::shared_ptr<ServerStream> stream) {
    stream->ReadBody(10, [stream](std::string) { stream->Respond(200, "", "taken"); });
  });
  EXPECT_EQ(CurlBody(3000000, "-o /dev/null -w '%{http_code}' " + Url("/")).out, "413");
  for (const char* version : {"--http1.1", "--http2-prior-knowledge"}) {
    EXPECT_EQ(Curl({version, "-d", "0123456789", Url("/")}).out, "taken") << version;
  }
}

TEST_F(ServerTest, UpgradeHandsOverTheBytesOfBothSides) {
  std::unique_ptr<ByteStream> upgraded;
  std::string got;
  bool ended = false;
  std::shared_ptr<ServerStream> waiting;
  Serve([&](std::shared_ptr<ServerStream> stream) {
    if (stream->head().target == "/later") {
      waiting = stream;
      return;
    }
    upgraded = stream->Upgrade({{"connection", "Upgrade"}, {"upgrade", "echo"}});
    ASSERT_NE(upgraded, nullptr);
    EXPECT_EQ(stream->Upgrade({}), nullptr);
  });
  const auto attach = [&] {
    got.clear();
    upgraded->OnData([&](std::string_view bytes) { got += bytes; });
    upgraded->OnClose([&](base::Status status) { ended = status.ok(); });
    upgraded->Write(base::Slice::Static("from server"));
  };
  for (const std::string target : {"/now", "/later"}) {
    RawClient client(loop_, server_->port());
    client.Send("GET " + target +
                " HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\nearly ");
    if (target == "/later") {
      ASSERT_TRUE(loop_.RunUntil([&] { return waiting != nullptr; }, seconds(5)));
      upgraded = waiting->Upgrade({{"connection", "Upgrade"}});
    }
    ASSERT_TRUE(loop_.RunUntil([&] { return upgraded != nullptr; }, seconds(5)));
    attach();
    ASSERT_TRUE(client.WaitFor("from server"));
    EXPECT_EQ(client.received.substr(0, 33), "HTTP/1.1 101 Switching Protocols\r");
    client.Send("late");
    ASSERT_TRUE(loop_.RunUntil([&] { return got == "early late"; }, seconds(5)));
    EXPECT_TRUE(loop_.RunUntil([&] { return server_->connections() == 0; }, seconds(5)));
    // Half-close: the client ends its side and still reads ours.
    client.Finish();
    ASSERT_TRUE(loop_.RunUntil([&] { return ended; }, seconds(5)));
    upgraded->Write(base::Slice(std::string(100000, 'z')));
    upgraded->Finish();
    ASSERT_TRUE(client.WaitForClose());
    EXPECT_EQ(client.received.substr(client.received.size() - 100000), std::string(100000, 'z'));
    upgraded.reset();
    ended = false;
  }
}

TEST_F(ServerTest, UpgradeHeaderIsIgnoredWhenTheHandlerAnswers) {
  Serve(Echo);
  RawClient client(loop_, server_->port());
  client.Send(
      "GET /1 HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\nGET /2 "
      "HTTP/1.1\r\nhost: x\r\n\r\n");
  EXPECT_TRUE(client.WaitFor("GET /2"));
  EXPECT_EQ(Curl({"--http2", Url("/c")}).out, "GET /c - body=");
}

TEST_F(ServerTest, HandlerMayDestroyTheServer) {
  for (const char* version : {"--http1.1", "--http2-prior-knowledge"}) {
    Serve([this, held = std::make_shared<int>(1)](std::shared_ptr<ServerStream> stream) {
      stream->OnClose([] { FAIL() << "nobody is told when the server goes"; });
      server_.reset();
      stream->Respond(200, "", "to nobody");
      EXPECT_EQ(*held, 1);
    });
    EXPECT_NE(Curl({version, Url("/")}).exit.code, 0);
    EXPECT_EQ(server_, nullptr);
  }
}

TEST_F(ServerTest, DestroyingTheServerReleasesStreamsAndTheirCallbacks) {
  auto held = std::make_shared<int>(1);
  std::shared_ptr<ServerStream> stream;
  Serve([&](std::shared_ptr<ServerStream> incoming) {
    stream = incoming;
    stream->OnClose([incoming, held] {});
    stream->OnBody([incoming, held](std::string_view) {}, [held] {});
  });
  RawClient client(loop_, server_->port());
  client.Send("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n");
  ASSERT_TRUE(loop_.RunUntil([&] { return stream != nullptr; }, seconds(5)));
  server_.reset();
  EXPECT_EQ(held.use_count(), 1);
  EXPECT_EQ(stream.use_count(), 1);
  stream->SendData(base::Slice::Static("x"), true);
}

TEST_F(ServerTest, ShutdownLetsTheRunningExchangeFinish) {
  for (const char* version : {"--http1.1", "--http2-prior-knowledge"}) {
    std::shared_ptr<ServerStream> held;
    Serve([&](std::shared_ptr<ServerStream> stream) { held = std::move(stream); });
    std::optional<base::Result<base::Output>> got;
    base::RunProcess(loop_, {.argv = {"curl", "-s", version, Url("/")}}, seconds(20),
                     [&](base::Result<base::Output> output) { got = std::move(output); });
    ASSERT_TRUE(loop_.RunUntil([&] { return held != nullptr; }, seconds(5)));
    bool done = false;
    server_->Shutdown(seconds(20), [&] { done = true; });
    loop_.RunUntil([] { return false; }, milliseconds(20));
    EXPECT_FALSE(done) << version;
    held->Respond(200, "", "finished");
    EXPECT_TRUE(loop_.RunUntil([&] { return done && got; }, seconds(10))) << version;
    EXPECT_EQ(got->value().out, "finished") << version;
  }
}

TEST_F(ServerTest, ShutdownBreaksOffAfterItsGrace) {
  bool closed = false, done = false;
  std::shared_ptr<ServerStream> held;
  Serve([&](std::shared_ptr<ServerStream> stream) {
    held = stream;
    stream->OnClose([&] { closed = true; });
  });
  RawClient idle(loop_, server_->port()), busy(loop_, server_->port());
  busy.Send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
  ASSERT_TRUE(
      loop_.RunUntil([&] { return held != nullptr && server_->connections() == 2; }, seconds(5)));
  server_->Shutdown(milliseconds(20), [&] { done = true; });
  EXPECT_TRUE(
      loop_.RunUntil([&] { return done && closed && idle.closed && busy.closed; }, seconds(5)));
}

TEST_F(ServerTest, PortInUseIsSaid) {
  Serve(Echo);
  ServerOptions options;
  options.port = server_->port();
  Server second(loop_, options, Echo);
  const base::Status status = second.Start();
  EXPECT_NE(status.message().find(fmt::format("127.0.0.1:{}: the port is in use", server_->port())),
            std::string::npos)
      << status.message();
  options.address = "no address";
  EXPECT_EQ(Server(loop_, options, Echo).Start().code(), base::Code::kInvalidArgument);
}

TEST_F(ServerTest, UnixSocket) {
  const std::string path = fmt::format("/tmp/http-test-{}.sock", ::getpid());
  ServerOptions options;
  options.address = "unix:" + path;
  Serve(Echo, options);
  EXPECT_EQ(Curl({"--unix-socket", path, "http://x/u"}).out, "GET /u - body=");
  EXPECT_EQ(Curl({"--http2-prior-knowledge", "--unix-socket", path, "http://x/u"}).out,
            "GET /u - body=");
  server_.reset();
  Serve(Echo, options);  // Over what a killed run has left.
  EXPECT_EQ(Curl({"--unix-socket", path, "http://x/u"}).out, "GET /u - body=");
  ::unlink(path.c_str());
}

TEST_F(ServerTest, BackPressureHoldsTheBodyUntilTheClientReads) {
  constexpr size_t kPiece = 1 << 20, kPieces = 64;
  size_t sent = 0;
  const base::Slice piece(std::string(kPiece, 'p'));
  Serve([&](std::shared_ptr<ServerStream> stream) {
    stream->SendHeaders(200, {});
    const auto more = [&, weak = std::weak_ptr(stream)] {
      const auto stream = weak.lock();
      if (!stream || sent == kPieces) return;
      stream->SendData(piece, ++sent == kPieces);
    };
    stream->OnDrain(more);
    more();
  });
  for (const bool http2 : {false, true}) {
    sent = 0;
    std::string args = http2 ? "--http2-prior-knowledge" : "--http1.1";
    // curl stops reading while its output pipe is full.
    size_t got = 0;
    bool exited = false;
    base::ProcessOptions options;
    options.argv = {"sh", "-c", "curl -s " + args + " " + Url("/") + " | (sleep 0.2; cat)"};
    options.out = base::ChildStream::Pipe([&](std::string_view bytes) { got += bytes.size(); });
    auto process =
        base::Process::Start(loop_, std::move(options), [&](base::ExitStatus) { exited = true; });
    ASSERT_TRUE(process.ok());
    loop_.RunUntil([&] { return sent > 0; }, seconds(10));
    loop_.RunUntil([&] { return got > 0; }, milliseconds(100));
    EXPECT_LT(sent, kPieces) << "the server ran ahead of the client";
    EXPECT_TRUE(loop_.RunUntil([&] { return exited; }, seconds(20)));
    EXPECT_EQ(got, kPiece * kPieces);
  }
}

TEST_F(ServerTest, PausedBodyStopsTheClient) {
  std::shared_ptr<ServerStream> held;
  size_t got = 0;
  bool ended = false;
  Serve([&](std::shared_ptr<ServerStream> stream) {
    held = stream;
    stream->OnBody([&](std::string_view data) { got += data.size(); }, [&] { ended = true; });
    stream->PauseBody(true);
  });
  for (const char* version : {"--http1.1", "--http2-prior-knowledge"}) {
    got = 0;
    ended = false;
    held.reset();
    bool exited = false;
    auto process = base::Process::Start(
        loop_,
        {.argv = {"sh", "-c",
                  fmt::format(
                      "head -c 20000000 /dev/zero | curl -s -o /dev/null {} -H Expect: -T - {}",
                      version, Url("/"))}},
        [&](base::ExitStatus) { exited = true; });
    ASSERT_TRUE(loop_.RunUntil([&] { return held != nullptr; }, seconds(5)));
    EXPECT_FALSE(loop_.RunUntil([&] { return got > 300000; }, milliseconds(200)));
    held->PauseBody(false);
    EXPECT_TRUE(loop_.RunUntil([&] { return ended; }, seconds(10))) << got;
    EXPECT_EQ(got, 20000000u);
    held->Respond(200, "", "ok");
    EXPECT_TRUE(loop_.RunUntil([&] { return exited; }, seconds(10)));
  }
}

}  // namespace
}  // namespace isthmus::http
