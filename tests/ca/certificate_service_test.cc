#include "ca/certificate_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

#include "istio/v1/auth/ca.pb.h"
#include "tests/ca/ca_fixture.h"

namespace isthmus::ca {
namespace {

using ::testing::HasSubstr;

class FakeCall final : public rpc::ServerCall {
 public:
  const std::string& method() const override { return method_; }
  const http::Headers& metadata() const override { return metadata_; }
  const http::PeerInfo& peer() const override { return peer_; }
  void OnMessage(std::function<void(std::string_view)> message,
                 std::function<void()> half_close) override {
    message_ = std::move(message);
    half_close_ = std::move(half_close);
  }
  void OnClose(std::function<void()> callback) override { close_ = std::move(callback); }
  void Send(std::vector<base::Slice> parts) override {
    for (const base::Slice& part : parts) sent += part.view();
  }
  void Finish(const base::Status& status) override { finished = status; }
  size_t buffered() const override { return 0; }
  void OnDrain(std::function<void()>) override {}

  void Receive(const std::string& bytes) { message_(bytes); }
  void HalfClose() { half_close_(); }
  void Close() { close_(); }

  std::string sent;
  std::optional<base::Status> finished;

 private:
  std::string method_{kCreateCertificate};
  http::Headers metadata_;
  http::PeerInfo peer_;
  std::function<void(std::string_view)> message_;
  std::function<void()> half_close_;
  std::function<void()> close_;
};

/// Answers when the test says so.
class Later final : public Authenticator {
 public:
  void Authenticate(const http::PeerInfo&, const http::Headers&, Done done) override {
    pending = std::move(done);
  }
  Done pending;
};

struct CertificateServiceTest : ::testing::Test {
  pki::TestCa test;
  Authority authority;
  Later authenticator;
  base::MetricRegistry metrics;
  AuthorityIssuer issuer{authority};
  CertificateService service{issuer, authenticator, metrics};
  std::shared_ptr<FakeCall> call = std::make_shared<FakeCall>();

  void SetUp() override {
    authority.Use(Material(test));
    service.Serve(call);
  }
  static std::string Request(const std::string& csr, int64_t ttl = 86400) {
    istio::v1::auth::IstioCertificateRequest request;
    request.set_csr(csr);
    request.set_validity_duration(ttl);
    (*request.mutable_metadata()->mutable_fields())["CertSigner"].set_string_value("");
    return request.SerializeAsString();
  }
  void Answer(base::Result<Caller> caller) {
    std::exchange(authenticator.pending, nullptr)(std::move(caller));
  }
  static Caller Sleep() {
    Caller caller;
    caller.identities = {kSleep};
    caller.proof = Caller::Proof::kKubernetesToken;
    return caller;
  }
};

TEST_F(CertificateServiceTest, TheProvenIdentityIsSigned) {
  call->Receive(Request(CsrPem({.uri_sans = {"spiffe://cluster.local/ns/kube-system/sa/admin"}})));
  call->HalfClose();
  EXPECT_FALSE(call->finished) << "waits for the authenticator";
  Answer(Sleep());
  ASSERT_TRUE(call->finished && call->finished->ok()) << call->finished->message();
  istio::v1::auth::IstioCertificateResponse response;
  ASSERT_TRUE(response.ParseFromString(call->sent));
  ASSERT_EQ(response.cert_chain_size(), 4);
  EXPECT_EQ(Must(pki::Certificate::FromPem(response.cert_chain(0))).uri_sans(),
            std::vector<std::string>{kSleep});
  EXPECT_THAT(metrics.Text(), HasSubstr("citadel_server_success_cert_issuance_count 1"));
}

TEST_F(CertificateServiceTest, UnknownCallersAreRefused) {
  call->Receive(Request(CsrPem()));
  Answer(base::Error(base::Code::kUnavailable, "api server down"));
  EXPECT_EQ(call->finished->code(), base::Code::kUnauthenticated);
  EXPECT_EQ(call->sent, "");
  EXPECT_THAT(metrics.Text(), HasSubstr("citadel_server_authentication_failure_count 1"));
}

TEST_F(CertificateServiceTest, CallersWithoutIdentityAreRefused) {
  call->Receive(Request(CsrPem()));
  Answer(Caller{});
  EXPECT_EQ(call->finished->code(), base::Code::kUnauthenticated);
}

TEST_F(CertificateServiceTest, BadRequestsAreToldApart) {
  call->Receive(Request("junk"));
  Answer(Sleep());
  EXPECT_EQ(call->finished->code(), base::Code::kInvalidArgument);
  EXPECT_THAT(metrics.Text(), HasSubstr("citadel_server_csr_parsing_err_count 1"));
}

TEST_F(CertificateServiceTest, MalformedBytesAreRefused) {
  call->Receive("\xff\xff\xff");
  Answer(Sleep());
  EXPECT_EQ(call->finished->code(), base::Code::kInvalidArgument);
}

TEST_F(CertificateServiceTest, NobodyGetsTheIdentityOfAnother) {
  istio::v1::auth::IstioCertificateRequest request;
  request.set_csr(CsrPem());
  (*request.mutable_metadata()->mutable_fields())["ImpersonatedIdentity"].set_string_value(
      "spiffe://x/ns/a/sa/b");
  call->Receive(request.SerializeAsString());
  Answer(Sleep());
  EXPECT_EQ(call->finished->code(), base::Code::kUnauthenticated);
}

TEST_F(CertificateServiceTest, AClientThatLeftIsNotAnswered) {
  call->Receive(Request(CsrPem()));
  call->Close();
  Answer(Sleep());
  EXPECT_FALSE(call->finished);
  EXPECT_EQ(call->sent, "");
}

TEST_F(CertificateServiceTest, OneRequestPerCall) {
  call->HalfClose();
  EXPECT_EQ(call->finished->code(), base::Code::kInvalidArgument);
}

}  // namespace
}  // namespace isthmus::ca
