#include "http/client.h"

#include <gtest/gtest.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fstream>
#include <optional>
#include <set>

#include "base/strings.h"
#include "http/dialer.h"
#include "http/server.h"
#include "http/tcp.h"
#include "tests/http/tls_fixture.h"

namespace isthmus::http {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

enum class Wire { kHttp1, kHttp2, kTlsHttp1, kTlsHttp2 };

class ClientTest : public testing::TestWithParam<Wire> {
 protected:
  bool tls() const { return GetParam() == Wire::kTlsHttp1 || GetParam() == Wire::kTlsHttp2; }
  bool http2() const { return GetParam() == Wire::kHttp2 || GetParam() == Wire::kTlsHttp2; }

  static const TestCa& Ca() {
    static const TestCa ca;
    return ca;
  }
  ServerOptions Options() const {
    ServerOptions options;
    options.handshake_timeout = seconds(60);  // A busy machine is no error here.
    if (tls()) {
      options.tls.emplace();
      options.tls->certificate = [pair = Ca().Issue({"server.test"}, {"127.0.0.1"})] {
        return pair;
      };
      options.tls->client_certificate = TlsServerOptions::ClientCertificate::kOptional;
      options.tls->client_roots = [roots = Ca().roots()] { return roots; };
      if (!http2()) options.tls->alpn = {"http/1.1"};
    }
    return options;
  }
  void Serve(Handler handler) { Serve(std::move(handler), Options()); }
  void Serve(Handler handler, ServerOptions options) {
    server_ = std::make_unique<Server>(loop_, std::move(options), std::move(handler));
    const base::Status status = server_->Start();
    ASSERT_TRUE(status.ok()) << status.message();
  }
  ClientOptions To(uint16_t port) const {
    ClientOptions options;
    options.url = fmt::format("{}://127.0.0.1:{}", tls() ? "https" : "http", port);
    options.http2_prior_knowledge = http2() && !tls();
    options.connect_timeout = seconds(60);
    if (tls()) {
      options.tls.emplace();
      options.tls->roots = Ca().roots();
    }
    return options;
  }
  void Connect() { client_ = std::make_unique<Client>(loop_, To(server_->port())); }
  base::Result<Response> Fetch(Request request, base::Duration timeout = seconds(10)) {
    std::optional<base::Result<Response>> got;
    client_->Fetch(std::move(request), timeout,
                   [&](base::Result<Response> response) { got = std::move(response); });
    EXPECT_FALSE(got.has_value()) << "called back inside the call";
    loop_.RunUntil([&] { return got.has_value(); }, seconds(40));
    if (!got) client_.reset();  // Before what its callback refers to.
    return got ? std::move(*got) : base::Error(base::Code::kUnknown, "no answer at all");
  }
  static Request Get(std::string target) {
    Request request;
    request.target = std::move(target);
    return request;
  }
  static Request Post(std::string target, std::string body) {
    Request request;
    request.method = "POST";
    request.target = std::move(target);
    request.body = std::move(body);
    return request;
  }
  static void Echo(const std::shared_ptr<ServerStream>& stream) {
    stream->ReadBody(64 << 20, [stream](std::string body) {
      stream->Respond(200, "text/plain",
                      stream->head().method + " " + stream->head().authority + " " +
                          stream->head().target + " " + body);
    });
  }

