#include "agent/ca_client.h"

#include "base/log.h"
#include "rpc/client.h"
#include "rpc/protobuf_wire.h"

namespace isthmus::agent {
namespace {

using base::Code;

constexpr char kMethod[] = "/istio.v1.auth.IstioCertificateService/CreateCertificate";
constexpr int kAttempts = 5;

bool CanHelp(Code code) {
  return code == Code::kCancelled || code == Code::kDeadlineExceeded ||
         code == Code::kResourceExhausted || code == Code::kAborted || code == Code::kInternal ||
         code == Code::kUnavailable;
}

}  // namespace

std::string MakeCertificateRequest(std::string_view csr_pem, std::chrono::seconds ttl,
                                   std::string_view cert_signer) {
  // Field 4 is a google.protobuf.Struct: {"CertSigner": <text>}.
  std::string value;
  rpc::PutBytes(value, 3, cert_signer);
  std::string entry;
  rpc::PutBytes(entry, 1, "CertSigner");
  rpc::PutBytes(entry, 2, value);
  std::string metadata;
  rpc::PutBytes(metadata, 1, entry);
  std::string message;
  rpc::PutBytes(message, 1, csr_pem);
  rpc::PutNumber(message, 3, static_cast<uint64_t>(ttl.count()));
  rpc::PutBytes(message, 4, metadata);
  return message;
}

base::Result<std::vector<std::string>> ParseCertificateResponse(std::string_view message) {
  std::vector<std::string> chain;
  rpc::WireReader in(message);
  while (in.Next())
    if (in.field() == 1 && in.is_bytes()) chain.emplace_back(in.bytes());
  if (!in.ok()) return base::Error(Code::kInternal, "the CA's answer is malformed");
  if (chain.size() < 2)
    return base::Error(Code::kInternal, "the CA's answer has {} elements, not two or more",
                       chain.size());
  return chain;
}

CaClient::CaClient(base::Loop& loop, ControlPlane& control_plane, std::string cert_signer)
    : loop_(loop), control_plane_(control_plane), cert_signer_(std::move(cert_signer)) {}

void CaClient::Sign(std::string csr_pem, std::chrono::seconds ttl, Done done) {
  request_ = MakeCertificateRequest(csr_pem, ttl, cert_signer_);
  done_ = std::move(done);
  attempts_ = 0;
  backoff_ =
      base::Backoff({.initial = std::chrono::milliseconds(100), .jitter = 0.1, .random = nullptr});
  Try();
}

void CaClient::Try() {
  ++attempts_;
  const base::Result<http::Client*> client = control_plane_.client();
  if (!client.ok()) {
    // Told later, as all other errors are.
    loop_.Post([this, alive = std::weak_ptr<bool>(alive_), status = client.status()] {
      if (!alive.expired()) OnAnswer(status);
    });
    return;
  }
  rpc::UnaryCall(**client, kMethod, control_plane_.metadata(), request_, std::chrono::seconds(10),
                 [this, alive = std::weak_ptr<bool>(alive_)](base::Result<std::string> answer) {
                   if (!alive.expired()) OnAnswer(std::move(answer));
                 });
}

void CaClient::OnAnswer(base::Result<std::string> answer) {
  if (answer.ok()) {
    control_plane_.Worked();
    // The next request is hours away: an idle connection would only cost the control plane memory.
    control_plane_.Rest();
    return Finish(ParseCertificateResponse(*answer));
  }
  control_plane_.Failed();
  if (!CanHelp(answer.status().code()) || attempts_ >= kAttempts) return Finish(answer.status());
  LOG_DEBUG("citadelclient", "request {} failed: {}", attempts_, answer.status().message());
  retry_ = base::Timer::After(loop_, backoff_.Next(), [this] { Try(); });
}

void CaClient::Finish(base::Result<std::vector<std::string>> result) {
  request_.clear();
  const Done done = std::exchange(done_, nullptr);
  done(std::move(result));
}

}  // namespace isthmus::agent
