#include "ads/payload.h"

#include <gtest/gtest.h>

namespace isthmus::ads {
namespace {

std::vector<ResourcePtr> Resources(size_t count) {
  std::vector<ResourcePtr> resources;
  for (size_t i = 0; i < count; ++i) {
    auto resource = std::make_shared<model::Resource>();
    resource->name = "r" + std::to_string(i);
    resource->any = base::Slice(std::string(500 + i, static_cast<char>('a' + i % 26)));
    resources.push_back(std::move(resource));
  }
  return resources;
}

std::string Joined(const Payload& payload) {
  std::string all;
  for (const base::Slice& part : payload.parts) all += part.view();
  return all;
}

TEST(PayloadTest, FewResourcesAreSentAsTheMemoryTheyAreIn) {
  const auto resources = Resources(3);
  const Payload payload = Frame(Protocol::kDelta, resources, {});
  ASSERT_EQ(payload.parts.size(), 6u);
  EXPECT_EQ(payload.parts[1].data(), resources[0]->any.data());
}

// A stream's queue must not grow with the number of resources of a first push.
TEST(PayloadTest, ManyResourcesAreOnePieceWithTheSameBytes) {
  const auto resources = Resources(500);
  for (const Protocol protocol : {Protocol::kDelta, Protocol::kSotw}) {
    const Payload payload = Frame(protocol, resources, {});
    EXPECT_EQ(payload.parts.size(), 1u);
    std::string one_by_one;
    for (const ResourcePtr& resource : resources)
      one_by_one += Joined(Frame(protocol, std::span(&resource, 1), {}));
    EXPECT_EQ(Joined(payload), one_by_one);
    EXPECT_EQ(payload.bytes, one_by_one.size());
    EXPECT_EQ(payload.resources, 500u);
  }
}

}  // namespace
}  // namespace isthmus::ads
