#include "lab/node/status_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "http/server.h"

namespace isthmus::lab::node {
namespace {

using kubeapi::Json;
using std::chrono_literals::operator""s;

/// An API server that keeps the methods it is asked with, and that answers a PATCH only after what
/// its watchers do about it.
class Server {
 public:
  explicit Server(base::Loop& loop)
      : server_(loop, {}, [this](std::shared_ptr<http::ServerStream> stream) {
          stream->ReadBody(1 << 20, [this, stream](const std::string&) {
            methods.push_back(stream->head().method);
            if (stream->head().method == "PATCH" && on_patch) on_patch();
            stream->Respond(200, "application/json", R"({"kind":"Pod","apiVersion":"v1"})");
          });
        }) {}
  std::string Start() {
    EXPECT_TRUE(server_.Start().ok());
    return "http://127.0.0.1:" + std::to_string(server_.port());
  }
  std::vector<std::string> methods;
  std::function<void()> on_patch;

 private:
  http::Server server_;
};

TEST(StatusWriter, NewsOfTheLastStatusDoNotPutTheDeletionOff) {
  base::Loop loop;
  Server server(loop);
  kubeclient::RestConfig config;
  config.server = server.Start();
  auto client = kubeclient::Client::Create(loop, config);
  ASSERT_TRUE(client.ok()) << client.status().message();
  StatusWriter writer(loop, **client);
  const Json pod = {{"metadata", {{"uid", "1"}, {"name", "cart"}, {"namespace", "shop"}}}};
  // Each status that is written comes back as an event, upon which the node writes again.
  server.on_patch = [&] { writer.Write(pod, {{"phase", "Pending"}}); };
  writer.Write(pod, {{"phase", "Succeeded"}});
  writer.Delete(pod);
  EXPECT_TRUE(loop.RunUntil([&] { return server.methods.size() >= 2; }, 20s));
  EXPECT_THAT(server.methods, testing::ElementsAre("PATCH", "DELETE"));
}

}  // namespace
}  // namespace isthmus::lab::node
