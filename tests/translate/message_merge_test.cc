#include "translate/message_merge.h"

#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>

#include "envoy/config/cluster/v3/cluster.pb.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb.h"

namespace isthmus::translate {
namespace {

using envoy::config::cluster::v3::Cluster;
using envoy::extensions::filters::network::http_connection_manager::v3::HttpFilter;

google::protobuf::Struct Fields(const std::string& json) {
  google::protobuf::Struct fields;
  EXPECT_TRUE(google::protobuf::util::JsonStringToMessage(json, &fields).ok());
  return fields;
}

template <typename T>
T Read(const std::string& json) {
  auto message = ReadMessage(Fields(json), T::default_instance());
  EXPECT_TRUE(message.ok()) << message.status().message();
  return message.ok() ? static_cast<const T&>(**message) : T();
}

std::string JsonOf(const google::protobuf::Message& message) {
  std::string text;
  EXPECT_TRUE(google::protobuf::util::MessageToJsonString(message, &text).ok());
  return text;
}

std::string Merged(const std::string& onto, const std::string& patch) {
  Cluster cluster = Read<Cluster>(onto);
  MergeMessage(Read<Cluster>(patch), &cluster);
  return JsonOf(cluster);
}

TEST(MergeMessageTest, FieldsWinListsGrowDurationsAreReplaced) {
  EXPECT_EQ(
      Merged(R"({"name":"a","connectTimeout":"1.500s","lbPolicy":"RANDOM",
                       "circuitBreakers":{"thresholds":[{"maxConnections":1}]}})",
             R"({"connectTimeout":"3s","circuitBreakers":{"thresholds":[{"maxRetries":2}]}})"),
      R"({"name":"a","connectTimeout":"3s","lbPolicy":"RANDOM",)"
      R"("circuitBreakers":{"thresholds":[{"maxConnections":1},{"maxRetries":2}]}})");
}

TEST(MergeMessageTest, AnAnyOfTheSameTypeIsMergedAnotherReplaced) {
  const std::string tls =
      R"("@type":"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext")";
  const std::string onto =
      R"({"transportSocket":{"name":"tls","typedConfig":{)" + tls + R"(,"sni":"a"}}})";
  EXPECT_EQ(Merged(onto, R"({"transportSocket":{"name":"tls","typedConfig":{)" + tls +
                             R"(,"maxSessionKeys":3}}})"),
            R"({"transportSocket":{"name":"tls","typedConfig":{)" + tls +
                R"(,"sni":"a","maxSessionKeys":3}}})");
  const std::string raw =
      R"({"transportSocket":{"name":"raw","typedConfig":{"@type":"type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"}}})";
  EXPECT_EQ(Merged(onto, raw), raw) << "a socket of another name";
}

TEST(ReadMessageTest, TypesThatAreNotBuiltInAreWrapped) {
  const std::string wrapped =
      R"({"name":"x","typedConfig":{"@type":"type.googleapis.com/xds.type.v3.TypedStruct",)"
      R"("typeUrl":"type.googleapis.com/some.filter.v3.Config","value":{"deep":{"a":1}}}})";
  EXPECT_EQ(
      JsonOf(Read<HttpFilter>(
          R"({"name":"x","typed_config":{"@type":"type.googleapis.com/some.filter.v3.Config","deep":{"a":1}}})")),
      wrapped);
  EXPECT_EQ(JsonOf(Read<HttpFilter>(wrapped)), wrapped);
}

TEST(ReadMessageTest, EqualValuesHaveEqualBytes) {
  const std::string text =
      R"({"typed_config":{"@type":"type.googleapis.com/envoy.extensions.filters.http.ratelimit.v3.RateLimit",
          "domain":"d","stage":1,"failure_mode_deny":true,"request_type":"both","stat_prefix":"s"}})";
  const std::string first = Read<HttpFilter>(text).typed_config().value();
  for (int i = 0; i < 20; ++i) EXPECT_EQ(Read<HttpFilter>(text).typed_config().value(), first);
}

TEST(ReadMessageTest, WhatIsBuiltInIsReadAsItself) {
  const std::string router =
      R"({"name":"r","typedConfig":{"@type":"type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua","statPrefix":"x"}})";
  EXPECT_EQ(
      JsonOf(Read<HttpFilter>(
          R"({"name":"r","typed_config":{"@type":"type.googleapis.com/udpa.type.v1.TypedStruct",
                    "type_url":"type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua","value":{"stat_prefix":"x"}}})")),
      router);
  EXPECT_FALSE(ReadMessage(Fields(R"({"no_such_field":1})"), Cluster::default_instance()).ok());
  EXPECT_FALSE(
      ReadMessage(
          Fields(
              R"({"typed_config":{"@type":"type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua","nope":1}})"),
          HttpFilter::default_instance())
          .ok());
}

}  // namespace
}  // namespace isthmus::translate
