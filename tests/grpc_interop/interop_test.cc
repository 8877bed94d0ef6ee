// gRPC C++ against our server, and against it our client: two implementations that share no code.
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <optional>
#include <thread>

#include "rpc/client.h"
#include "rpc/server.h"

namespace isthmus::rpc {
namespace {

using std::chrono::seconds;

grpc::ByteBuffer ToBuffer(const std::string& text) {
  grpc::Slice slice(text);
  return grpc::ByteBuffer(&slice, 1);
}

std::string ToText(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  if (!buffer.Dump(&slices).ok()) return "?";
  std::string text;
  for (const auto& slice : slices)
    text.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  return text;
}

class GrpcClientTest : public testing::Test {
 protected:
  GrpcClientTest() {
    router_.Add("/t/Echo", [](std::shared_ptr<ServerCall> call) {
      call->OnMessage(
          [call](std::string_view message) {
            call->Send({base::Slice::Static("re:"), base::Slice::Copy(message)});
          },
          [call] { call->Finish({}); });
    });
    router_.Add("/t/Fail", [](std::shared_ptr<ServerCall> call) {
      call->Finish(base::Error(base::Code::kNotFound, "no such thing: 50% \xC3\xBC"));
    });
    router_.Add("/t/Flood", [](std::shared_ptr<ServerCall> call) {
      const base::Slice part(std::string(1 << 20, 'f'));
      for (int i = 0; i < 20; ++i) call->Send({part});
      call->Finish(base::Error(base::Code::kAborted, "enough"));
    });
    server_ = std::make_unique<http::Server>(loop_, http::ServerOptions(),
                                             [this](auto stream) { router_.Serve(stream); });
    EXPECT_TRUE(server_->Start().ok());
  }
  /// Runs `work` in a thread, and our loop until it is over.
  void Drive(const std::function<void(grpc::GenericStub&)>& work) {
    std::atomic<bool> done = false;
    std::thread thread([&] {
      grpc::ChannelArguments arguments;
      arguments.SetMaxReceiveMessageSize(64 << 20);
      grpc::GenericStub stub(grpc::CreateCustomChannel(fmt::format("127.0.0.1:{}", server_->port()),
                                                       grpc::InsecureChannelCredentials(),
                                                       arguments));
      work(stub);
      done = true;
      loop_.Post([] {});
    });
    EXPECT_TRUE(loop_.RunUntil([&] { return done.load(); }, seconds(30)));
    thread.join();
  }
  static bool Next(grpc::CompletionQueue& queue) {
    void* tag = nullptr;
    bool ok = false;
    return queue.Next(&tag, &ok) && ok;
  }
  static std::pair<grpc::Status, std::string> Unary(grpc::GenericStub& stub,
                                                    const std::string& method,
                                                    const std::string& request) {
    grpc::ClientContext context;
    grpc::CompletionQueue queue;
    auto call = stub.PrepareUnaryCall(&context, method, ToBuffer(request), &queue);
    call->StartCall();
    grpc::ByteBuffer answer;
    grpc::Status status;
    call->Finish(&answer, &status, nullptr);
    Next(queue);
    return {status, status.ok() ? ToText(answer) : ""};
  }

