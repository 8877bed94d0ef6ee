#include "agent/xds_message.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rpc/protobuf_wire.h"
#include "tests/pki/pki_fixture.h"

namespace isthmus::agent {
namespace {

using pki::Must;
using ::testing::ElementsAre;

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
  rpc::PutBytes(entry, 1, "cluster");
  rpc::PutBytes(entry, 2, "v1");
  std::string message = MakeXdsRequest(XdsForm::kDelta, kClusterType, "", "", "");
  rpc::PutBytes(message, 5, entry);
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
