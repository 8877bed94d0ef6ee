#include "ads/stream.h"

#include <envoy/config/endpoint/v3/endpoint.pb.h>
#include <envoy/config/route/v3/route.pb.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/ads/fake_client.h"

namespace isthmus::ads {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;
using testing::UnorderedElementsAre;

class StreamTest : public testing::TestWithParam<Protocol> {
 protected:
  StreamTest() : context_{views_, clock_, {}, {}, nullptr, "2026-11-21T12:00:00Z/1", {}, {}, {}} {
    context_.make_nonce = [this] { return fmt::format("#{}", ++nonces_); };
    views_.Set(kClusterType, {MakeSet({{"c1", "C1"}, {"c2", "C2"}}), MakeSet({{"in", "IN"}})});
    views_.Set(kEndpointType, {MakeSet({{"c1", "E1"}, {"c2", "E2"}})});
    views_.Set(kListenerType, {MakeSet({{"l1", "L1"}})});
    views_.Set(kRouteType, {MakeSet({{"80", "R80"}, {"90", "R90"}})});
  }
  static Names Keys(const std::map<std::string, std::string>& resources) {
    Names keys;
    for (const auto& [key, value] : resources) keys.push_back(value);
    std::sort(keys.begin(), keys.end());
    return keys;
  }
  static std::vector<std::string> Types(const std::vector<Response>& responses) {
    std::vector<std::string> types;
    for (const auto& each : responses) types.emplace_back(ShortName(each.type));
    return types;
  }