  base::Loop loop_;
  std::unique_ptr<Server> server_;
  std::unique_ptr<Client> client_;
};

INSTANTIATE_TEST_SUITE_P(Wires, ClientTest,
                         testing::Values(Wire::kHttp1, Wire::kHttp2, Wire::kTlsHttp1,
                                         Wire::kTlsHttp2),
                         [](const auto& info) {
                           switch (info.param) {
                             case Wire::kHttp1:
                               return "Http1";
                             case Wire::kHttp2:
                               return "Http2";
                             case Wire::kTlsHttp1:
                               return "TlsHttp1";
                             default:
                               return "TlsHttp2";
                           }
                         });

TEST_P(ClientTest, FetchesAndReusesItsConnection) {
  size_t most = 0;
  Serve([&](std::shared_ptr<ServerStream> stream) {
    most = std::max(most, server_->connections());
    Echo(stream);
  });
  Connect();
  const std::string authority = fmt::format("127.0.0.1:{}", server_->port());
  for (int i = 0; i < 10; ++i) {
    const auto response = Fetch(Post("/p?q=1", "body"));
    ASSERT_TRUE(response.ok()) << response.status().message();
    EXPECT_EQ(response->status, 200);
    EXPECT_EQ(response->body, "POST " + authority + " /p?q=1 body");
    EXPECT_EQ(response->headers.Get("Content-Type"), "text/plain");
  }
  EXPECT_EQ(most, 1u);
  EXPECT_EQ(Fetch(Post("/e", ""))->body, "POST " + authority + " /e ");
}

TEST_P(ClientTest, ManyAtOnce) {
  Serve(Echo);
  Connect();
  int good = 0, bad = 0;
  for (int i = 0; i < 300; ++i) {
    client_->Fetch(
        Get("/" + std::to_string(i)), seconds(60), [&, i](base::Result<Response> response) {
          const bool right = response.ok() && response->body.find("/" + std::to_string(i) + " ") !=
                                                  std::string::npos;
          ++(right ? good : bad);
        });
  }
  EXPECT_TRUE(loop_.RunUntil([&] { return good + bad == 300; }, seconds(60)));
  EXPECT_EQ(bad, 0);
  client_.reset();
}

TEST_P(ClientTest, LargeBodiesBothWays) {
  Serve(Echo);
  Connect();
  std::string body(20 << 20, 'x');
  for (size_t i = 0; i < body.size(); i += 1000) body[i] = static_cast<char>('a' + i % 26);
  const auto response = Fetch(Post("/", body), seconds(30));
  ASSERT_TRUE(response.ok()) << response.status().message();
  EXPECT_TRUE(base::HasSuffix(response->body, body));
}

TEST_P(ClientTest, StreamsBothWaysWithTrailers) {
  std::string got;
  std::shared_ptr<ServerStream> held;
  bool ended = false;
  Serve([&](std::shared_ptr<ServerStream> stream) {
    held = stream;
    stream->OnBody([&](std::string_view data) { got += data; }, [&] { ended = true; });
    stream->SendHeaders(201, {{"x-a", "1"}});
    stream->SendData(base::Slice::Static("hello "));
  });
  Connect();
  std::string heard, order;
  std::optional<base::Status> closed;
  ClientEvents events;
  events.head = [&](ResponseHead head) {
    order += fmt::format("head {} {};", head.status, *head.headers.Get("x-a"));
  };
  events.data = [&](std::string_view data) { heard += data; };
  events.trailers = [&](Headers trailers) {
    order += fmt::format("trailers {};", *trailers.Get("x-end"));
  };
  events.close = [&](base::Status status) { closed = status; };
  RequestHead head;
  head.method = "POST";
  auto stream = client_->Open(head, false, events);
  stream->SendData(base::Slice::Static("one "));
  ASSERT_TRUE(loop_.RunUntil([&] { return heard == "hello " && got == "one "; }, seconds(10)));
  stream->SendData(base::Slice(std::string(1000, 'z')), true);
  ASSERT_TRUE(loop_.RunUntil([&] { return ended && got.size() == 1004; }, seconds(10)));
  held->SendData(base::Slice::Static("bye"));
  held->SendTrailers({{"x-end", "done"}});
  ASSERT_TRUE(loop_.RunUntil([&] { return closed.has_value(); }, seconds(10)));
  EXPECT_TRUE(closed->ok()) << closed->message();
  EXPECT_EQ(order, "head 201 1;trailers done;");
  EXPECT_EQ(heard, "hello bye");
}

TEST_P(ClientTest, CancellingTellsTheServer) {
  std::shared_ptr<ServerStream> held;
  int closed = 0;
  Serve([&](std::shared_ptr<ServerStream> stream) {
    held = stream;
    stream->OnClose([&] { ++closed; });
    stream->SendHeaders(200, {});
    stream->SendData(base::Slice::Static("x"));
  });
  Connect();
  for (const bool drop : {false, true}) {
    held.reset();
    closed = 0;
    std::optional<base::Status> status;
    bool data = false;
    ClientEvents events;
    events.data = [&](std::string_view) { data = true; };
    events.close = [&](base::Status s) { status = s; };
    auto stream = client_->Open({}, true, events);
    ASSERT_TRUE(loop_.RunUntil([&] { return data; }, seconds(10)));
    if (drop) {
      stream.reset();
    } else {
      stream->Cancel();
      EXPECT_FALSE(status.has_value());
    }
    EXPECT_TRUE(loop_.RunUntil([&] { return closed == 1; }, seconds(10)));
    EXPECT_EQ(status.has_value(), !drop);
    if (status) {
      EXPECT_EQ(status->code(), base::Code::kCancelled);
    }
  }
}

TEST_P(ClientTest, TimeoutAndBrokenAnswers) {
  Serve([&](std::shared_ptr<ServerStream> stream) {
    if (stream->head().target == "/reset") return stream->Reset();
    if (stream->head().target == "/half") {
      stream->SendHeaders(200, {{"content-length", "100"}});
      stream->SendData(base::Slice::Static("half"));
      stream->OnDrain([stream = stream.get()] { stream->Reset(); });
      if (stream->buffered() == 0) stream->Reset();
      return;
    }
    // Never answers.
  });
  Connect();
  EXPECT_EQ(Fetch(Get("/never"), milliseconds(30)).status().code(), base::Code::kDeadlineExceeded);
  EXPECT_FALSE(Fetch(Post("/reset", "x")).ok());
  EXPECT_FALSE(Fetch(Get("/half")).ok());
}

TEST_P(ClientTest, RefusedConnectionNamesTheUrl) {
  Serve(Echo);
  const uint16_t port = server_->port();
  server_.reset();
  client_ = std::make_unique<Client>(loop_, To(port));
  const auto response = Fetch(Get("/"));
  EXPECT_EQ(response.status().code(), base::Code::kUnavailable);
  EXPECT_NE(response.status().message().find(fmt::format("127.0.0.1:{}: connection refused", port)),
            std::string::npos)
      << response.status().message();
}

TEST_P(ClientTest, ReconnectsAfterTheServerWentAway) {
  Serve(Echo);
  Connect();
  ASSERT_TRUE(Fetch(Get("/1")).ok());
  ServerOptions same = Options();
  same.port = server_->port();
  server_.reset();
  Serve(Echo, same);
  const auto response = Fetch(Get("/2"));
  EXPECT_TRUE(response.ok()) << response.status().message();
}

TEST_P(ClientTest, GoAwayLetsStreamsFinishAndNewOnesGoElsewhere) {
  std::shared_ptr<ServerStream> held;
  Serve([&](std::shared_ptr<ServerStream> stream) { held = stream; });
  Connect();
  std::optional<base::Result<Response>> first;
  client_->Fetch(Get("/1"), seconds(10),
                 [&](base::Result<Response> response) { first = std::move(response); });
  ASSERT_TRUE(loop_.RunUntil([&] { return held != nullptr; }, seconds(10)));
  ServerOptions same = Options();
  same.port = server_->port();
  bool down = false;
  server_->Shutdown(seconds(10), [&] { down = true; });
  auto old = std::move(server_);
  Serve(Echo, same);
  EXPECT_TRUE(Fetch(Get("/2")).ok());
  EXPECT_FALSE(first.has_value());
  held->Respond(200, "", "first");
  EXPECT_TRUE(loop_.RunUntil([&] { return first && down; }, seconds(10)));
  EXPECT_EQ(first->value().body, "first");
}

TEST_P(ClientTest, DestroyingTheClientEndsAllAndIsAllowedAnywhere) {
  Serve([&](std::shared_ptr<ServerStream> stream) {
    stream->SendHeaders(200, {});
    stream->SendData(base::Slice::Static("x"));
  });
  Connect();
  int closed = 0;
  std::vector<std::shared_ptr<ClientStream>> streams;
  for (int i = 0; i < 3; ++i) {
    ClientEvents events;
    events.data = [&](std::string_view) { client_.reset(); };
    events.close = [&](base::Status status) {
      EXPECT_EQ(status.code(), base::Code::kCancelled) << status.message();
      ++closed;
    };
    streams.push_back(client_->Open({}, true, events));
  }
  EXPECT_TRUE(loop_.RunUntil([&] { return client_ == nullptr; }, seconds(10)));
  EXPECT_EQ(closed, 3);
  streams[0]->SendData(base::Slice::Static("late"), true);
  streams[0]->Cancel();
  EXPECT_TRUE(loop_.RunUntil([&] { return server_->connections() == 0; }, seconds(10)));
}

TEST_P(ClientTest, CloseMayDestroyTheClient) {
  Serve([&](std::shared_ptr<ServerStream> stream) {
    stream->SendHeaders(200, {});
    server_.reset();
  });
  Connect();
  int closed = 0;
  std::vector<std::shared_ptr<ClientStream>> streams;
  for (int i = 0; i < 3; ++i) {
    ClientEvents events;
    events.close = [&](base::Status status) {
      ++closed;
      client_.reset();
    };
    RequestHead head;
    head.method = "POST";
    streams.push_back(client_->Open(head, true, events));
  }
  EXPECT_TRUE(loop_.RunUntil([&] { return client_ == nullptr && closed == 3; }, seconds(10)));
}

TEST_P(ClientTest, PausedBodyHoldsTheServerBack) {
  constexpr size_t kPiece = 1 << 20, kPieces = 32;
  size_t sent = 0;
  const base::Slice piece(std::string(kPiece, 'p'));
  Serve([&](std::shared_ptr<ServerStream> stream) {
    stream->SendHeaders(200, {});
    const auto more = [&sent, piece, stream = stream.get()] {
      if (sent < kPieces) stream->SendData(piece, ++sent == kPieces);
    };
    stream->OnDrain(more);
    more();
  });
  Connect();
  size_t got = 0;
  std::optional<base::Status> closed;
  std::shared_ptr<ClientStream> stream;
  ClientEvents events;
  events.head = [&](ResponseHead) { stream->PauseBody(true); };
  events.data = [&](std::string_view data) { got += data.size(); };
  events.close = [&](base::Status status) { closed = status; };
  stream = client_->Open({}, true, events);
  loop_.RunUntil([&] { return sent == kPieces; }, milliseconds(150));
  EXPECT_LT(sent, kPieces);
  stream->PauseBody(false);
  EXPECT_TRUE(loop_.RunUntil([&] { return closed.has_value(); }, seconds(20)));
  EXPECT_EQ(got, kPiece * kPieces);
}

TEST_P(ClientTest, UpgradesOrSaysWhyNot) {
  std::unique_ptr<ByteStream> far, near;
  std::string far_got, near_got;
  Serve([&](std::shared_ptr<ServerStream> stream) {
    if (stream->head().target == "/no") return stream->Respond(403, "text/plain", "not for you\n");
    far = stream->Upgrade({{"connection", "Upgrade"}, {"upgrade", "test"}});
    ASSERT_NE(far, nullptr);
    far->OnData([&](std::string_view data) { far_got += data; });
    far->Write(base::Slice::Static("welcome"));
  });
  Connect();
  RequestHead head;
  head.headers = {{"connection", "Upgrade"}, {"upgrade", "test"}};
  base::Status status;
  client_->Upgrade(head, [&](auto result) {
    ASSERT_TRUE(result.ok()) << result.status().message();
    EXPECT_EQ(result->first.status, 101);
    near = std::move(result->second);
    near->OnData([&](std::string_view data) { near_got += data; });
    near->Write(base::Slice::Static("thanks"));
  });
  EXPECT_TRUE(
      loop_.RunUntil([&] { return far_got == "thanks" && near_got == "welcome"; }, seconds(10)));
  bool closed = false;
  far->OnClose([&](base::Status) { closed = true; });
  near.reset();
  EXPECT_TRUE(loop_.RunUntil([&] { return closed; }, seconds(10)));
  head.target = "/no";
  std::optional<base::Status> refused;
  client_->Upgrade(head, [&](auto result) { refused = result.status(); });
  EXPECT_TRUE(loop_.RunUntil([&] { return refused.has_value(); }, seconds(10)));
  EXPECT_EQ(refused->code(), base::Code::kPermissionDenied);
  EXPECT_EQ(refused->message(), "the server answered 403: not for you");
  // Dropping the client under an attempt.
  bool cancelled = false;
  client_->Upgrade(
      head, [&](auto result) { cancelled = result.status().code() == base::Code::kCancelled; });
  client_.reset();
  EXPECT_TRUE(cancelled);
}

/// A CONNECT proxy on the library itself.
class Proxy {
 public:
  explicit Proxy(base::Loop& loop) : loop_(loop) {
    server_ = std::make_unique<Server>(
        loop, ServerOptions(), [this](std::shared_ptr<ServerStream> stream) {
          asked.push_back(stream->head().method + " " + stream->head().target);
          authorization = stream->head().headers.Get("proxy-authorization").value_or("");
          if (refuse) return stream->Respond(403, "text/plain", "no");
          dials_.push_back(DialTcp(loop_, base::HostPort::Parse(stream->head().authority).value(),
                                   seconds(5), [this, stream](auto dialed) {
                                     ASSERT_TRUE(dialed.ok());
                                     splices_.push_back(Splice(loop_, stream->Upgrade({}),
                                                               std::move(dialed).value(),
                                                               [this](base::Status) { ++ended; }));
                                   }));
        });
    EXPECT_TRUE(server_->Start().ok());
  }
  uint16_t port() const { return server_->port(); }
  std::vector<std::string> asked;
  bool refuse = false;
  int ended = 0;
  std::string authorization;

