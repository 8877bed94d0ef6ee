#include "controlplane/settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace isthmus::controlplane {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(SettingsTest, PlaintextPortOpensOnlyWhenAskedFor) {
  EXPECT_EQ(ReadSettings({}, {})->grpc_addr, "");
  EXPECT_EQ(ReadSettings({"--grpcAddr", ":15010"}, {})->grpc_addr, ":15010");
  EXPECT_EQ(ReadSettings({}, {})->secure_grpc_addr, ":15012");
}

TEST(SettingsTest, FlagsWinOverEnvironmentAndBothFormsWork) {
  const auto settings = ReadSettings(
      {"--clusterID=c1", "-n", "mesh", "--log_as_json", "--log_output_level=default:debug"},
      {{"CLUSTER_ID", "c2"},
       {"POD_NAMESPACE", "other"},
       {"REVISION", "default"},
       {"TOKEN_AUDIENCES", "a, b"},
       {"XDS_AUTH", "false"}});
  ASSERT_TRUE(settings.ok()) << settings.status().message();
  EXPECT_EQ(settings->cluster_id, "c1");
  EXPECT_EQ(settings->ns, "mesh");
  EXPECT_EQ(settings->revision, "");
  EXPECT_EQ(settings->ShownRevision(), "default");
  EXPECT_TRUE(settings->log_json);
  EXPECT_EQ(settings->log_level, "debug");
  EXPECT_FALSE(settings->xds_auth);
  EXPECT_THAT(settings->token_audiences, ElementsAre("a", "b"));
}

TEST(SettingsTest, ArgumentsOfTheDeploymentAreUnderstood) {
  const auto settings = ReadSettings(
      {"--monitoringAddr=:15014", "--log_output_level=default:info", "--domain", "cluster.local",
       "--keepaliveMaxServerConnectionAge", "30m", "--ctrlz_port=9876"},
      {{"KUBECONFIG", "/var/run/secrets/remote/no such file"}});
  ASSERT_TRUE(settings.ok()) << settings.status().message();
  EXPECT_EQ(settings->max_connection_age, std::chrono::minutes(30));
  EXPECT_EQ(settings->kubeconfig, "") << "the file is not there, so this runs in its cluster";
}

TEST(SettingsTest, WrongOnesNameTheFlagAndTheReason) {
  const std::pair<std::vector<std::string>, const char*> wrong[] = {
      {{"--nonesuch=1"}, "unknown flag --nonesuch"},
      {{"--clusterID"}, "--clusterID needs a value"},
      {{"--clusterID="}, "no name"},
      {{"extra"}, "unexpected argument \"extra\""},
      {{"--shutdownDuration=soon"}, "--shutdownDuration"},
      {{"--grpcAddr=1.2.3.4:port"}, "--grpcAddr"},
      {{"--log_output_level=default:loud"}, "\"loud\""},
      {{"--clusterAliases=a"}, "alias=cluster"},
  };
  for (const auto& [arguments, words] : wrong) {
    const auto settings = ReadSettings(arguments, {});
    ASSERT_FALSE(settings.ok()) << arguments[0];
    EXPECT_THAT(settings.status().message(), HasSubstr(words));
  }
  EXPECT_THAT(ReadSettings({}, {{"XDS_AUTH", "maybe"}}).status().message(), HasSubstr("XDS_AUTH"));
}

}  // namespace
}  // namespace isthmus::controlplane
