#include "kubeclient/leader_election.h"

#include <gtest/gtest.h>

#include "http/server.h"
#include "kubeapi/meta.h"
#include "kubeapi/patch.h"

namespace isthmus::kubeclient {
namespace {

using namespace std::chrono_literals;

/// One object with resource versions, as an API server keeps it.
class OneObjectServer {
 public:
  explicit OneObjectServer(base::Loop& loop) {
    server_ = std::make_unique<http::Server>(
        loop, http::ServerOptions(), [this](std::shared_ptr<http::ServerStream> stream) {
          stream->ReadBody(1 << 20, [this, stream](std::string body) { Handle(*stream, body); });
        });
    EXPECT_TRUE(server_->Start().ok());
  }
  RestConfig config() const {
    RestConfig config;
    config.server = "http://127.0.0.1:" + std::to_string(server_->port());
    return config;
  }

  Json object;
  bool broken = false;

 private:
  void Handle(http::ServerStream& stream, const std::string& body) {
    if (broken) return stream.Respond(500, "text/plain", "broken");
    const std::string& method = stream.head().method;
    if (method == "GET" && object.is_null()) return stream.Respond(404, "text/plain", "none");
    if (method != "GET") {
      Json given = *kubeapi::ParseJson(body);
      if (method == "POST" && !object.is_null()) return stream.Respond(409, "text/plain", "exists");
      if (method == "PATCH")
        given = kubeapi::ApplyMergePatch(object, given);
      else if (method == "PUT" &&
               kubeapi::ResourceVersionOf(given) != kubeapi::ResourceVersionOf(object))
        return stream.Respond(409, "text/plain", "conflict");
      object = given;
      object["metadata"]["resourceVersion"] = std::to_string(++version_);
    }
    stream.Respond(200, "application/json", kubeapi::ToJson(object));
  }

  int version_ = 0;
  std::unique_ptr<http::Server> server_;
};

class LeaderElectionTest : public ::testing::TestWithParam<LeaderElectionOptions::Lock> {
 protected:
  void SetUp() override {
    auto client = Client::Create(loop_, server_.config());
    ASSERT_TRUE(client.ok());
    client_ = std::move(*client);
  }
  std::unique_ptr<LeaderElection> Join(const std::string& identity) {
    LeaderElectionOptions options;
    options.lock = GetParam();
    options.name = "istio-leader";
    options.identity = identity;
    options.lease = 1s;
    options.renew_every = 50ms;
    return std::make_unique<LeaderElection>(
        loop_, *client_, clock_, options,
        [this, identity](bool leading) { log_.push_back((leading ? "+" : "-") + identity); });
  }
  bool Until(const std::function<bool()>& done) { return loop_.RunUntil(done, 5s); }

  base::Loop loop_;
  base::SystemClock clock_;
  OneObjectServer server_{loop_};
  std::unique_ptr<Client> client_;
  std::vector<std::string> log_;
};

TEST_P(LeaderElectionTest, OneLeadsAndTheOtherFollowsWhenItLeaves) {
  auto a = Join("a");
  ASSERT_TRUE(Until([&] { return a->leading(); }));
  auto b = Join("b");
  ASSERT_TRUE(Until([&] { return b->holder() == "a"; }));
  EXPECT_FALSE(b->leading());
  a.reset();
  ASSERT_TRUE(Until([&] { return b->leading(); }));
  EXPECT_EQ(log_, (std::vector<std::string>{"+a", "+b"}));
}

TEST_P(LeaderElectionTest, StepsDownBeforeTheLeaseEndsWhenItCannotRenew) {
  auto a = Join("a");
  ASSERT_TRUE(Until([&] { return a->leading(); }));
  server_.broken = true;
  const auto start = std::chrono::steady_clock::now();
  ASSERT_TRUE(Until([&] { return !a->leading(); }));
  EXPECT_LT(std::chrono::steady_clock::now() - start, 1s);
  server_.broken = false;
  EXPECT_TRUE(Until([&] { return a->leading(); }));
}

TEST_P(LeaderElectionTest, TakesOverFromASilentLeaderOnlyAfterItsLease) {
  {
    auto a = Join("a");
    ASSERT_TRUE(Until([&] { return a->leading(); }));
    server_.broken = true;  // So that it cannot give up its place.
  }
  loop_.RunUntil([] { return false; }, 20ms);
  server_.broken = false;
  auto b = Join("b");
  const auto start = std::chrono::steady_clock::now();
  ASSERT_TRUE(Until([&] { return b->leading(); }));
  EXPECT_GE(std::chrono::steady_clock::now() - start, 900ms);
}

INSTANTIATE_TEST_SUITE_P(Locks, LeaderElectionTest,
                         ::testing::Values(LeaderElectionOptions::Lock::kConfigMap,
                                           LeaderElectionOptions::Lock::kLease));

}  // namespace
}  // namespace isthmus::kubeclient