 private:
  base::Loop& loop_;
  std::vector<std::shared_ptr<void>> dials_, splices_;
  std::unique_ptr<Server> server_;
};

TEST_P(ClientTest, GoesThroughAConnectProxy) {
  Serve(Echo);
  Proxy proxy(loop_);
  ClientOptions options = To(server_->port());
  options.proxy_url = fmt::format("http://user:p%40ss@127.0.0.1:{}", proxy.port());
  client_ = std::make_unique<Client>(loop_, options);
  const std::string body(1 << 20, 'b');
  const auto response = Fetch(Post("/via", body));
  ASSERT_TRUE(response.ok()) << response.status().message();
  EXPECT_EQ(response->body, fmt::format("POST 127.0.0.1:{} /via {}", server_->port(), body));
  EXPECT_EQ(proxy.asked, std::vector{fmt::format("CONNECT 127.0.0.1:{}", server_->port())});
  EXPECT_EQ(proxy.authorization, "Basic dXNlcjpwQHNz");
  client_.reset();
  EXPECT_TRUE(
      loop_.RunUntil([&] { return proxy.ended == 1 && server_->connections() == 0; }, seconds(10)));
  proxy.refuse = true;
  client_ = std::make_unique<Client>(loop_, options);
  const auto refused = Fetch(Get("/"));
  EXPECT_NE(refused.status().message().find("answers: HTTP/1.1 403 Forbidden"), std::string::npos)
      << refused.status().message();
}

TEST(ClientUrlTest, BadUrlsAreTold) {
  base::Loop loop;
  for (const char* url : {"", "ftp://x", "http://", "https://x:99999", "http://[::1"}) {
    ClientOptions options;
    options.url = url;
    Client client(loop, options);
    std::optional<base::Status> status;
    client.Fetch({}, seconds(1), [&](auto response) { status = response.status(); });
    ASSERT_TRUE(loop.RunUntil([&] { return status.has_value(); }, seconds(5)));
    EXPECT_EQ(status->code(), base::Code::kInvalidArgument) << url;
  }
}

/// A socket of this machine that listens, and from which nobody accepts.
struct QuietSocket {
  explicit QuietSocket(int backlog) : fd(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    EXPECT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(::listen(fd, backlog), 0);
    EXPECT_EQ(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size), 0);
    port = ntohs(address.sin_port);
  }
  ~QuietSocket() { ::close(fd); }
  QuietSocket(const QuietSocket&) = delete;
  QuietSocket& operator=(const QuietSocket&) = delete;

