// Who may do what, and the questions that clients ask about it.
#include "lab/apiserver/admission.h"
#include "tests/lab/apiserver/api_fixture.h"

namespace isthmus::lab::apiserver {
namespace {

using kubeapi::StringAt;

constexpr char kRbac[] = "/apis/rbac.authorization.k8s.io/v1";

class AccessTest : public ApiTest {
 protected:
  void Grant(const std::string& user, const std::string& verb, const std::string& resource,
             const std::string& name = "") {
    Json rule = {{"apiGroups", {""}}, {"resources", {resource}}, {"verbs", {verb}}};
    if (!name.empty()) rule["resourceNames"] = Json::array({name});
    ASSERT_EQ(Post(std::string(kRbac) + "/namespaces/default/roles",
                   {{"metadata", {{"name", user}}}, {"rules", Json::array({rule})}})
                  .status,
              201);
    ASSERT_EQ(Post(std::string(kRbac) + "/namespaces/default/rolebindings",
                   {{"metadata", {{"name", user}}},
                    {"subjects", Json::array({{{"kind", "User"}, {"name", user}}})},
                    {"roleRef", {{"kind", "Role"}, {"name", user}}}})
                  .status,
              201);
  }
  int StatusFor(const std::string& user, const std::string& method, const std::string& path,
                std::vector<std::string> groups = {"system:authenticated"}) {
    last_ = Send({method,
                  path,
                  {},
                  {{"content-type", "application/json"}},
                  "",
                  User{user, "", std::move(groups), {}}});
    return last_.status;
  }
  Response last_;
};

TEST_F(AccessTest, NothingIsAllowedButWhatARoleSays) {
  EXPECT_EQ(StatusFor("jane", "GET", kPods), 403);
  EXPECT_EQ(Parse(last_)["message"],
            "pods is forbidden: User \"jane\" cannot list resource \"pods\" in API group \"\" in "
            "the namespace \"default\"");
  Grant("jane", "list", "pods");
  EXPECT_EQ(StatusFor("jane", "GET", kPods), 200) << "a new binding counts at once";
  EXPECT_EQ(StatusFor("jane", "GET", "/api/v1/pods"), 403);
  EXPECT_EQ(StatusFor("jane", "GET", std::string(kPods) + "/x"), 403);
  EXPECT_EQ(Parse(last_)["message"],
            "pods \"x\" is forbidden: User \"jane\" cannot get resource \"pods\" in API group \"\" "
            "in the namespace \"default\"");
  ASSERT_EQ(Delete(std::string(kRbac) + "/namespaces/default/rolebindings/jane").status, 200);
  EXPECT_EQ(StatusFor("jane", "GET", kPods), 403);
}

TEST_F(AccessTest, NamesAndSubresourcesAreKeptApart) {
  Grant("jane", "get", "configmaps", "one");
  EXPECT_EQ(StatusFor("jane", "GET", std::string(kConfigMaps) + "/one"), 404);
  EXPECT_EQ(StatusFor("jane", "GET", std::string(kConfigMaps) + "/two"), 403);
  Grant("joe", "get", "pods");
  EXPECT_EQ(StatusFor("joe", "GET", std::string(kPods) + "/x/status"), 403);
}

TEST_F(AccessTest, EveryoneMayDiscoverAndAskAboutHimself) {
  EXPECT_EQ(StatusFor("jane", "GET", "/apis"), 200);
  EXPECT_EQ(StatusFor("system:anonymous2", "GET", "/apis", {"system:unauthenticated"}), 403);
  EXPECT_EQ(StatusFor("system:anonymous2", "GET", "/version", {"system:unauthenticated"}), 200);
  const Response self = Send({"POST",
                              "/apis/authentication.k8s.io/v1/selfsubjectreviews",
                              {},
                              {},
                              "{}",
                              User{"jane", "", {"system:authenticated"}, {}}});
  EXPECT_EQ(Parse(self)["status"]["userInfo"]["username"], "jane");
}

TEST_F(AccessTest, AggregatedRolesHoldTheirParts) {
  ASSERT_EQ(Post(std::string(kRbac) + "/namespaces/default/rolebindings",
                 {{"metadata", {{"name", "e"}}},
                  {"subjects", Json::array({{{"kind", "Group"}, {"name", "team"}}})},
                  {"roleRef", {{"kind", "ClusterRole"}, {"name", "edit"}}}})
                .status,
            201);
  EXPECT_EQ(StatusFor("jane", "GET", kDeployments, {"team"}), 200);
  EXPECT_EQ(StatusFor("jane", "DELETE", std::string(kConfigMaps) + "/x", {"team"}), 404);
  EXPECT_EQ(StatusFor("jane", "GET", std::string(kRbac) + "/namespaces/default/roles", {"team"}),
            403);
  EXPECT_EQ(StatusFor("jane", "GET", "/api/v1/namespaces/kube-system/pods", {"team"}), 403);
}

TEST_F(AccessTest, ImpersonationNeedsARight) {
  Request request{"GET", kPods,
                  {},    {{"impersonate-user", "jane"}, {"impersonate-group", "team"}},
                  "",    User{"joe", "", {"system:authenticated"}, {}}};
  EXPECT_TRUE(api_->Impersonate(&request).has_value());
  request.user = admin_;
  EXPECT_FALSE(api_->Impersonate(&request).has_value());
  EXPECT_EQ(request.user.name, "jane");
  EXPECT_EQ(request.user.groups, (std::vector<std::string>{"team", "system:authenticated"}));
  Request half{"GET", kPods, {}, {{"impersonate-group", "team"}}, "", admin_};
  EXPECT_EQ(api_->Impersonate(&half)->code, 400);
}

TEST_F(AccessTest, ReviewsAnswer) {
  Grant("jane", "list", "pods");
  auto allowed = [&](const char* user, const char* verb) {
    return Parse(Post(
        "/apis/authorization.k8s.io/v1/subjectaccessreviews",
        {{"spec",
          {{"user", user},
           {"resourceAttributes",
            {{"namespace", "default"}, {"verb", verb}, {"resource", "pods"}}}}}}))["status"]
                                                                                  ["allowed"]
                                                                                      .get<bool>();
  };
  EXPECT_TRUE(allowed("jane", "list"));
  EXPECT_FALSE(allowed("jane", "delete"));
  const Json rules = Parse(Send({"POST",
                                 "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
                                 {},
                                 {},
                                 R"({"spec":{"namespace":"default"}})",
                                 User{"jane", "", {"system:authenticated"}, {}}}));
  EXPECT_EQ(rules["status"]["resourceRules"].size(), 3u)
      << "the grant, and what every user may ask";
  EXPECT_EQ(Get("/apis/authorization.k8s.io/v1/subjectaccessreviews").status, 405);
}

class TokenTest : public AccessTest {
 protected:
  void SetUp() override {
    AccessTest::SetUp();
    tokens_ = std::make_unique<TokenIssuer>(api_->engine(), *pki::PrivateKey::GenerateRsa(2048),
                                            "https://issuer.example", std::vector<std::string>{});
    api_->engine().tokens = tokens_.get();
  }
  Json Review(const std::string& token, Json audiences = nullptr) {
    Json spec = {{"token", token}};
    if (!audiences.is_null()) spec["audiences"] = audiences;
    return Parse(Post("/apis/authentication.k8s.io/v1/tokenreviews", {{"spec", spec}}))["status"];
  }
  std::unique_ptr<TokenIssuer> tokens_;
};

TEST_F(TokenTest, ABoundTokenLivesWithItsPod) {
  ASSERT_EQ(Post(kPods, Pod("web")).status, 201);
  const Response made =
      Post("/api/v1/namespaces/default/serviceaccounts/default/token",
           {{"spec",
             {{"audiences", {"istio-ca"}},
              {"expirationSeconds", 43200},
              {"boundObjectRef", {{"kind", "Pod"}, {"apiVersion", "v1"}, {"name", "web"}}}}}});
  ASSERT_EQ(made.status, 201) << made.body;
  const std::string token = StringAt(Parse(made), {"status", "token"});
  const Json status = Review(token, {"istio-ca", "other"});
  EXPECT_EQ(status["authenticated"], true);
  EXPECT_EQ(status["user"]["username"], "system:serviceaccount:default:default");
  EXPECT_EQ(status["audiences"], Json::array({"istio-ca"}));
  EXPECT_EQ(status["user"]["extra"]["authentication.kubernetes.io/pod-name"], Json::array({"web"}));
  EXPECT_FALSE(Review(token).contains("authenticated")) << "not meant for the API server itself";
  ASSERT_EQ(Delete(std::string(kPods) + "/web").status, 200);
  EXPECT_FALSE(Review(token, {"istio-ca"}).contains("authenticated"));
}

TEST_F(TokenTest, TokensEndAndForgeriesFail) {
  const std::string token =
      StringAt(Parse(Post("/api/v1/namespaces/default/serviceaccounts/default/token",
                          {{"spec", {{"expirationSeconds", 600}}}})),
               {"status", "token"});
  EXPECT_EQ(Review(token)["authenticated"], true);
  clock_.Advance(std::chrono::seconds(601));
  EXPECT_FALSE(Review(token).contains("authenticated"));
  TokenIssuer other(api_->engine(), *pki::PrivateKey::GenerateRsa(2048), "https://issuer.example",
                    {});
  auto forged =
      other.Issue("default", Parse(Get("/api/v1/namespaces/default/serviceaccounts/default")), {},
                  {}, 600, nullptr);
  ASSERT_TRUE(forged.ok());
  EXPECT_FALSE(Review(*forged).contains("authenticated"));
  EXPECT_FALSE(Review("not.a.token").contains("authenticated"));
  EXPECT_EQ(Post("/api/v1/namespaces/default/serviceaccounts/default/token",
                 {{"spec", {{"expirationSeconds", 10}}}})
                .status,
            422);
  EXPECT_EQ(
      Post("/api/v1/namespaces/default/serviceaccounts/nobody/token", {{"spec", Json::object()}})
          .status,
      404);
}

/// Webhooks that the test answers for.
class FakeWebhooks : public WebhookDispatcher {
 public:
  void Mutate(std::shared_ptr<Admission> admission, Done done) override {
    mutate ? mutate(std::move(admission), std::move(done)) : done(std::nullopt);
  }
  void Validate(std::shared_ptr<Admission> admission, Done done) override {
    validate ? validate(std::move(admission), std::move(done)) : done(std::nullopt);
  }
  std::function<void(std::shared_ptr<Admission>, Done)> mutate, validate;
};

class WebhookTest : public ApiTest {
 protected:
  void SetUp() override {
    ApiTest::SetUp();
    api_->engine().webhooks = &hooks_;
  }
  FakeWebhooks hooks_;
};

TEST_F(WebhookTest, AMutatedObjectGetsItsDefaultsAndWarnings) {
  hooks_.mutate = [](auto admission, auto done) {
    EXPECT_EQ(admission->operation, "CREATE");
    admission->object["spec"]["containers"].push_back(
        {{"name", "istio-proxy"}, {"image", "proxy:1"}});
    admission->warnings.push_back("hello");
    done(std::nullopt);
  };
  const Response made = Post(kPods, Pod("web"));
  ASSERT_EQ(made.status, 201) << made.body;
  EXPECT_EQ(Parse(made)["spec"]["containers"][1]["terminationMessagePath"], "/dev/termination-log");
  ASSERT_EQ(made.headers.size(), 1u);
  EXPECT_EQ(made.headers[0].second, "299 - \"hello\"");
}

TEST_F(WebhookTest, ARefusalStopsTheWrite) {
  hooks_.validate = [](auto admission, auto done) {
    kubeapi::ApiError error = kubeapi::BadRequest("admission webhook \"x\" denied the request: no");
    done(admission->operation == "DELETE" ? std::optional<kubeapi::ApiError>() : error);
  };
  EXPECT_EQ(Post(kConfigMaps, {{"metadata", {{"name", "a"}}}}).status, 400);
  EXPECT_EQ(Get(std::string(kConfigMaps) + "/a").status, 404);
}

TEST_F(WebhookTest, APatchThatWasOvertakenIsMadeAgain) {
  ASSERT_EQ(Post(kConfigMaps, {{"metadata", {{"name", "a"}}}, {"data", {{"x", "0"}}}}).status, 201);
  WebhookDispatcher::Done waiting;
  int calls = 0;
  hooks_.mutate = [&](auto, auto done) {
    if (++calls == 1)
      waiting = done;
    else
      done(std::nullopt);
  };
  std::optional<Response> first;
  api_->Handle({"PATCH",
                std::string(kConfigMaps) + "/a",
                {},
                {{"content-type", "application/merge-patch+json"}},
                R"({"data":{"y":"1"}})",
                admin_},
               [&](Response r) { first = r; });
  ASSERT_FALSE(first.has_value()) << "its webhook has not answered";
  ASSERT_EQ(Patch(std::string(kConfigMaps) + "/a", {{"data", {{"x", "2"}}}},
                  "application/merge-patch+json")
                .status,
            200);
  waiting(std::nullopt);
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(first->status, 200);
  EXPECT_EQ(Parse(*first)["data"], (Json{{"x", "2"}, {"y", "1"}})) << "both changes are kept";
  EXPECT_EQ(calls, 3);
}

}  // namespace
}  // namespace isthmus::lab::apiserver
