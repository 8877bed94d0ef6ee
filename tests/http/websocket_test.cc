#include "http/websocket.h"

#include <gtest/gtest.h>

namespace isthmus::http {
namespace {

/// A stream whose other end is in the test's hands.
class FakeStream final : public ByteStream {
 public:
  struct Wire {
    std::string written;
    bool finished = false;
    std::function<void(std::string_view)> data;
    std::function<void(base::Status)> close;
  };
  explicit FakeStream(std::shared_ptr<Wire> wire) : wire_(std::move(wire)) {}
  void OnData(std::function<void(std::string_view)> callback) override {
    wire_->data = std::move(callback);
  }
  void OnClose(std::function<void(base::Status)> callback) override {
    wire_->close = std::move(callback);
  }
  void Write(base::Slice bytes) override { wire_->written += bytes.view(); }
  void Finish() override { wire_->finished = true; }
  size_t buffered() const override { return 0; }
  void OnDrain(std::function<void()>) override {}
  void PauseReading(bool) override {}

 private:
  std::shared_ptr<Wire> wire_;
};

struct Side {
  explicit Side(WebSocket::Role role) : socket(std::make_unique<FakeStream>(wire), role) {
    socket.OnMessage([this](std::string_view payload, bool) { messages.emplace_back(payload); });
    socket.OnClose([this](base::Status status) {
      closed = true;
      end = status;
    });
  }
  std::shared_ptr<FakeStream::Wire> wire = std::make_shared<FakeStream::Wire>();
  WebSocket socket;
  std::vector<std::string> messages;
  bool closed = false;
  base::Status end;
};

void Pump(Side& from, Side& to, size_t piece = 1 << 20) {
  std::string bytes = std::exchange(from.wire->written, "");
  for (size_t i = 0; i < bytes.size(); i += piece)
    to.wire->data(std::string_view(bytes).substr(i, piece));
}

TEST(WebSocketTest, MessagesOfAllSizesPassBothWaysInAnyPieces) {
  for (size_t size : {0, 1, 125, 126, 65535, 65536, 200000}) {
    Side client(WebSocket::Role::kClient), server(WebSocket::Role::kServer);
    std::string payload(size, 'x');
    client.socket.Send(payload);
    Pump(client, server, 7);
    server.socket.Send(payload);
    Pump(server, client, 1000);
    ASSERT_EQ(server.messages, std::vector<std::string>{payload}) << size;
    ASSERT_EQ(client.messages, std::vector<std::string>{payload}) << size;
  }
}

TEST(WebSocketTest, ClientsMaskAndServersInsistOnIt) {
  Side server(WebSocket::Role::kServer);
  server.wire->data(std::string("\x82\x01x", 3));
  EXPECT_TRUE(server.closed);
  EXPECT_FALSE(server.end.ok());
  EXPECT_TRUE(server.wire->finished);
}

TEST(WebSocketTest, FragmentsAreJoinedAndPingsAnsweredBetween) {
  Side client(WebSocket::Role::kClient);
  client.wire->data(
      std::string("\x02\x02"
                  "ab"
                  "\x89\x01p"
                  "\x80\x01"
                  "c",
                  10));
  EXPECT_EQ(client.messages, std::vector<std::string>{"abc"});
  ASSERT_GE(client.wire->written.size(), 2u);
  EXPECT_EQ(static_cast<uint8_t>(client.wire->written[0]), 0x8a);
}

TEST(WebSocketTest, BrokenAndOversizedFramesCloseTheConnection) {
  const std::string broken[] = {
      std::string("\x80\x01"
                  "c",
                  3),  // Continuation of nothing.
      std::string("\xf2\x01"
                  "c",
                  3),  // Reserved bits.
      std::string("\x83\x01"
                  "c",
                  3),  // Unknown opcode.
      std::string("\x09\x01"
                  "c",
                  3),                                               // Fragmented ping.
      std::string("\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", 10),  // A length nobody has.
  };
  for (const std::string& bytes : broken) {
    Side client(WebSocket::Role::kClient);
    client.wire->data(bytes);
    EXPECT_TRUE(client.closed);
    EXPECT_FALSE(client.end.ok());
    EXPECT_TRUE(client.messages.empty());
  }
}

TEST(WebSocketTest, CloseIsAnsweredAndOrderly) {
  Side client(WebSocket::Role::kClient), server(WebSocket::Role::kServer);
  client.socket.Close(1000, "done");
  Pump(client, server);
  EXPECT_TRUE(server.closed);
  EXPECT_TRUE(server.end.ok());
  Pump(server, client);
  EXPECT_TRUE(client.closed);
  EXPECT_TRUE(client.end.ok());
}

TEST(WebSocketHandshakeTest, TheAnswerFitsTheRequest) {
  RequestHead request = WebSocketRequest("/exec", {"v5.channel.k8s.io", "v4.channel.k8s.io"});
  EXPECT_TRUE(WantsWebSocket(request));
  EXPECT_EQ(ChooseProtocol(request, {"v4.channel.k8s.io"}), "v4.channel.k8s.io");
  EXPECT_EQ(ChooseProtocol(request, {"other"}), "");
  ResponseHead answer{101, WebSocketAnswer(request, "v4.channel.k8s.io")};
  EXPECT_TRUE(CheckWebSocketAnswer(request, answer).ok());
  EXPECT_FALSE(CheckWebSocketAnswer(WebSocketRequest("/exec", {}), answer).ok());
}

TEST(WebSocketHandshakeTest, TheKeyOfTheRfcGivesTheAnswerOfTheRfc) {
  RequestHead request;
  request.headers =
      Headers{{"upgrade", "websocket"}, {"sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="}};
  EXPECT_EQ(WebSocketAnswer(request, "").Get("sec-websocket-accept"),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

}  // namespace
}  // namespace isthmus::http
