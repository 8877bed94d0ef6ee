#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <optional>

#include "http/client.h"
#include "kubeapi/json.h"
#include "lab/workloads/app.h"

namespace isthmus::lab::workloads {
namespace {

using kubeapi::Json;
using std::chrono_literals::operator""s;
using testing::HasSubstr;
using testing::Not;

class WorkloadsTest : public testing::Test {
 protected:
  /// Calls the application and waits for its answer.
  Answer Ask(const Application& application, const std::string& target,
             const std::string& method = "GET", const std::string& body = "",
             http::Headers headers = {}) {
    auto call = std::make_shared<Call>();
    call->head.method = method;
    call->head.target = target;
    call->head.authority = "test";
    call->head.headers = std::move(headers);
    call->body = body;
    call->client = "127.0.0.1:5";
    std::optional<Answer> answer;
    application(call, [&](Answer got) { answer = std::move(got); });
    EXPECT_TRUE(loop_.RunUntil([&] { return answer.has_value(); }, 10s));
    return answer.value_or(Answer{});
  }
  /// Serves on a free port and points the variables at it.
  std::unique_ptr<AppServer> Serve(Application application, const char* host_variable,
                                   const char* port_variable) {
    auto server = std::make_unique<AppServer>(loop_, "127.0.0.1", 0, std::move(application));
    EXPECT_TRUE(server->Start().ok());
    setenv(host_variable, "127.0.0.1", 1);
    setenv(port_variable, std::to_string(server->port()).c_str(), 1);
    return server;
  }
  base::Loop loop_;
};

TEST_F(WorkloadsTest, HelloWorldSaysVersionAndInstance) {
  setenv("SERVICE_VERSION", "v2", 1);
  const Application app = HelloWorld();
  unsetenv("SERVICE_VERSION");
  EXPECT_EQ(Ask(app, "/hello?x=1").body, "Hello version: v2, instance: " + Hostname() + "\n");
  EXPECT_EQ(Ask(app, "/health").status, 200);
  EXPECT_EQ(Ask(app, "/other").status, 404);
}

TEST_F(WorkloadsTest, ZipkinKeepsSpansByTrace) {
  const Application app = Zipkin();
  const char* spans = R"([{"traceId":"a","id":"1"},{"traceId":"b","id":"2"}])";
  EXPECT_EQ(Ask(app, "/api/v2/spans", "POST", spans).status, 202);
  EXPECT_EQ(Ask(app, "/api/v2/spans", "POST", R"([{"traceId":"a","id":"3"}])").status, 202);
  EXPECT_EQ(Ask(app, "/api/v2/spans", "POST", "{").status, 400);
  EXPECT_EQ(Json::parse(Ask(app, "/api/v2/trace/a").body),
            Json::parse(R"([{"traceId":"a","id":"1"},{"traceId":"a","id":"3"}])"));
  EXPECT_EQ(Ask(app, "/api/v2/trace/c").status, 404);
  EXPECT_EQ(Json::parse(Ask(app, "/api/v2/traces").body).size(), 2u);
}

TEST_F(WorkloadsTest, DetailsNeedANumber) {
  const Answer good = Ask(Details(), "/details/0");
  EXPECT_THAT(good.body, HasSubstr("\"author\":\"William Shakespeare\""));
  EXPECT_EQ(Ask(Details(), "/details/x").status, 400);
  EXPECT_EQ(Ask(Details(), "/details/").status, 404);
  EXPECT_EQ(Ask(Details(), "/details/1/2").status, 404);
}

TEST_F(WorkloadsTest, RatingsKeepWhatIsPosted) {
  const Application app = Ratings();
  EXPECT_THAT(Ask(app, "/ratings/0").body, HasSubstr("\"Reviewer1\":5"));
  EXPECT_EQ(Ask(app, "/ratings/0", "POST", "not json").status, 400);
  Ask(app, "/ratings/0", "POST", R"({"Reviewer1":1})");
  EXPECT_THAT(Ask(app, "/ratings/0").body, HasSubstr("\"Reviewer1\":1"));
}

TEST_F(WorkloadsTest, ReviewsAskRatingsAndSurviveTheirLoss) {
  auto ratings = Serve(Ratings(), "RATINGS_HOSTNAME", "RATINGS_SERVICE_PORT");
  setenv("ENABLE_RATINGS", "true", 1);
  setenv("STAR_COLOR", "red", 1);
  const Application app = Reviews(loop_);
  unsetenv("ENABLE_RATINGS");
  EXPECT_THAT(Ask(app, "/reviews/0").body, HasSubstr(R"("rating":{"color":"red","stars":5})"));
  ratings.reset();
  const Answer answer = Ask(app, "/reviews/0");
  EXPECT_EQ(answer.status, 200);
  EXPECT_THAT(answer.body, HasSubstr("Ratings service is currently unavailable"));
}

TEST_F(WorkloadsTest, ProductPageShowsDetailsAndReviewsAndPassesHeadersOn) {
  std::string seen;
  auto details = Serve(
      [&](const std::shared_ptr<const Call>& call, const Reply& reply) {
        seen = std::string(call->head.headers.Get("x-b3-traceid").value_or("none"));
        Details()(call, reply);
      },
      "DETAILS_HOSTNAME", "DETAILS_SERVICE_PORT");
  auto reviews = Serve(Reviews(loop_), "REVIEWS_HOSTNAME", "REVIEWS_SERVICE_PORT");
  const Application app = ProductPage(loop_);
  Answer page = Ask(app, "/productpage", "GET", "", {{"x-b3-traceid", "abc"}});
  EXPECT_THAT(page.body, HasSubstr("William Shakespeare"));
  EXPECT_THAT(page.body, HasSubstr("An extremely entertaining play"));
  EXPECT_THAT(page.body, HasSubstr("Reviews served by: <u>" + Hostname()));
  EXPECT_EQ(seen, "abc");
  EXPECT_THAT(Ask(app, "/api/v1/products/0/reviews").body, HasSubstr("\"reviews\""));
  reviews.reset();
  page = Ask(app, "/productpage");
  EXPECT_EQ(page.status, 200);
  EXPECT_THAT(page.body, HasSubstr("product reviews are currently unavailable"));
}

TEST_F(WorkloadsTest, HttpBinEchoesAndMisbehaves) {
  const Application app = HttpBin(loop_);
  const Answer echo = Ask(app, "/anything?a=b", "POST", R"({"x":1})", {{"x-test", "yes"}});
  auto json = kubeapi::ParseJson(echo.body);
  ASSERT_TRUE(json.ok());
  EXPECT_EQ(kubeapi::StringAt(*json, {"headers", "X-Test"}), "yes");
  EXPECT_EQ(kubeapi::StringAt(*json, {"args", "a"}), "b");
  EXPECT_EQ(kubeapi::IntAt(*json, {"json", "x"}), 1);
  EXPECT_EQ(Ask(app, "/status/418").status, 418);
  EXPECT_EQ(Ask(app, "/status/9").status, 400);
  EXPECT_EQ(Ask(app, "/status/").status, 404);
  EXPECT_EQ(Ask(app, "/bytes/10").body.size(), 10u);
  EXPECT_EQ(Ask(app, "/bytes/-1").status, 404);
  EXPECT_EQ(Ask(app, "/basic-auth/u/p").status, 401);
  EXPECT_EQ(Ask(app, "/basic-auth/u/p", "GET", "", {{"authorization", "Basic dTpw"}}).status, 200);
  EXPECT_EQ(Ask(app, "/delay/0.05").status, 200);
}

TEST_F(WorkloadsTest, ServesOverHttp) {
  AppServer server(loop_, "127.0.0.1", 0, Web());
  ASSERT_TRUE(server.Start().ok());
  http::Client client(loop_, {.url = fmt::format("http://127.0.0.1:{}", server.port())});
  std::optional<base::Result<http::Response>> response;
  client.Fetch({}, 5s, [&](base::Result<http::Response> got) { response = std::move(got); });
  ASSERT_TRUE(loop_.RunUntil([&] { return response.has_value(); }, 10s));
  ASSERT_TRUE(response->ok()) << response->status().message();
  EXPECT_EQ((*response)->status, 200);
  EXPECT_THAT((*response)->body, HasSubstr("Welcome"));
}

}  // namespace
}  // namespace isthmus::lab::workloads
