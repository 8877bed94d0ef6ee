#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/metrics.h"
#include "ca/authenticator.h"
#include "ca/authority.h"
#include "ca/issuer.h"
#include "rpc/server.h"

namespace isthmus::ca {

/// The gRPC method by which agents ask for certificates.
inline constexpr std::string_view kCreateCertificate =
    "/istio.v1.auth.IstioCertificateService/CreateCertificate";

/// Serves istio.v1.auth.IstioCertificateService: the caller's proven identity, never the request's
/// names, goes into the certificate. Lives on the server's loop; issuer, authenticator and
/// metrics outlive it, and it outlives the calls.
class CertificateService {
 public:
  CertificateService(Issuer& issuer, Authenticator& authenticator, base::MetricRegistry& metrics);
  void Register(rpc::Router& router);
  /// One call; Register() leads calls here.
  void Serve(std::shared_ptr<rpc::ServerCall> call);

 private:
  void Handle(const std::shared_ptr<rpc::ServerCall>& call, const std::shared_ptr<bool>& open,
              std::string_view request, const Caller& caller);
  void CountSignError(const base::Status& status);

  Issuer& issuer_;
  Authenticator& authenticator_;
  base::MetricRegistry& metrics_;
};

/// Adds the gauges of when root and chain expire.
void AddExpiryMetrics(const Authority& authority, const base::Clock& clock,
                      base::MetricRegistry& metrics);

}  // namespace isthmus::ca