  const int fd;
  uint16_t port = 0;
};

/// What is sent to a socket is lost from now on, as on the way to a machine that is gone.
void LoseAllSentTo(int fd) {
  sock_filter nothing = {BPF_RET | BPF_K, 0, 0, 0};
  const sock_fprog program = {1, &nothing};
  ASSERT_EQ(::setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program), 0);
}

TEST(ClientUrlTest, ConnectTimeout) {
  base::Loop loop;
  // A full backlog: nobody accepts, and the kernel does not answer.
  const QuietSocket listener(0);
  ClientOptions options;
  options.url =
      fmt::format("https://127.0.0.1:{}", listener.port);  // The handshake waits for ever.
  options.connect_timeout = milliseconds(50);
  Client client(loop, options);
  std::optional<base::Status> status;
  client.Fetch({}, seconds(10), [&](auto response) { status = response.status(); });
  ASSERT_TRUE(loop.RunUntil([&] { return status.has_value(); }, seconds(5)));
  EXPECT_EQ(status->code(), base::Code::kDeadlineExceeded);
}

/// What a client holds while a server says nothing: the end of its one request.
class SilenceTest : public testing::Test {
 protected:
  void Ask(ClientOptions options) {
    options.http2_prior_knowledge = true;
    client_ = std::make_unique<Client>(loop_, options);
    ClientEvents events;
    events.head = [this](ResponseHead) { answered_ = true; };
    events.close = [this](base::Status status) { end_ = std::move(status); };
    stream_ = client_->Open({}, false, std::move(events));
  }
  void Serve() {
    server_ = std::make_unique<Server>(loop_, ServerOptions{},
                                       [this](std::shared_ptr<ServerStream> stream) {
                                         stream->SendHeaders(200, {});
                                         held_ = stream;
                                       });
    ASSERT_TRUE(server_->Start().ok());
  }
  std::string Url() const { return fmt::format("http://127.0.0.1:{}", server_->port()); }

