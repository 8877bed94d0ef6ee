#include "rpc/protobuf_wire.h"

#include <gtest/gtest.h>

namespace isthmus::rpc {
namespace {

TEST(ProtobufWireTest, FieldsComeBack) {
  std::string message;
  PutNumber(message, 1, 300);
  PutBytes(message, 2, "text");
  PutNumber(message, 20, UINT64_MAX);
  message += std::string("\x1d\x01\x00\x00\x00", 5);                  // 3: fixed32
  message += std::string("\x21\x02\x00\x00\x00\x00\x00\x00\x00", 9);  // 4: fixed64
  WireReader in(message);
  ASSERT_TRUE(in.Next());
  EXPECT_EQ(in.number(), 300u);
  ASSERT_TRUE(in.Next());
  EXPECT_EQ(in.bytes(), "text");
  EXPECT_TRUE(in.is_bytes());
  ASSERT_TRUE(in.Next());
  EXPECT_EQ(in.field(), 20u);
  EXPECT_EQ(in.number(), UINT64_MAX);
  ASSERT_TRUE(in.Next());
  EXPECT_EQ(in.number(), 1u);
  ASSERT_TRUE(in.Next());
  EXPECT_EQ(in.number(), 2u);
  EXPECT_FALSE(in.Next());
  EXPECT_TRUE(in.ok());
}

TEST(ProtobufWireTest, EveryTruncationIsMalformedOrShorter) {
  std::string message;
  PutBytes(message, 2, "abcdef");
  PutNumber(message, 3, 1 << 20);
  for (size_t size = 1; size < message.size(); ++size) {
    WireReader in(std::string_view(message).substr(0, size));
    size_t fields = 0;
    while (in.Next()) ++fields;
    EXPECT_TRUE(!in.ok() || size == 8) << size;
  }
  for (const std::string& bad :
       {std::string("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), std::string("\x03"),
        std::string("\x00\x00", 2), std::string("\x12\xff\xff\xff\xff\xff\xff\xff\xff\x7f")}) {
    WireReader in(bad);
    while (in.Next()) {
    }
    EXPECT_FALSE(in.ok());
  }
}

}  // namespace
}  // namespace isthmus::rpc
