#include <gtest/gtest.h>

#include <optional>

#include "rpc/client.h"
#include "rpc/server.h"

namespace isthmus::rpc {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class CallTest : public testing::Test {
 protected:
  CallTest() {
    server_ = std::make_unique<http::Server>(loop_, http::ServerOptions(),
                                             [this](auto stream) { router_.Serve(stream); });
    EXPECT_TRUE(server_->Start().ok());
    http::ClientOptions options;
    options.url = fmt::format("http://127.0.0.1:{}", server_->port());
    options.http2_prior_knowledge = true;
    client_ = std::make_unique<http::Client>(loop_, options);
    router_.Add("/t/Echo", [](std::shared_ptr<ServerCall> call) {
      call->OnMessage(
          [call](std::string_view message) {
            call->Send({base::Slice::Static("re:"), base::Slice::Copy(message), base::Slice()});
          },
          [call] { call->Finish({}); });
    });
  }
  base::Result<std::string> Unary(std::string method, std::string request,
                                  base::Duration timeout = seconds(10)) {
    std::optional<base::Result<std::string>> got;
    UnaryCall(*client_, std::move(method), {}, std::move(request), timeout,
              [&](base::Result<std::string> result) { got = std::move(result); });
    EXPECT_TRUE(loop_.RunUntil([&] { return got.has_value(); }, seconds(20)));
    return got ? *got : base::Error(base::Code::kUnknown, "no answer");
  }