  base::Loop loop_;
  std::unique_ptr<Server> server_;
  std::shared_ptr<ServerStream> held_;
  std::unique_ptr<Client> client_;
  std::shared_ptr<ClientStream> stream_;
  bool answered_ = false;  // What was not is sent again on another connection.
  std::optional<base::Status> end_;
};

/// The end of the one connection to a port of ours: the server's, or the client's.
int SocketWith(uint16_t port, bool server) {
  for (int fd = 3; fd < 1024; ++fd) {
    sockaddr_in own{}, peer{};
    socklen_t size = sizeof own;
    if (::getsockname(fd, reinterpret_cast<sockaddr*>(&own), &size) != 0) continue;
    size = sizeof peer;
    if (::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) != 0) continue;
    const sockaddr_in& side = server ? own : peer;
    if (side.sin_family == AF_INET && ntohs(side.sin_port) == port) return fd;
  }
  return -1;
}

TEST_F(SilenceTest, ConnectionToAMachineThatIsGoneBreaks) {
  Serve();
  ClientOptions options;
  options.url = Url();
  options.lost_after = seconds(2);
  Ask(options);
  ASSERT_TRUE(loop_.RunUntil([&] { return answered_; }, seconds(10)));
  // Idle it is asked after half of the time, each second.
  int value = 0;
  socklen_t size = sizeof value;
  const int client = SocketWith(server_->port(), false);
  for (const int option : {TCP_KEEPIDLE, TCP_KEEPINTVL}) {
    ASSERT_EQ(::getsockopt(client, IPPROTO_TCP, option, &value, &size), 0);
    EXPECT_EQ(value, 1);
  }
  ASSERT_NO_FATAL_FAILURE(LoseAllSentTo(SocketWith(server_->port(), true)));
  stream_->SendData(base::Slice(std::string("lost")), false);
  ASSERT_TRUE(loop_.RunUntil([&] { return end_.has_value(); }, seconds(20)));
  EXPECT_EQ(end_->code(), base::Code::kUnavailable) << end_->message();
}