  base::ManualClock clock_{base::Time{}};
  FakeViews views_;
  int nonces_ = 0;
  StreamContext context_;
};
INSTANTIATE_TEST_SUITE_P(Both, StreamTest, testing::Values(Protocol::kSotw, Protocol::kDelta),
                         [](const auto& info) {
                           return info.param == Protocol::kSotw ? "Sotw" : "Delta";
                         });

TEST_P(StreamTest, WildcardTypeIsAnsweredInFullAndAcknowledgementIsNot) {
  FakeClient client(context_, GetParam());
  ASSERT_TRUE(client.Ask(kClusterType).ok());
  const Response got = client.TakeOne();
  EXPECT_EQ(got.type, kClusterType);
  EXPECT_EQ(got.version, context_.version);
  EXPECT_EQ(got.nonce, context_.version + "#1");
  EXPECT_THAT(Keys(got.resources), ElementsAre("C1", "C2", "IN"));
  ASSERT_TRUE(client.Ack(kClusterType).ok());
  EXPECT_THAT(client.Take(), IsEmpty());
  EXPECT_TRUE(client.stream.Settled());
}

TEST_P(StreamTest, NamedTypeGetsOnlyItsNamesAndThenOnlyAddedOnes) {
  FakeClient client(context_, GetParam());
  ASSERT_TRUE(client.Ask(kEndpointType, {"c1"}).ok());
  EXPECT_THAT(Keys(client.TakeOne().resources), ElementsAre("E1"));
  ASSERT_TRUE(client
                  .Ask(kEndpointType,
                       GetParam() == Protocol::kSotw ? Names{"c1", "c2"} : Names{"c2"}, {},
                       client.LastNonce(kEndpointType))
                  .ok());
  EXPECT_THAT(Keys(client.TakeOne().resources), ElementsAre("E2"));
}

TEST_P(StreamTest, OnlyChangedEndpointsArePushed) {
  FakeClient client(context_, GetParam());
  ASSERT_TRUE(client.Ask(kEndpointType, {"c1", "c2"}).ok());
  client.Take();
  ASSERT_TRUE(client.Ack(kEndpointType, {"c1", "c2"}).ok());
  views_.Set(kEndpointType, {MakeSet({{"c1", "E1"}, {"c2", "E2b"}, {"c9", "not asked for"}})});
  client.stream.Pump();
  EXPECT_THAT(Keys(client.TakeOne().resources), ElementsAre("E2b"));
  client.stream.Pump();
  EXPECT_THAT(client.Take(), IsEmpty());
}

TEST_P(StreamTest, EqualBytesInNewSetsAreNotPushed) {
  FakeClient client(context_, GetParam());
  ASSERT_TRUE(client.Ask(kEndpointType, {"c1", "c2"}).ok());
  client.Take();
  ASSERT_TRUE(client.Ack(kEndpointType, {"c1", "c2"}).ok());
  views_.Set(kEndpointType, {MakeSet({{"c1", "E1"}, {"c2", "E2"}})});
  client.stream.Pump();
  EXPECT_THAT(client.Take(), IsEmpty());
}

TEST_P(StreamTest, PushWaitsForAcknowledgementAndThenSendsTheNewestOnly) {
  FakeClient client(context_, GetParam());
  ASSERT_TRUE(client.Ask(kEndpointType, {"c1"}).ok());
  client.Take();
  for (const char* text : {"a", "b", "c"}) {
    views_.Set(kEndpointType, {MakeSet({{"c1", text}})});
    client.stream.Pump();
  }
  EXPECT_THAT(client.Take(), IsEmpty()) << "the first response is not acknowledged yet";
  ASSERT_TRUE(client.Ack(kEndpointType, {"c1"}).ok());
  EXPECT_THAT(Keys(client.TakeOne().resources), ElementsAre("c"));
}

TEST_P(StreamTest, UnwrittenResponseHoldsEverythingBack) {
  FakeClient client(context_, GetParam());
  ASSERT_TRUE(client.Ask(kClusterType).ok());
  client.Take();
  client.stuck = 1000;
  ASSERT_TRUE(client.Ask(kListenerType).ok());
  EXPECT_THAT(client.Take(), IsEmpty());
  client.stuck = 0;
  client.stream.Pump();
  EXPECT_EQ(client.TakeOne().type, kListenerType);
}

TEST_P(StreamTest, RejectionIsRecordedAndSentAgainOnlyAfterAChange) {
  FakeClient client(context_, GetParam());
  ASSERT_TRUE(client.Ask(kListenerType).ok());
  client.Take();
  ASSERT_TRUE(client.Nack(kListenerType, "no such filter").ok());
  EXPECT_THAT(client.Take(), IsEmpty());
  const Subscription& listeners = *client.stream.subscriptions().at(0);
  EXPECT_EQ(listeners.error(), "no such filter");
  EXPECT_EQ(listeners.nonce_acked(), "");
  EXPECT_EQ(context_.stats.rejects[PushOrder(kListenerType)], 1u);

  views_.Set(kListenerType, {MakeSet({{"l1", "better"}})});
  client.stream.Pump();
  EXPECT_THAT(Keys(client.TakeOne().resources), ElementsAre("better"));
  ASSERT_TRUE(client.Ack(kListenerType).ok());
  EXPECT_EQ(listeners.error(), "");
  EXPECT_EQ(listeners.nonce_acked(), listeners.nonce_sent());
}

TEST_P(StreamTest, AnswerToAnOlderNonceIsNoAcknowledgement) {
  FakeClient client(context_, GetParam());
  ASSERT_TRUE(client.Ask(kClusterType).ok());
  client.Take();
  ASSERT_TRUE(client.Ask(kClusterType, {}, {}, "something else").ok());
  EXPECT_THAT(client.Take(), IsEmpty());
  EXPECT_TRUE(client.stream.subscriptions().at(0)->waiting());
  EXPECT_EQ(context_.stats.stale, 1u);
}

TEST_P(StreamTest, PushGoesInOrder) {
  FakeClient client(context_, GetParam());
  // Asked for in another order than that of the push.
  ASSERT_TRUE(client.Ask(kRouteType, {"80"}).ok());
  ASSERT_TRUE(client.Ask(kListenerType).ok());
  ASSERT_TRUE(client.Ask(kEndpointType, {"c1"}).ok());
  ASSERT_TRUE(client.Ask(kClusterType).ok());
  client.Take();
  ASSERT_TRUE(client.Ack(kRouteType, {"80"}).ok());
  ASSERT_TRUE(client.Ack(kListenerType).ok());
  ASSERT_TRUE(client.Ack(kEndpointType, {"c1"}).ok());
  ASSERT_TRUE(client.Ack(kClusterType).ok());
  client.Take();
  views_.Set(kRouteType, {MakeSet({{"80", "r"}})});
  views_.Set(kListenerType, {MakeSet({{"l1", "l"}})});
  views_.Set(kEndpointType, {MakeSet({{"c1", "e"}})});
  views_.Set(kClusterType, {MakeSet({{"c1", "c"}})});
  client.stream.Pump();
  EXPECT_THAT(Types(client.Take()), ElementsAre("CDS", "EDS", "LDS", "RDS"));
}

TEST_P(StreamTest, RoutesWaitForClustersThatAreNotTakenYetButEndpointsDoNot) {
  FakeClient client(context_, GetParam());
  ASSERT_TRUE(client.Ask(kClusterType).ok());
  ASSERT_TRUE(client.Ask(kEndpointType, {"c1"}).ok());
  ASSERT_TRUE(client.Ask(kRouteType, {"80"}).ok());
  client.Take();
  ASSERT_TRUE(client.Ack(kEndpointType, {"c1"}).ok());
  ASSERT_TRUE(client.Ack(kRouteType, {"80"}).ok());
  views_.Set(kClusterType, {MakeSet({{"c1", "C1"}, {"c3", "C3"}})});
  views_.Set(kEndpointType, {MakeSet({{"c1", "e"}})});
  views_.Set(kRouteType, {MakeSet({{"80", "to c3"}})});
  client.stream.Pump();
  EXPECT_THAT(Types(client.Take()), ElementsAre("EDS"));
  ASSERT_TRUE(client.Ack(kClusterType).ok());
  EXPECT_THAT(Types(client.Take()), ElementsAre("CDS", "RDS"));
}

TEST_P(StreamTest, ChangedClusterIsFollowedByItsEndpoints) {
  FakeClient client(context_, GetParam());
  ASSERT_TRUE(client.Ask(kClusterType).ok());
  ASSERT_TRUE(client.Ask(kEndpointType, {"c1", "c2"}).ok());
  client.Take();
  ASSERT_TRUE(client.Ack(kClusterType).ok());
  ASSERT_TRUE(client.Ack(kEndpointType, {"c1", "c2"}).ok());
  views_.Set(kClusterType,
             {MakeSet({{"c1", "C1"}, {"c2", "C2 with a new policy"}}), MakeSet({{"in", "IN"}})});
  client.stream.Pump();
  const auto got = client.Take();
  ASSERT_THAT(Types(got), ElementsAre("CDS", "EDS"));
  EXPECT_THAT(Keys(got[1].resources), ElementsAre("E2"));
}

TEST_P(StreamTest, ClustersAskedForAfterEndpointsBringAllEndpointsAgain) {
  FakeClient client(context_, GetParam());
  ASSERT_TRUE(client.Ask(kEndpointType, {"c1", "c2"}).ok());
  client.Take();
  ASSERT_TRUE(client.Ack(kEndpointType, {"c1", "c2"}).ok());
  ASSERT_TRUE(client.Ask(kClusterType).ok());
  const auto got = client.Take();
  ASSERT_THAT(Types(got), ElementsAre("CDS", "EDS"));
  EXPECT_THAT(Keys(got[1].resources), ElementsAre("E1", "E2"));
}

TEST_P(StreamTest, UnknownTypeIsAnsweredEmpty) {
  FakeClient client(context_, GetParam());
  ASSERT_TRUE(client.Ask("example.com/v1/Thing").ok());
  const Response got = client.TakeOne();
  EXPECT_EQ(got.type, "example.com/v1/Thing");
  EXPECT_THAT(got.resources, IsEmpty());
}

TEST_P(StreamTest, SecretsOnlyGoToThoseWhoProvedTheirIdentity) {
  views_.Set(kSecretType, {MakeSet({{"kubernetes://cert", "KEY"}})});
  FakeClient stranger(context_, GetParam());
  ASSERT_TRUE(stranger.Ask(kSecretType, {"kubernetes://cert"}).ok());
  EXPECT_THAT(stranger.TakeOne().resources, IsEmpty());
  FakeClient gateway(context_, GetParam());
  gateway.stream.SetVerifiedNamespace("shop");
  ASSERT_TRUE(gateway.Ask(kSecretType, {"kubernetes://cert"}).ok());
  EXPECT_THAT(Keys(gateway.TakeOne().resources), ElementsAre("KEY"));
}

TEST_P(StreamTest, EndpointsAndRoutesThatDoNotExistAreSentEmptySoThatNothingWaitsForThem) {
  FakeClient client(context_, GetParam());
  ASSERT_TRUE(client.Ask(kEndpointType, {"gone"}).ok());
  envoy::config::endpoint::v3::ClusterLoadAssignment endpoints;
  Response got = client.TakeOne();
  ASSERT_EQ(got.resources.size(), 1u);
  ASSERT_TRUE(endpoints.ParseFromString(got.resources.begin()->second));
  EXPECT_EQ(endpoints.cluster_name(), "gone");
  EXPECT_THAT(got.removed, IsEmpty());

  ASSERT_TRUE(client.Ask(kRouteType, {"12345"}).ok());
  envoy::config::route::v3::RouteConfiguration route;
  got = client.TakeOne();
  ASSERT_EQ(got.resources.size(), 1u);
  ASSERT_TRUE(route.ParseFromString(got.resources.begin()->second));
  EXPECT_EQ(route.name(), "12345");
  EXPECT_TRUE(route.has_validate_clusters() && !route.validate_clusters().value());
}

TEST_P(StreamTest, AnswerWaitsUntilTheWorldIsLoaded) {
  auto view = std::exchange(views_.view, nullptr);
  FakeClient client(context_, GetParam());
  ASSERT_TRUE(client.Ask(kClusterType).ok());
  EXPECT_THAT(client.Take(), IsEmpty());
  views_.view = view;
  client.stream.Pump();
  EXPECT_EQ(client.TakeOne().resources.size(), 3u);
}

TEST_P(StreamTest, FirstRequestMustNameItsNode) {
  FakeClient client(context_, GetParam());
  ASSERT_TRUE(client.stream.OnMessage("", [](const Node&) { return base::Status(); }).code() ==
              base::Code::kInvalidArgument);
}

TEST_P(StreamTest, HealthReportBeforeTheFirstRequestIsIgnored) {
  FakeClient client(context_, GetParam());
  ASSERT_TRUE(client.Ask(kHealthType).ok());
  EXPECT_FALSE(client.stream.started());
  ASSERT_TRUE(client.Ask(kClusterType).ok());
  EXPECT_EQ(client.TakeOne().type, kClusterType);
}

TEST_P(StreamTest, RefusedNodeEndsTheStreamWithTheReason) {
  FakeClient client(context_, GetParam());
  client.admit = base::Error(base::Code::kPermissionDenied, "no identity in namespace shop");
  const base::Status status = client.Ask(kClusterType);
  EXPECT_EQ(status.code(), base::Code::kPermissionDenied);
  EXPECT_EQ(status.message(), "authorization failed: no identity in namespace shop");
}

TEST_P(StreamTest, MalformedMessageEndsTheStream) {
  FakeClient client(context_, GetParam());
  const auto admit = [](const Node&) { return base::Status(); };
  for (const std::string bytes :
       {"\x0a", "\x0a\xff", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "\x0b"})
    EXPECT_EQ(client.stream.OnMessage(bytes, admit).code(), base::Code::kInvalidArgument);
}

TEST_P(StreamTest, TypesAndNamesOfOneStreamAreBounded) {
  FakeClient client(context_, GetParam());
  base::Status status;
  for (int i = 0; i < 100 && status.ok(); ++i) status = client.Ask(fmt::format("type/{}", i));
  EXPECT_EQ(status.code(), base::Code::kResourceExhausted);
  EXPECT_LE(client.stream.subscriptions().size(), 32u);

  FakeClient other(context_, GetParam());
  status = {};
  for (int round = 0; round < 4 && status.ok(); ++round) {
    Names names;
    for (int i = 0; i < 90'000; ++i) names.push_back(fmt::format("{}", i));
    status = other.Ask(fmt::format("type/{}", round), names);
  }
  EXPECT_EQ(status.code(), base::Code::kResourceExhausted);
}

TEST_P(StreamTest, ResourceOfAnEarlierSetHidesTheLaterOne) {
  views_.Set(kClusterType, {MakeSet({{"a", "A"}}), MakeSet({{"a", "hidden"}, {"b", "B"}})});
  FakeClient client(context_, GetParam());
  ASSERT_TRUE(client.Ask(kClusterType).ok());
  EXPECT_THAT(Keys(client.TakeOne().resources), ElementsAre("A", "B"));
  ASSERT_TRUE(client.Ack(kClusterType).ok());
  views_.Set(kClusterType, {MakeSet({{"a", "A"}}), MakeSet({{"a", "still hidden"}, {"b", "B"}})});
  client.stream.Pump();
  EXPECT_THAT(client.Take(), IsEmpty());
  // When the first set loses it, the other one shows, and nothing is told as removed.
  views_.Set(kClusterType, {MakeSet({}), MakeSet({{"a", "seen"}, {"b", "B"}})});
  client.stream.Pump();
  const Response got = client.TakeOne();
  EXPECT_TRUE(got.resources.contains(GetParam() == Protocol::kSotw ? "seen" : "a"));
  EXPECT_THAT(got.removed, IsEmpty());
}

class DeltaTest : public StreamTest {};
INSTANTIATE_TEST_SUITE_P(Delta, DeltaTest, testing::Values(Protocol::kDelta),
                         [](const auto&) { return "Only"; });

TEST_P(DeltaTest, WithdrawnClusterIsToldByName) {
  FakeClient client(context_, GetParam());
  ASSERT_TRUE(client.Ask(kClusterType).ok());
  client.Take();
  ASSERT_TRUE(client.Ack(kClusterType).ok());
  views_.Set(kClusterType, {MakeSet({{"c1", "C1"}}), MakeSet({{"in", "IN"}})});
  client.stream.Pump();
  const Response got = client.TakeOne();
  EXPECT_THAT(got.resources, IsEmpty());
  EXPECT_THAT(got.removed, ElementsAre("c2"));
}

TEST_P(DeltaTest, SecretThatDoesNotExistIsToldAsRemoved) {
  views_.Set(kSecretType, {MakeSet({{"kubernetes://a", "A"}})});
  FakeClient client(context_, GetParam());
  client.stream.SetVerifiedNamespace("shop");
  ASSERT_TRUE(client.Ask(kSecretType, {"kubernetes://a", "kubernetes://b"}).ok());
  const Response got = client.TakeOne();
  EXPECT_THAT(got.resources, ElementsAre(Pair("kubernetes://a", "A")));
  EXPECT_THAT(got.removed, ElementsAre("kubernetes://b"));
}

TEST_P(DeltaTest, NameAskedForAgainIsAnsweredAgain) {
  FakeClient client(context_, GetParam());
  ASSERT_TRUE(client.Ask(kEndpointType, {"c1"}).ok());
  client.Take();
  ASSERT_TRUE(client.Ack(kEndpointType).ok());
  ASSERT_TRUE(client.Ask(kEndpointType, {"c1"}).ok());
  EXPECT_THAT(Keys(client.TakeOne().resources), ElementsAre("E1"));
}

TEST_P(DeltaTest, UnsubscribedNameIsNotAnsweredAndNotPushed) {
  FakeClient client(context_, GetParam());
  ASSERT_TRUE(client.Ask(kEndpointType, {"c1", "c2"}).ok());
  client.Take();
  ASSERT_TRUE(client.Ack(kEndpointType).ok());
  ASSERT_TRUE(client.Ask(kEndpointType, {}, {"c1"}).ok());
  EXPECT_THAT(client.Take(), IsEmpty());
  views_.Set(kEndpointType, {MakeSet({{"c1", "new"}, {"c2", "E2"}})});
  client.stream.Pump();
  EXPECT_THAT(client.Take(), IsEmpty());
}

TEST_P(DeltaTest, ReconnectingClientGetsAllNamesItHad) {
  FakeClient client(context_, GetParam());
  ASSERT_TRUE(
      client.Ask(kEndpointType, {"c2"}, {"c1"}, "nonce of another stream", {"c1", "gone"}).ok());
  const Response got = client.TakeOne();
  EXPECT_THAT(got.resources, UnorderedElementsAre(Pair("c2", "E2"), Pair("gone", "\n\4gone")));
}

TEST_P(DeltaTest, NamesThatComeWithAnOldNonceAreStillMeant) {
  FakeClient client(context_, GetParam());
  ASSERT_TRUE(client.Ask(kEndpointType, {"c1"}).ok());
  client.Take();
  ASSERT_TRUE(client.Ask(kEndpointType, {"c2"}, {}, "an older nonce").ok());
  EXPECT_THAT(Keys(client.TakeOne().resources), ElementsAre("E2"));
}

TEST_P(DeltaTest, StarSubscribesAndUnsubscribes) {
  FakeClient client(context_, GetParam());
  ASSERT_TRUE(client.Ask(kClusterType, {"c1"}).ok());
  EXPECT_THAT(Keys(client.TakeOne().resources), ElementsAre("C1"));
  ASSERT_TRUE(client.Ack(kClusterType).ok());
  ASSERT_TRUE(client.Ask(kClusterType, {"*"}).ok());
  EXPECT_EQ(client.TakeOne().resources.size(), 3u);
  ASSERT_TRUE(client.Ack(kClusterType).ok());
  ASSERT_TRUE(client.Ask(kClusterType, {}, {"*"}).ok());
  views_.Set(kClusterType, {MakeSet({{"c1", "x"}, {"c2", "y"}})});
  client.stream.Pump();
  EXPECT_THAT(Keys(client.TakeOne().resources), ElementsAre("x"));
}

class SotwTest : public StreamTest {};
INSTANTIATE_TEST_SUITE_P(Sotw, SotwTest, testing::Values(Protocol::kSotw),
                         [](const auto&) { return "Only"; });

TEST_P(SotwTest, ChangeOfOneClusterResendsAll) {
  FakeClient client(context_, GetParam());
  ASSERT_TRUE(client.Ask(kClusterType).ok());
  client.Take();
  ASSERT_TRUE(client.Ack(kClusterType).ok());
  views_.Set(kClusterType, {MakeSet({{"c1", "C1"}})});
  client.stream.Pump();
  EXPECT_THAT(Keys(client.TakeOne().resources), ElementsAre("C1"));
}

TEST_P(SotwTest, EmptyNamesOfANamedTypeUnsubscribe) {
  FakeClient client(context_, GetParam());
  ASSERT_TRUE(client.Ask(kRouteType, {"80"}).ok());
  client.Take();
  ASSERT_TRUE(client.Ack(kRouteType, {}).ok());
  EXPECT_THAT(client.Take(), IsEmpty());
  EXPECT_THAT(client.stream.subscriptions(), IsEmpty());
  ASSERT_TRUE(client.Ask(kRouteType, {"80"}, {}, "old nonce").ok());
  EXPECT_THAT(Keys(client.TakeOne().resources), ElementsAre("R80"));
}

TEST_P(SotwTest, FewerNamesAreNotAnswered) {
  FakeClient client(context_, GetParam());
  ASSERT_TRUE(client.Ask(kRouteType, {"80", "90"}).ok());
  client.Take();
  ASSERT_TRUE(client.Ack(kRouteType, {"80"}).ok());
  EXPECT_THAT(client.Take(), IsEmpty());
}

}  // namespace
}  // namespace isthmus::ads
