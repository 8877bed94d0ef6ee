#include "agent/xds_message.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/wire.h"
#include "tests/pki/pki_fixture.h"

namespace isthmus::agent {
namespace {

using pki::Must;
using ::testing::ElementsAre;

TEST(WireTest, FieldsComeBack) {
  std::string message;
  AppendNumber(message, 1, 300);
  AppendBytes(message, 2, "text");
  AppendNumber(message, 20, UINT64_MAX);
  message += std::string("\x1d\x01\x00\x00\x00", 5);                  // 3: fixed32
  message += std::string("\x21\x02\x00\x00\x00\x00\x00\x00\x00", 9);  // 4: fixed64
  Fields in(message);
  ASSERT_TRUE(in.Next());
  EXPECT_EQ(in.value(), 300u);
  ASSERT_TRUE(in.Next());
  EXPECT_EQ(in.bytes(), "text");
  EXPECT_TRUE(in.is_bytes());
  ASSERT_TRUE(in.Next());
  EXPECT_EQ(in.number(), 20u);
  EXPECT_EQ(in.value(), UINT64_MAX);
  ASSERT_TRUE(in.Next());
  EXPECT_EQ(in.value(), 1u);
  ASSERT_TRUE(in.Next());
  EXPECT_EQ(in.value(), 2u);
  EXPECT_FALSE(in.Next());
  EXPECT_TRUE(in.ok());
}

TEST(WireTest, EveryTruncationIsMalformedOrShorter) {
  std::string message;
  AppendBytes(message, 2, "abcdef");
  AppendNumber(message, 3, 1 << 20);
  for (size_t size = 1; size < message.size(); ++size) {
    Fields in(std::string_view(message).substr(0, size));
    size_t fields = 0;
    while (in.Next()) ++fields;
    EXPECT_TRUE(!in.ok() || size == 8) << size;
  }
  for (const std::string& bad :
       {std::string("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), std::string("\x03"),
        std::string("\x00\x00", 2), std::string("\x12\xff\xff\xff\xff\xff\xff\xff\xff\x7f")}) {
    Fields in(bad);
    while (in.Next()) {
    }
    EXPECT_FALSE(in.ok());
  }
}

TEST(XdsMessageTest, DeltaRequestsOfOursAreReadBack) {
  const std::string text =
      MakeXdsRequest(XdsForm::kDelta, kNameTableType, "n1", "", "bad table", {"a", "b"});
  const XdsRequest request = Must(ParseXdsRequest(XdsForm::kDelta, text));
  EXPECT_EQ(request.type_url, kNameTableType);
  EXPECT_EQ(request.nonce, "n1");
  EXPECT_TRUE(request.rejected);
  EXPECT_EQ(request.error, "bad table");
  EXPECT_THAT(request.names, ElementsAre("a", "b"));
}

TEST(XdsMessageTest, InitialVersionsAreSeen) {
  std::string entry;
  AppendBytes(entry, 1, "cluster");
  AppendBytes(entry, 2, "v1");
  std::string message = MakeXdsRequest(XdsForm::kDelta, kClusterType, "", "", "");
  AppendBytes(message, 5, entry);
  EXPECT_THAT(Must(ParseXdsRequest(XdsForm::kDelta, message)).had, ElementsAre("cluster"));
}

TEST(XdsMessageTest, BothFormsOfResponses) {
  const std::string any = MakeAny(kSecretType, "value");
  const std::string delta = MakeXdsResponse(XdsForm::kDelta, kSecretType, "n", "v",
                                            {MakeResource("default", "1", any)}, {"gone"});
  const XdsResponse response = Must(ParseXdsResponse(XdsForm::kDelta, delta));
  ASSERT_EQ(response.resources.size(), 1u);
  EXPECT_EQ(response.resources[0].name, "default");
  EXPECT_EQ(response.resources[0].version, "1");
  EXPECT_EQ(AnyValue(response.resources[0].any), "value");
  EXPECT_THAT(response.removed, ElementsAre("gone"));
  const std::string full = MakeXdsResponse(XdsForm::kStateOfTheWorld, kSecretType, "n", "v", {any});
  EXPECT_EQ(AnyValue(Must(ParseXdsResponse(XdsForm::kStateOfTheWorld, full)).resources.at(0).any),
            "value");
  EXPECT_TRUE(Must(ParseXdsResponseHead(XdsForm::kDelta, delta)).resources.empty());
  EXPECT_FALSE(ParseXdsResponse(XdsForm::kDelta, delta.substr(0, delta.size() - 1)).ok());
  EXPECT_FALSE(ParseXdsRequest(XdsForm::kDelta, "\x12\x7f").ok());
}

}  // namespace
}  // namespace isthmus::agent