TEST_F(SilenceTest, ServerThatAnswersNoPingIsGone) {
  std::unique_ptr<ByteStream> peer;
  auto listener = TcpListener::Listen(loop_, "127.0.0.1", 0,
                                      [&](auto stream, std::string) { peer = std::move(stream); });
  ASSERT_TRUE(listener.ok());
  ClientOptions options;
  options.url = fmt::format("http://127.0.0.1:{}", (*listener)->port());
  options.keepalive = milliseconds(50);
  options.keepalive_timeout = milliseconds(50);
  Ask(options);
  ASSERT_TRUE(loop_.RunUntil([&] { return end_.has_value(); }, seconds(10)));
  EXPECT_EQ(end_->message(), "the server does not answer pings");
}

TEST_F(SilenceTest, ServerThatAnswersPingsIsWaitedFor) {
  Serve();
  ClientOptions options;
  options.url = Url();
  options.keepalive = milliseconds(10);
  options.keepalive_timeout = milliseconds(100);
  Ask(options);
  ASSERT_TRUE(loop_.RunUntil([&] { return answered_; }, seconds(10)));
  EXPECT_FALSE(loop_.RunUntil([&] { return end_.has_value(); }, milliseconds(500)));
}

/// The local ports of connections to a port of this machine that are not answered yet.
std::set<std::string> PortsThatAsk(uint16_t port) {
  std::set<std::string> ports;
  std::ifstream table("/proc/net/tcp");
  const std::string peer = fmt::format("0100007F:{:04X}", port);
  for (std::string number, from, to, state, line; table >> number >> from >> to >> state;
       std::getline(table, line)) {
    if (to == peer && state == "02") ports.insert(from);
  }
  return ports;
}