  base::Loop loop_;
  Router router_;
  std::unique_ptr<http::Server> server_;
};

TEST_F(GrpcClientTest, UnaryAndErrors) {
  Drive([](grpc::GenericStub& stub) {
    for (const size_t size : {0u, 1u, 70000u, 3000000u}) {
      const std::string request(size, 'q');
      const auto [status, answer] = Unary(stub, "/t/Echo", request);
      EXPECT_TRUE(status.ok()) << status.error_message();
      EXPECT_EQ(answer, "re:" + request);
    }
    const auto failed = Unary(stub, "/t/Fail", "").first;
    EXPECT_EQ(failed.error_code(), grpc::StatusCode::NOT_FOUND);
    EXPECT_EQ(failed.error_message(), "no such thing: 50% \xC3\xBC");
    EXPECT_EQ(Unary(stub, "/t/None", "").first.error_code(), grpc::StatusCode::UNIMPLEMENTED);
    EXPECT_EQ(Unary(stub, "/t/Echo", std::string(5 << 20, 'x')).first.error_code(),
              grpc::StatusCode::RESOURCE_EXHAUSTED);
  });
}

TEST_F(GrpcClientTest, BidirectionalStream) {
  Drive([](grpc::GenericStub& stub) {
    grpc::ClientContext context;
    grpc::CompletionQueue queue;
    auto call = stub.PrepareCall(&context, "/t/Echo", &queue);
    call->StartCall(nullptr);
    ASSERT_TRUE(Next(queue));
    for (int i = 0; i < 200; ++i) {
      call->Write(ToBuffer(std::to_string(i)), nullptr);
      ASSERT_TRUE(Next(queue));
      grpc::ByteBuffer answer;
      call->Read(&answer, nullptr);
      ASSERT_TRUE(Next(queue));
      ASSERT_EQ(ToText(answer), "re:" + std::to_string(i));
    }
    call->WritesDone(nullptr);
    ASSERT_TRUE(Next(queue));
    grpc::Status status;
    call->Finish(&status, nullptr);
    ASSERT_TRUE(Next(queue));
    EXPECT_TRUE(status.ok()) << status.error_message();
  });
}

TEST_F(GrpcClientTest, LargeAnswersBeforeTheRequestEnds) {
  Drive([](grpc::GenericStub& stub) {
    grpc::ClientContext context;
    grpc::CompletionQueue queue;
    auto call = stub.PrepareCall(&context, "/t/Flood", &queue);
    call->StartCall(nullptr);
    ASSERT_TRUE(Next(queue));
    for (int i = 0; i < 20; ++i) {
      grpc::ByteBuffer answer;
      call->Read(&answer, nullptr);
      ASSERT_TRUE(Next(queue)) << i;
      EXPECT_EQ(answer.Length(), 1u << 20);
    }
    grpc::Status status;
    call->Finish(&status, nullptr);
    ASSERT_TRUE(Next(queue));
    EXPECT_EQ(status.error_code(), grpc::StatusCode::ABORTED);
  });
}

/// A gRPC C++ server that answers one generic call after the other, in its own thread.
class GrpcServer {
 public:
  GrpcServer() {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.RegisterAsyncGenericService(&service_);
    queue_ = builder.AddCompletionQueue();
    server_ = builder.BuildAndStart();
    thread_ = std::thread([this] { Serve(); });
  }
  ~GrpcServer() {
    // Ends the thread: it gets no more calls. The queue must be there until then, or asking it for
    // one aborts.
    server_->Shutdown(std::chrono::system_clock::now());
    thread_.join();
    queue_->Shutdown();
    while (Next()) {
    }
  }
  int port() const { return port_; }

 private:
  bool Next() {
    void* tag = nullptr;
    bool ok = false;
    return queue_->Next(&tag, &ok) && ok;
  }
  void Serve() {
    while (true) {
      grpc::GenericServerContext context;
      grpc::GenericServerAsyncReaderWriter stream(&context);
      service_.RequestCall(&context, &stream, queue_.get(), queue_.get(), nullptr);
      if (!Next()) return;
      while (true) {
        grpc::ByteBuffer request;
        stream.Read(&request, nullptr);
        if (!Next()) break;
        stream.Write(ToBuffer("re:" + ToText(request)), nullptr);
        if (!Next()) break;
      }
      const bool fail = context.method() == "/t/Fail";
      stream.Finish(fail ? grpc::Status(grpc::StatusCode::DATA_LOSS, "gone: 1%") : grpc::Status::OK,
                    nullptr);
      Next();
    }
  }

  int port_ = 0;
  grpc::AsyncGenericService service_;
  std::unique_ptr<grpc::ServerCompletionQueue> queue_;
  std::unique_ptr<grpc::Server> server_;
  std::thread thread_;
};

TEST(GrpcServerTest, OurClientIsUnderstood) {
  GrpcServer server;
  base::Loop loop;
  http::ClientOptions options;
  options.url = fmt::format("http://127.0.0.1:{}", server.port());
  options.http2_prior_knowledge = true;
  http::Client client(loop, options);
  for (const size_t size : {0u, 5u, 70000u, 3000000u}) {
    const std::string request(size, 'q');
    std::optional<base::Result<std::string>> got;
    UnaryCall(client, "/t/Echo", {{"x-meta", "1"}}, request, seconds(10),
              [&](base::Result<std::string> result) { got = std::move(result); });
    ASSERT_TRUE(loop.RunUntil([&] { return got.has_value(); }, seconds(20)));
    ASSERT_TRUE(got->ok()) << got->status().message();
    EXPECT_EQ(got->value(), "re:" + request);
  }
  std::optional<base::Status> status;
  std::string heard;
  ClientCallEvents events;
  events.message = [&](std::string_view message) { heard += message; };
  events.close = [&](base::Status s) { status = s; };
  auto call = StartCall(client, "/t/Fail", {}, events);
  call->Send({base::Slice::Static("a"), base::Slice::Static("b")});
  ASSERT_TRUE(loop.RunUntil([&] { return heard == "re:ab"; }, seconds(10)));
  call->HalfClose();
  ASSERT_TRUE(loop.RunUntil([&] { return status.has_value(); }, seconds(10)));
  EXPECT_EQ(*status, base::Error(base::Code::kDataLoss, "gone: 1%"));
}

}  // namespace
}  // namespace isthmus::rpc
