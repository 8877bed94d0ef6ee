#include "agent/mesh_trust.h"

#include "agent/xds_message.h"
#include "pki/trust_bundle.h"
#include "rpc/protobuf_wire.h"

namespace isthmus::agent {
namespace {

using base::Code;

// Field numbers of istio/mesh/v1alpha1/proxy.proto.
constexpr uint32_t kProxyMetadata = 22, kCaCertificates = 32;
// Of Envoy's CertificateValidationContext and what is in it.
constexpr uint32_t kTrustedCa = 1, kCustomValidator = 12;
constexpr std::string_view kSpiffeType =
    "type.googleapis.com/"
    "envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig";

void AppendPem(std::string_view pem, std::string& out) {
  out += pem;
  if (!pem.empty() && !pem.ends_with('\n')) out += '\n';
}

base::Status CheckRoots(const std::string& pem, std::string_view what) {
  return pem.empty() ? base::Status() : pki::TrustBundle::FromPem(pem).status().In(what);
}

}  // namespace

base::Result<MeshTrust> MeshTrust::Parse(std::string_view message) {
  MeshTrust trust;
  rpc::WireReader in(message);
  while (in.Next()) {
    if (in.field() == kCaCertificates) AppendPem(in.bytes(), trust.roots_);
    if (in.field() != kProxyMetadata) continue;
    std::string_view domain, roots;
    rpc::WireReader entry(in.bytes());
    while (entry.Next()) {
      if (entry.field() == 1) domain = entry.bytes();
      if (entry.field() == 2) roots = entry.bytes();
    }
    if (!entry.ok()) return base::Error(Code::kInvalidArgument, "malformed roots of the mesh");
    AppendPem(roots, trust.of_domain_[std::string(domain)]);
  }
  if (!in.ok()) return base::Error(Code::kInvalidArgument, "malformed roots of the mesh");
  RETURN_IF_ERROR(CheckRoots(trust.roots_, "roots of the mesh"), "");
  for (const auto& [domain, roots] : trust.of_domain_)
    RETURN_IF_ERROR(CheckRoots(roots, "roots of " + domain), "");
  return trust;
}

std::string MeshTrust::Validation(const std::string& own_domain, const std::string& own_roots,
                                  const std::string& revoked) const {
  std::string all;
  AppendPem(own_roots, all);
  all += roots_;
  std::string context;
  rpc::PutBytes(context, kTrustedCa, InlineBytes(all));
  if (of_domain_.empty()) return context;
  std::string own;
  AppendPem(own_roots, own);
  if (const auto more = of_domain_.find(own_domain); more != of_domain_.end()) own += more->second;
  auto domains = of_domain_;
  domains[own_domain] = "";
  std::string config;
  for (const auto& [domain, roots] : domains) {
    std::string entry;
    rpc::PutBytes(entry, 1, domain);
    rpc::PutBytes(entry, 2, InlineBytes(roots.empty() ? own + revoked : roots));
    rpc::PutBytes(config, 1, entry);
  }
  std::string validator;
  rpc::PutBytes(validator, 1, "envoy.tls.cert_validator.spiffe");
  rpc::PutBytes(validator, 2, MakeAny(kSpiffeType, config));
  rpc::PutBytes(context, kCustomValidator, validator);
  return context;
}

}  // namespace isthmus::agent