// As behind the address of a Service, where another connection leads to another endpoint.
TEST_F(SilenceTest, AnAddressThatDoesNotAnswerIsAskedByAnotherConnection) {
  const QuietSocket listener(8);
  ASSERT_NO_FATAL_FAILURE(LoseAllSentTo(listener.fd));
  std::optional<base::Result<Dialed>> dialed;
  Route route;
  route.target = {"127.0.0.1", listener.port};
  Dialer dialer(loop_, route, seconds(60), [&](auto result) { dialed = std::move(result); });
  std::set<std::string> ports;
  ASSERT_TRUE(loop_.RunUntil(
      [&] {
        ports.merge(PortsThatAsk(listener.port));
        return ports.size() == 2;
      },
      seconds(20)));
  const int unused = 0;
  ASSERT_EQ(::setsockopt(listener.fd, SOL_SOCKET, SO_DETACH_FILTER, &unused, sizeof unused), 0);
  ASSERT_TRUE(loop_.RunUntil([&] { return dialed.has_value(); }, seconds(20)));
  EXPECT_TRUE(dialed->ok()) << dialed->status().message();
}

class TlsTest : public testing::Test {
 protected:
  void Serve(TlsServerOptions tls) {
    ServerOptions options;
    options.tls.emplace(std::move(tls));
    server_ = std::make_unique<Server>(loop_, std::move(options),
                                       [this](std::shared_ptr<ServerStream> stream) {
                                         peer_ = stream->peer();
                                         stream->Respond(200, "", "ok");
                                       });
    ASSERT_TRUE(server_->Start().ok());
  }
  base::Status Ask(TlsClientOptions tls) {
    ClientOptions options;
    options.url = fmt::format("https://127.0.0.1:{}", server_->port());
    options.tls = std::move(tls);
    Client client(loop_, options);
    std::optional<base::Status> status;
    client.Fetch({}, seconds(10), [&](auto response) { status = response.status(); });
    EXPECT_TRUE(loop_.RunUntil([&] { return status.has_value(); }, seconds(10)));
    return status.value_or(base::Error(base::Code::kUnknown, "no answer"));
  }
  TlsServerOptions Present(std::shared_ptr<const pki::KeyCertificate> pair) {
    TlsServerOptions tls;
    tls.certificate = [pair] { return pair; };
    return tls;
  }

