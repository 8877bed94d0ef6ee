#include "controlplane/request.h"

#include <gtest/gtest.h>

#include <thread>

#include "base/loop.h"
#include "http/server.h"

namespace isthmus::controlplane {
namespace {

TEST(MakeRequest, PrintsTheBodyOrSaysWhyNot) {
  base::Loop loop;
  http::Server server(loop, {}, [](std::shared_ptr<http::ServerStream> stream) {
    const http::RequestHead& head = stream->head();
    if (head.target == "/debug/syncz?x=1")
      return stream->Respond(200, "application/json", head.method + " []");
    stream->Respond(404, "text/plain", "no such page\n");
  });
  ASSERT_TRUE(server.Start().ok());
  const std::string port = "--debug-port=" + std::to_string(server.port());
  std::thread serving([&loop] { loop.Run(); });
  const auto found = MakeRequest({port, "get", "debug/syncz?x=1"});
  const auto missing = MakeRequest({port, "GET", "/none"});
  loop.Stop();
  serving.join();
  ASSERT_TRUE(found.ok()) << found.status().message();
  EXPECT_EQ(*found, "GET []");
  EXPECT_EQ(missing.status().message(), "request: status 404: no such page");
}

TEST(MakeRequest, RefusesWhatItDoesNotUnderstand) {
  for (const std::vector<std::string>& words :
       std::vector<std::vector<std::string>>{{},
                                             {"GET"},
                                             {"GET", "/a", "/b"},
                                             {"--debug-port=x", "GET", "/a"},
                                             {"--debug-port=99999", "GET", "/"}})
    EXPECT_EQ(MakeRequest(words).status().code(), base::Code::kInvalidArgument);
}

}  // namespace
}  // namespace isthmus::controlplane
