#include "rpc/framing.h"

#include <gtest/gtest.h>

#include <vector>

namespace isthmus::rpc {
namespace {

std::string Frame(std::string_view message) {
  return std::string(MessagePrefix(message.size()).view()) + std::string(message);
}

std::vector<std::string> Read(const std::string& bytes, size_t piece,
                              base::Status* status = nullptr, size_t limit = 1000) {
  MessageReader reader(limit);
  std::vector<std::string> messages;
  for (size_t i = 0; i < bytes.size(); i += piece) {
    base::Status fed = reader.Feed(
        std::string_view(bytes).substr(i, piece),
        [&](std::string_view message) { messages.emplace_back(message); }, [] { return true; });
    if (status != nullptr) *status = fed;
    if (!fed.ok()) break;
  }
  return messages;
}

TEST(MessageReaderTest, CutsMessagesInAnyPieces) {
  std::string bytes = Frame("one") + Frame("") + Frame(std::string(500, 'x'));
  std::vector<std::string> wanted = {"one", "", std::string(500, 'x')};
  for (size_t piece : {1, 2, 3, 5, 6, 100, 10000}) EXPECT_EQ(Read(bytes, piece), wanted) << piece;
}

TEST(MessageReaderTest, RefusesTooLargeBeforeKeepingIt) {
  for (size_t piece : {1, 5, 100}) {
    base::Status status;
    EXPECT_TRUE(Read(std::string("\0\xff\xff\xff\xff", 5) + "abc", piece, &status).empty());
    EXPECT_EQ(status.code(), base::Code::kResourceExhausted);
  }
}

TEST(MessageReaderTest, RefusesCompression) {
  base::Status status;
  Read(std::string("\1\0\0\0\1x", 6), 6, &status);
  EXPECT_EQ(status.code(), base::Code::kUnimplemented);
}

TEST(MessageReaderTest, StopsWhenItsOwnerIsGone) {
  MessageReader reader(100);
  int seen = 0;
  base::Status status = reader.Feed(
      Frame("a") + Frame("b"), [&](std::string_view) { ++seen; }, [&] { return seen == 0; });
  EXPECT_TRUE(status.ok());
  EXPECT_EQ(seen, 1);
}

TEST(MessageReaderTest, TellsAnUnfinishedMessage) {
  MessageReader reader(100);
  (void)reader.Feed(
      Frame("abc").substr(0, 6), [](std::string_view) {}, [] { return true; });
  EXPECT_TRUE(reader.partial());
}

TEST(GrpcMessageTest, EncodesWhatHeadersCannotCarry) {
  std::string text = "100% ü\n";
  EXPECT_EQ(EncodeGrpcMessage(text), "100%25 %C3%BC%0A");
  EXPECT_EQ(DecodeGrpcMessage(EncodeGrpcMessage(text)), text);
  EXPECT_EQ(DecodeGrpcMessage("%zz%4"), "%zz%4");
}

TEST(StatusOfHttpTest, FollowsTheGrpcTable) {
  EXPECT_EQ(StatusOfHttp(401).code(), base::Code::kUnauthenticated);
  EXPECT_EQ(StatusOfHttp(503).code(), base::Code::kUnavailable);
  EXPECT_EQ(StatusOfHttp(404).code(), base::Code::kUnimplemented);
  EXPECT_EQ(StatusOfHttp(418).code(), base::Code::kUnknown);
}

}  // namespace
}  // namespace isthmus::rpc