  base::Loop loop_;
  TestCa ca_, other_;
  std::unique_ptr<Server> server_;
  PeerInfo peer_;
};

TEST_F(TlsTest, ChecksChainAndName) {
  Serve(Present(ca_.Issue({"istiod.istio-system.svc"}, {"10.9.9.9"})));
  TlsClientOptions tls;
  tls.roots = ca_.roots();
  EXPECT_EQ(Ask(tls).code(), base::Code::kUnauthenticated);  // 127.0.0.1 is not in it.
  EXPECT_NE(Ask(tls).message().find("IP address mismatch"), std::string::npos)
      << Ask(tls).message();
  tls.server_name = "istiod.istio-system.svc";
  EXPECT_TRUE(Ask(tls).ok()) << Ask(tls).message();
  tls.server_name = "10.9.9.9";
  EXPECT_TRUE(Ask(tls).ok()) << Ask(tls).message();
  tls.server_name = "elsewhere.svc";
  EXPECT_FALSE(Ask(tls).ok());
  tls.roots = other_.roots();
  tls.server_name = "istiod.istio-system.svc";
  EXPECT_EQ(Ask(tls).code(), base::Code::kUnauthenticated);
  tls.roots = nullptr;  // Checks nothing.
  EXPECT_TRUE(Ask(tls).ok());
}

TEST_F(TlsTest, ClientCertificates) {
  using Mode = TlsServerOptions::ClientCertificate;
  const auto server_pair = ca_.Issue({}, {"127.0.0.1"});
  const auto spiffe = "spiffe://cluster.local/ns/a/sa/b";
  for (const Mode mode : {Mode::kIgnore, Mode::kOptional, Mode::kRequired}) {
    TlsServerOptions options = Present(server_pair);
    options.client_certificate = mode;
    options.client_roots = [roots = ca_.roots()] { return roots; };
    Serve(options);
    TlsClientOptions tls;
    tls.roots = ca_.roots();
    EXPECT_EQ(Ask(tls).ok(), mode != Mode::kRequired);
    EXPECT_TRUE(peer_.chain.empty());
    tls.certificate = [pair = ca_.Issue({}, {}, {spiffe})] { return pair; };
    EXPECT_TRUE(Ask(tls).ok()) << Ask(tls).message();
    EXPECT_EQ(peer_.chain.empty(), mode == Mode::kIgnore);
    if (!peer_.chain.empty()) {
      EXPECT_EQ(peer_.chain.front().uri_sans(), std::vector<std::string>{spiffe});
    }
    // A certificate of strangers never counts.
    peer_ = {};
    tls.certificate = [pair = other_.Issue({}, {}, {spiffe})] { return pair; };
    EXPECT_EQ(Ask(tls).ok(), mode == Mode::kIgnore);
    EXPECT_TRUE(peer_.chain.empty());
  }
}

TEST_F(TlsTest, NewRootsAndCertificatesCountFromTheNextConnection) {
  auto pair = ca_.Issue({}, {"127.0.0.1"});
  auto roots = ca_.roots();
  TlsServerOptions options;
  options.certificate = [&] { return pair; };
  options.client_certificate = TlsServerOptions::ClientCertificate::kRequired;
  options.client_roots = [&] { return roots; };
  Serve(options);
  TlsClientOptions tls;
  tls.roots = ca_.roots();
  tls.certificate = [pair = other_.Issue({}, {})] { return pair; };
  EXPECT_FALSE(Ask(tls).ok());
  roots = other_.roots();
  EXPECT_TRUE(Ask(tls).ok());
  pair = other_.Issue({}, {"127.0.0.1"});
  EXPECT_FALSE(Ask(tls).ok());
  tls.roots = other_.roots();
  EXPECT_TRUE(Ask(tls).ok());
  pair = nullptr;
  EXPECT_FALSE(Ask(tls).ok());
  roots = nullptr;
  pair = other_.Issue({}, {"127.0.0.1"});
  EXPECT_FALSE(Ask(tls).ok());
}

}  // namespace
}  // namespace isthmus::http
