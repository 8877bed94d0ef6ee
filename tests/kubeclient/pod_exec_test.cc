#include "kubeclient/pod_exec.h"

#include <gtest/gtest.h>

#include "http/server.h"
#include "http/websocket.h"
#include "kubeclient/sync.h"

namespace isthmus::kubeclient {
namespace {

using namespace std::chrono_literals;
using base::Code;

class PodExecTest : public ::testing::Test {
 protected:
  void SetUp() override {
    server_ = std::make_unique<http::Server>(
        loop_, http::ServerOptions(), [this](std::shared_ptr<http::ServerStream> stream) {
          target_ = stream->head().target;
          if (!refuse_.empty()) return stream->Respond(403, "application/json", refuse_);
          socket_ = std::make_unique<http::WebSocket>(
              stream->Upgrade(http::WebSocketAnswer(stream->head(), "v5.channel.k8s.io")),
              http::WebSocket::Role::kServer);
          for (const std::string& message : messages_) socket_->Send(message);
          if (ends_) socket_->Close();
        });
    ASSERT_TRUE(server_->Start().ok());
    RestConfig config;
    config.server = "http://127.0.0.1:" + std::to_string(server_->port());
    auto client = Client::Create(loop_, config);
    ASSERT_TRUE(client.ok());
    client_ = std::move(*client);
  }

  base::Result<ExecOutcome> Run(base::Duration idle = 10s) {
    std::unique_ptr<PodExec> exec;
    return Await<ExecOutcome>(loop_, 10s, [&](auto done) {
      exec = std::make_unique<PodExec>(loop_, *client_,
                                       ExecRequest{"n s", "p", "c", {"echo", "a&b"}, idle}, done);
    });
  }

  base::Loop loop_;
  std::unique_ptr<http::Server> server_;
  std::unique_ptr<http::WebSocket> socket_;
  std::unique_ptr<Client> client_;
  std::string target_, refuse_;
  std::vector<std::string> messages_;
  bool ends_ = true;
};

TEST_F(PodExecTest, CollectsOutputAndExitCode) {
  messages_ = {"\x01he", "\x02warn", "\x01llo", std::string("\x03") + R"({"status":"Success"})"};
  const auto outcome = Run();
  ASSERT_TRUE(outcome.ok()) << outcome.status().message();
  EXPECT_EQ(outcome->out, "hello");
  EXPECT_EQ(outcome->err, "warn");
  EXPECT_EQ(outcome->exit_code, 0);
  EXPECT_TRUE(target_.ends_with(
      "/pods/p/exec?stdout=true&stderr=true&container=c&command=echo&command=a%26b"))
      << target_;
}

TEST_F(PodExecTest, AFailingCommandIsAnOutcome) {
  messages_ = {
      "\x02no",
      std::string("\x03") +
          R"({"status":"Failure","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"7"}]}})"};
  const auto outcome = Run();
  ASSERT_TRUE(outcome.ok());
  EXPECT_EQ(outcome->exit_code, 7);
}

TEST_F(PodExecTest, WhatCannotRunIsAnError) {
  messages_ = {std::string("\x03") + R"({"status":"Failure","message":"no such container"})"};
  EXPECT_EQ(Run().status().message(), "running echo in n s/p: no such container");
  messages_ = {"\x03nonsense"};
  EXPECT_FALSE(Run().ok());
  refuse_ =
      R"({"kind":"Status","status":"Failure","reason":"Forbidden","message":"you may not","code":403})";
  EXPECT_EQ(Run().status(),
            base::Status(Code::kPermissionDenied, "running echo in n s/p: you may not"));
}

TEST_F(PodExecTest, SilenceEndsIt) {
  ends_ = false;
  EXPECT_EQ(Run(50ms).status().code(), Code::kDeadlineExceeded);
}

}  // namespace
}  // namespace isthmus::kubeclient
