#include "install/cluster_access.h"

#include <gtest/gtest.h>

#include "http/server.h"

namespace isthmus::install {
namespace {

using namespace std::chrono_literals;

/// An API server that knows config maps and lets a test decide how each apply ends.
class ClusterAccessTest : public ::testing::Test {
 protected:
  ClusterAccessTest() {
    server_ = std::make_unique<http::Server>(
        loop_, http::ServerOptions(),
        [this](std::shared_ptr<http::ServerStream> stream) { Answer(*stream); });
    EXPECT_TRUE(server_->Start().ok());
    kubeclient::RestConfig config;
    config.server = "http://127.0.0.1:" + std::to_string(server_->port());
    auto client = kubeclient::Client::Create(loop_, config);
    EXPECT_TRUE(client.ok()) << client.status().message();
    client_ = std::move(*client);
    access_ = std::make_unique<ClusterAccess>(loop_, *client_);
  }

  static Json ConfigMap(const std::string& name) {
    return {{"apiVersion", "v1"}, {"kind", "ConfigMap"}, {"metadata", {{"name", name}}}};
  }

  void Refuse(int code, std::string message, int times) {
    refusal_ = {{"kind", "Status"}, {"status", "Failure"}, {"message", message}, {"code", code}};
    refusals_ = times;
  }

  base::Loop loop_;
  std::unique_ptr<http::Server> server_;
  std::unique_ptr<kubeclient::Client> client_;
  std::unique_ptr<ClusterAccess> access_;
  std::map<std::string, int> applied_;  ///< How often each path was asked for.

 private:
  void Answer(http::ServerStream& stream) {
    const std::string path(stream.head().path());
    if (path == "/api/v1") {
      const Json kinds = {{"kind", "APIResourceList"},
                          {"groupVersion", "v1"},
                          {"resources", Json::array({{{"name", "configmaps"},
                                                      {"singularName", "configmap"},
                                                      {"namespaced", true},
                                                      {"kind", "ConfigMap"},
                                                      {"verbs", {"get", "patch"}}}})}};
      return stream.Respond(200, "application/json", kubeapi::ToJson(kinds));
    }
    ++applied_[path];
    if (path.ends_with("/second") && refusals_ > 0) {
      --refusals_;
      return stream.Respond(static_cast<int>(kubeapi::IntAt(refusal_, {"code"})),
                            "application/json", kubeapi::ToJson(refusal_));
    }
    stream.Respond(200, "application/json", kubeapi::ToJson(ConfigMap("any")));
  }

  Json refusal_;
  int refusals_ = 0;
};

TEST_F(ClusterAccessTest, AsksAgainWhileAWebhookDoesNotAnswer) {
  Refuse(500,
         "Internal error occurred: failed calling webhook \"validation.istio.io\": failed to call "
         "webhook: Post \"https://istiod:15017/validate?timeout=10s\": context deadline exceeded",
         2);
  const base::Status status = access_->ApplyAll({ConfigMap("first"), ConfigMap("second")}, "n");
  EXPECT_TRUE(status.ok()) << status.message();
  const std::map<std::string, int> wanted = {{"/api/v1/namespaces/n/configmaps/first", 1},
                                             {"/api/v1/namespaces/n/configmaps/second", 3}};
  EXPECT_EQ(wanted, applied_);
}

TEST_F(ClusterAccessTest, WhatAWebhookRefusesIsRefusedAtOnce) {
  Refuse(400, "admission webhook \"validation.istio.io\" denied the request: no hosts", 1);
  const base::Status status = access_->ApplyAll({ConfigMap("first"), ConfigMap("second")}, "n");
  EXPECT_NE(std::string::npos, status.message().find("applying ConfigMap second"))
      << status.message();
  EXPECT_NE(std::string::npos, status.message().find("denied the request")) << status.message();
  EXPECT_EQ(1, applied_["/api/v1/namespaces/n/configmaps/second"]);
}

}  // namespace
}  // namespace isthmus::install