  base::Loop loop_;
  Router router_{1 << 20};
  std::unique_ptr<http::Server> server_;
  std::unique_ptr<http::Client> client_;
};

TEST_F(CallTest, UnaryOfEverySizeAroundTheFrames) {
  for (const size_t size : {0u, 1u, 255u, 16378u, 16379u, 16380u, 16384u, 65535u, 1000000u}) {
    const std::string request(size, 'q');
    const auto answer = Unary("/t/Echo", request);
    ASSERT_TRUE(answer.ok()) << size << " " << answer.status().message();
    EXPECT_EQ(answer.value(), "re:" + request) << size;
  }
}

TEST_F(CallTest, StatusesComeWithTheirWords) {
  router_.Add("/t/Fail", [](std::shared_ptr<ServerCall> call) {
    EXPECT_EQ(call->metadata().Get("x-token"), "abc");
    call->Finish(base::Error(base::Code::kPermissionDenied, "no: 100% \xC3\xBC\nline"));
  });
  std::optional<base::Status> status;
  ClientCallEvents events;
  events.message = [](std::string_view) { FAIL(); };
  events.close = [&](base::Status s) { status = s; };
  auto call = StartCall(*client_, "/t/Fail", {{"x-token", "abc"}}, events);
  ASSERT_TRUE(loop_.RunUntil([&] { return status.has_value(); }, seconds(10)));
  EXPECT_EQ(*status, base::Error(base::Code::kPermissionDenied, "no: 100% \xC3\xBC\nline"));
  call->Send({base::Slice::Static("late")});
  EXPECT_EQ(Unary("/t/None", "").status().code(), base::Code::kUnimplemented);
  EXPECT_EQ(Unary("/t/Echo", std::string(1 << 20, 'x') + "more").status().code(),
            base::Code::kResourceExhausted);
}

TEST_F(CallTest, StatusAfterMessages) {
  router_.Add("/t/Three", [](std::shared_ptr<ServerCall> call) {
    for (const char* text : {"a", "", "c"}) call->Send({base::Slice::Static(text)});
    call->Finish(base::Error(base::Code::kAborted, "enough"));
    call->Send({base::Slice::Static("late")});
    call->Finish({});
  });
  std::vector<std::string> messages;
  std::optional<base::Status> status;
  ClientCallEvents events;
  events.message = [&](std::string_view message) { messages.emplace_back(message); };
  events.close = [&](base::Status s) { status = s; };
  auto call = StartCall(*client_, "/t/Three", {}, events);
  ASSERT_TRUE(loop_.RunUntil([&] { return status.has_value(); }, seconds(10)));
  EXPECT_EQ(messages, (std::vector<std::string>{"a", "", "c"}));
  EXPECT_EQ(*status, base::Error(base::Code::kAborted, "enough"));
}

TEST_F(CallTest, BothSidesStream) {
  int messages = 0;
  std::optional<base::Status> status;
  std::shared_ptr<ClientCall> call;
  ClientCallEvents events;
  events.message = [&](std::string_view message) {
    EXPECT_EQ(message, fmt::format("re:{}", messages));
    if (++messages == 1000) return call->HalfClose();
    call->Send({base::Slice(std::to_string(messages))});
  };
  events.close = [&](base::Status s) { status = s; };
  call = StartCall(*client_, "/t/Echo", {}, events);
  call->Send({base::Slice::Static("0")});
  ASSERT_TRUE(loop_.RunUntil([&] { return status.has_value(); }, seconds(20)));
  EXPECT_TRUE(status->ok()) << status->message();
  EXPECT_EQ(messages, 1000);
}

TEST_F(CallTest, DroppingTheCallTellsTheServerAndNobodyElse) {
  bool closed = false;
  std::shared_ptr<ServerCall> held;
  router_.Add("/t/Hold", [&](std::shared_ptr<ServerCall> call) {
    held = call;
    call->OnClose([&] { closed = true; });
  });
  ClientCallEvents events;
  events.close = [](base::Status) { FAIL(); };
  auto call = StartCall(*client_, "/t/Hold", {}, events);
  ASSERT_TRUE(loop_.RunUntil([&] { return held != nullptr; }, seconds(10)));
  call.reset();
  EXPECT_TRUE(loop_.RunUntil([&] { return closed; }, seconds(10)));
  held->Send({base::Slice::Static("late")});
  held->Finish({});
  EXPECT_EQ(held->buffered(), 0u);
}

TEST_F(CallTest, TimeoutIsToldAndKept) {
  std::string told;
  bool closed = false;
  router_.Add("/t/Slow", [&](std::shared_ptr<ServerCall> call) {
    told = call->metadata().Get("grpc-timeout").value_or("");
    call->OnClose([&, call] { closed = true; });
  });
  EXPECT_EQ(Unary("/t/Slow", "", milliseconds(30)).status().code(), base::Code::kDeadlineExceeded);
  EXPECT_EQ(told, "30m");
  EXPECT_TRUE(loop_.RunUntil([&] { return closed; }, seconds(10)));
}

TEST_F(CallTest, LostConnectionIsUnavailable) {
  std::shared_ptr<ServerCall> held;
  router_.Add("/t/Hold", [&](std::shared_ptr<ServerCall> call) { held = call; });
  std::optional<base::Status> status;
  ClientCallEvents events;
  events.close = [&](base::Status s) { status = s; };
  auto call = StartCall(*client_, "/t/Hold", {}, events);
  ASSERT_TRUE(loop_.RunUntil([&] { return held != nullptr; }, seconds(10)));
  server_.reset();
  EXPECT_TRUE(loop_.RunUntil([&] { return status.has_value(); }, seconds(10)));
  EXPECT_EQ(status->code(), base::Code::kUnavailable);
  EXPECT_EQ(Unary("/t/Echo", "x").status().code(), base::Code::kUnavailable);
}

TEST_F(CallTest, DestroyingTheServerReleasesCallsThatHoldThemselves) {
  auto held = std::make_shared<int>(1);
  bool called = false;
  router_.Add("/t/Hold", [&](std::shared_ptr<ServerCall> call) {
    call->OnMessage([call, held](std::string_view) {}, [call, held] {});
    call->OnClose([call, held] {});
    called = true;
  });
  auto call = StartCall(*client_, "/t/Hold", {}, {});
  ASSERT_TRUE(loop_.RunUntil([&] { return called; }, seconds(10)));
  server_.reset();
  EXPECT_EQ(held.use_count(), 1);
}

TEST_F(CallTest, CallbacksMayDestroyServerOrClient) {
  router_.Add("/t/Kill", [this](std::shared_ptr<ServerCall> call) {
    call->OnMessage([this, call](std::string_view) { server_.reset(); }, [] {});
  });
  std::optional<base::Status> status;
  ClientCallEvents events;
  events.close = [&](base::Status s) {
    status = s;
    client_.reset();
  };
  auto call = StartCall(*client_, "/t/Kill", {}, events);
  call->Send({base::Slice::Static("1")});
  call->Send({base::Slice::Static("2")});
  EXPECT_TRUE(loop_.RunUntil([&] { return status.has_value(); }, seconds(10)));
  EXPECT_EQ(client_, nullptr);
}

TEST_F(CallTest, MessageCallbackMayDropItsCall) {
  std::shared_ptr<ClientCall> call;
  int messages = 0;
  ClientCallEvents events;
  events.message = [&](std::string_view) {
    ++messages;
    call.reset();
  };
  events.close = [](base::Status) { FAIL(); };
  router_.Add("/t/Many", [](std::shared_ptr<ServerCall> call) {
    for (int i = 0; i < 10; ++i) call->Send({base::Slice::Static("m")});
  });
  call = StartCall(*client_, "/t/Many", {}, events);
  EXPECT_TRUE(loop_.RunUntil([&] { return messages > 0; }, seconds(10)));
  EXPECT_FALSE(loop_.RunUntil([&] { return messages > 1; }, milliseconds(20)));
}

TEST_F(CallTest, NoGrpcRequestIsRefused) {
  std::optional<base::Result<http::Response>> got;
  client_->Fetch({}, seconds(10), [&](auto response) { got = std::move(response); });
  ASSERT_TRUE(loop_.RunUntil([&] { return got.has_value(); }, seconds(10)));
  EXPECT_EQ(got->value().status, 415);
}

TEST_F(CallTest, HttpAnswersWithoutGrpcStatus) {
  server_ = std::make_unique<http::Server>(loop_, http::ServerOptions(), [](auto stream) {
    const bool refuse = stream->head().target == "/t/403";
    stream->Respond(refuse ? 403 : 200, "text/plain", refuse ? "no" : "");
  });
  ASSERT_TRUE(server_->Start().ok());
  http::ClientOptions options;
  options.url = fmt::format("http://127.0.0.1:{}", server_->port());
  options.http2_prior_knowledge = true;
  client_ = std::make_unique<http::Client>(loop_, options);
  EXPECT_EQ(Unary("/t/403", "").status().code(), base::Code::kPermissionDenied);
  EXPECT_EQ(Unary("/t/200", "").status().code(), base::Code::kInternal);
}

}  // namespace
}  // namespace isthmus::rpc
