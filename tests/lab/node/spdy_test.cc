#include "lab/node/spdy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kubeapi/json.h"
#include "lab/node/remote_streams.h"

namespace isthmus::lab::node {
namespace {

using testing::ElementsAre;
using testing::Pair;

// A connection whose bytes the test writes and reads itself.
struct Wire {
  std::string sent;
  std::function<void(std::string_view)> data;
  std::function<void(base::Status)> close;
  bool finished = false;
};

class WireStream final : public http::ByteStream {
 public:
  explicit WireStream(Wire& wire) : wire_(wire) {}
  void OnData(std::function<void(std::string_view)> callback) override {
    wire_.data = std::move(callback);
  }
  void OnClose(std::function<void(base::Status)> callback) override {
    wire_.close = std::move(callback);
  }
  void Write(base::Slice bytes) override { wire_.sent += bytes.view(); }
  void Finish() override { wire_.finished = true; }
  size_t buffered() const override { return 0; }
  void OnDrain(std::function<void()>) override {}
  void PauseReading(bool) override {}

 private:
  Wire& wire_;
};

std::string Number(uint32_t value) {
  return {static_cast<char>(value >> 24), static_cast<char>(value >> 16),
          static_cast<char>(value >> 8), static_cast<char>(value)};
}

std::string Control(uint16_t type, const std::string& payload) {
  return Number(0x80030000u | type) + Number(static_cast<uint32_t>(payload.size())) + payload;
}

std::string Open(SpdyHeaderCodec& codec, uint32_t id, const SpdyHeaders& headers) {
  return Control(1, Number(id) + Number(0) + std::string(2, '\0') + codec.Encode(headers));
}

std::string Data(uint32_t id, const std::string& bytes, bool end = false) {
  return Number(id) + Number((end ? 1u << 24 : 0) | static_cast<uint32_t>(bytes.size())) + bytes;
}

class SpdyTest : public testing::Test {
 protected:
  void Make() {
    session_ = std::make_unique<SpdySession>(
        std::make_unique<WireStream>(wire_),
        SpdySession::Events{
            .opened =
                [this](uint32_t id, const SpdyHeaders& headers) {
                  opened_.emplace_back(id, headers);
                  session_->Accept(id);
                },
            .data = [this](uint32_t id, std::string_view bytes) { data_[id] += bytes; },
            .ended = [this](uint32_t id) { ended_.push_back(id); },
            .closed = [this](const base::Status& status) { closed_.push_back(status); }});
  }
  Wire wire_;
  SpdyHeaderCodec client_;
  std::unique_ptr<SpdySession> session_;
  std::vector<std::pair<uint32_t, SpdyHeaders>> opened_;
  std::map<uint32_t, std::string> data_;
  std::vector<uint32_t> ended_;
  std::vector<base::Status> closed_;
};

TEST_F(SpdyTest, HeadersSurviveTheConnectionsCompression) {
  SpdyHeaderCodec server;
  for (int i = 0; i < 3; ++i) {
    auto headers =
        server.Decode(client_.Encode({{"streamtype", "stdin"}, {"port", std::to_string(i)}}));
    ASSERT_TRUE(headers.ok()) << headers.status().message();
    EXPECT_THAT(*headers,
                ElementsAre(Pair("streamtype", "stdin"), Pair("port", std::to_string(i))));
  }
}

TEST_F(SpdyTest, StreamsOpenCarryAndEnd) {
  Make();
  const std::string bytes =
      Open(client_, 1, {{"streamtype", "stdin"}}) + Data(1, "hello") + Data(1, "", true);
  for (const char byte : bytes) wire_.data({&byte, 1});  // In the smallest pieces.
  ASSERT_EQ(opened_.size(), 1u);
  EXPECT_EQ(opened_[0].first, 1u);
  EXPECT_EQ(data_[1], "hello");
  EXPECT_THAT(ended_, ElementsAre(1u));
  wire_.sent.clear();
  session_->Send(1, "answer", true);
  EXPECT_EQ(wire_.sent, Data(1, "answer", true));
  wire_.sent.clear();
  session_->Send(1, "too late");
  EXPECT_EQ(wire_.sent, "");
}

TEST_F(SpdyTest, LargeDataIsSentInPieces) {
  Make();
  wire_.data(Open(client_, 1, {}));
  wire_.sent.clear();
  session_->Send(1, std::string(100000, 'x'), true);
  EXPECT_EQ(wire_.sent.size(), 100000u + 4 * 8);
}

TEST_F(SpdyTest, PingsAreAnswered) {
  Make();
  wire_.data(Control(6, Number(7)));
  EXPECT_EQ(wire_.sent, Control(6, Number(7)));
}

TEST_F(SpdyTest, GarbageClosesTheConnection) {
  for (const std::string& bytes :
       {Control(1, "short"), Control(1, Number(1) + Number(0) + "xxgarbage that is no zlib"),
        Number(1) + Number(0xffffff) + std::string("x"), Control(3, "1")}) {
    closed_.clear();
    Make();
    wire_.data(bytes);
    EXPECT_EQ(closed_.size(), 1u);
    EXPECT_FALSE(closed_.empty() || closed_[0].ok());
  }
}

TEST_F(SpdyTest, ACallbackMayDropTheSession) {
  auto session = std::make_shared<std::unique_ptr<SpdySession>>();
  int calls = 0;
  *session = std::make_unique<SpdySession>(
      std::make_unique<WireStream>(wire_),
      SpdySession::Events{
          .opened = {},
          // What it holds is used after the session has gone.
          .data =
              [session, &calls, text = std::string(100, 'x')](uint32_t, std::string_view) {
                session->reset();
                calls += static_cast<int>(text.size());
              },
          .ended = [&calls](uint32_t) { calls += 1; },
          .closed = [&calls](const base::Status&) { calls += 1; }});
  wire_.data(Data(1, "last words", true) + Data(1, "too late"));
  EXPECT_EQ(calls, 100);
}

TEST_F(SpdyTest, AHeaderBombIsRefused) {
  SpdyHeaderCodec server;
  EXPECT_FALSE(server.Decode(client_.Encode({{"bomb", std::string(200000, 'a')}})).ok());
}

TEST(StreamProtocolTest, PicksTheBestOffered) {
  http::RequestHead head;
  head.headers.Add("x-stream-protocol-version", "v4.channel.k8s.io");
  head.headers.Add("x-stream-protocol-version", "channel.k8s.io");
  EXPECT_EQ(ChooseStreamProtocol(head, {"v5.channel.k8s.io", "v4.channel.k8s.io"}),
            "v4.channel.k8s.io");
  EXPECT_EQ(ChooseStreamProtocol(head, {"v5.channel.k8s.io"}), "");
  http::RequestHead list;
  list.headers.Add("x-stream-protocol-version", "v4.channel.k8s.io, v3.channel.k8s.io");
  EXPECT_EQ(ChooseStreamProtocol(list, {"v3.channel.k8s.io"}), "v3.channel.k8s.io");
}

}  // namespace
}  // namespace isthmus::lab::node
