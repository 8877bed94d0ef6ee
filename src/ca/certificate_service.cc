#include "ca/certificate_service.h"

#include "base/log.h"
#include "istio/v1/auth/ca.pb.h"

namespace isthmus::ca {
namespace {

using base::Code;

double SecondsOf(base::Time time) {
  return std::chrono::duration<double>(time.time_since_epoch()).count();
}

}  // namespace

CertificateService::CertificateService(Issuer& issuer, Authenticator& authenticator,
                                       base::MetricRegistry& metrics)
    : issuer_(issuer), authenticator_(authenticator), metrics_(metrics) {}

void CertificateService::Register(rpc::Router& router) {
  router.Add(std::string(kCreateCertificate),
             [this](std::shared_ptr<rpc::ServerCall> call) { Serve(std::move(call)); });
}

void CertificateService::Serve(std::shared_ptr<rpc::ServerCall> call) {
  struct State {
    bool asked = false;
    bool open = true;
  };
  auto state = std::make_shared<State>();
  // The call owns these callbacks; a strong reference in them would be a circle.
  std::weak_ptr<rpc::ServerCall> weak = call;
  call->OnClose([state] { state->open = false; });
  call->OnMessage(
      [this, weak, state](std::string_view message) {
        std::shared_ptr<rpc::ServerCall> call = weak.lock();
        if (call == nullptr || state->asked) return;
        state->asked = true;
        metrics_.AddCounter("citadel_server_csr_count", "Certificate requests received.").Add();
        authenticator_.Authenticate(
            call->peer(), call->metadata(),
            [this, call, state, request = std::string(message)](base::Result<Caller> caller) {
              if (!state->open) return;
              if (caller.ok() && caller->identities.empty())
                caller = base::Error(Code::kUnauthenticated, "the caller has proved no identity");
              if (caller.ok())
                return Handle(call, std::shared_ptr<bool>(state, &state->open), request, *caller);
              metrics_
                  .AddCounter("citadel_server_authentication_failure_count",
                              "Callers that were refused.")
                  .Add();
              LOG_WARN("serverca", "request from {} refused: {}", call->peer().address,
                       caller.status().message());
              call->Finish(base::Status(Code::kUnauthenticated, caller.status().message()));
            });
      },
      [weak, state] {
        if (state->asked) return;
        if (std::shared_ptr<rpc::ServerCall> call = weak.lock())
          call->Finish(base::Error(Code::kInvalidArgument, "call without a request"));
      });
}

void CertificateService::CountSignError(const base::Status& status) {
  if (status.code() == Code::kInvalidArgument &&
      status.message().starts_with("certificate request"))
    metrics_.AddCounter("citadel_server_csr_parsing_err_count", "Requests that did not parse.")
        .Add();
  metrics_
      .AddCounter(
          "citadel_server_csr_sign_err_count", "Requests that were not signed.",
          {{"error", status.code() == Code::kInvalidArgument ? "CSR_ERROR" : "CERT_GEN_ERROR"}})
      .Add();
}

void CertificateService::Handle(const std::shared_ptr<rpc::ServerCall>& call,
                                const std::shared_ptr<bool>& open, std::string_view bytes,
                                const Caller& caller) {
  istio::v1::auth::IstioCertificateRequest request;
  if (!request.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
    return call->Finish(
        base::Error(Code::kInvalidArgument, "request is not an IstioCertificateRequest"));
  const auto& fields = request.metadata().fields();
  if (fields.contains("ImpersonatedIdentity"))
    return call->Finish(
        base::Error(Code::kUnauthenticated, "no caller may ask for the identity of another"));
  const auto signer = fields.find("CertSigner");
  issuer_.Issue(
      request.csr(), caller.identities, std::chrono::seconds(request.validity_duration()),
      signer == fields.end() ? "" : signer->second.string_value(),
      [this, call, open, identity = caller.identities.front(),
       proof = caller.proof](base::Result<std::vector<std::string>> chain) {
        if (!chain.ok()) {
          CountSignError(chain.status());
          LOG_WARN("serverca", "request of {} not signed: {}", identity, chain.status().message());
          if (*open) call->Finish(chain.status());
          return;
        }
        if (!*open) return;
        istio::v1::auth::IstioCertificateResponse response;
        for (std::string& pem : *chain) response.add_cert_chain(std::move(pem));
        metrics_.AddCounter("citadel_server_success_cert_issuance_count", "Certificates issued.")
            .Add();
        LOG_INFO("serverca", "certificate issued for {} by {}", identity, NameOf(proof));
        call->Send({base::Slice(response.SerializeAsString())});
        call->Finish(base::Status());
      });
}

void AddExpiryMetrics(const Authority& authority, const base::Clock& clock,
                      base::MetricRegistry& metrics) {
  const auto root_end = [&authority]() -> double {
    if (!authority.ready()) return -1;
    base::Time first = authority.roots()->roots().front().not_after();
    for (const pki::Certificate& root : authority.roots()->roots())
      first = std::min(first, root.not_after());
    return SecondsOf(first);
  };
  const auto chain_end = [&authority]() -> double {
    return authority.ready() ? SecondsOf(authority.material().ca.not_after()) : -1;
  };
  metrics.AddGaugeFunction("citadel_server_root_cert_expiry_timestamp",
                           "When the first root ends, Unix time.", {}, root_end);
  metrics.AddGaugeFunction("citadel_server_root_cert_expiry_seconds",
                           "Seconds until the first root ends.", {},
                           [root_end, &clock] { return root_end() - SecondsOf(clock.Now()); });
  metrics.AddGaugeFunction("citadel_server_cert_chain_expiry_timestamp",
                           "When the signing chain ends, Unix time.", {}, chain_end);
  metrics.AddGaugeFunction("citadel_server_cert_chain_expiry_seconds",
                           "Seconds until the signing chain ends.", {},
                           [chain_end, &clock] { return chain_end() - SecondsOf(clock.Now()); });
}

}  // namespace isthmus::ca
