#include "translate/tls.h"

#include "envoy/extensions/transport_sockets/raw_buffer/v3/raw_buffer.pb.h"
#include "envoy/extensions/transport_sockets/tls/v3/tls.pb.h"
#include "istio/networking/v1/destination_rule.pb.h"
#include "istio/networking/v1/gateway.pb.h"
#include "translate/mesh_trust.h"
#include "translate/names.h"
#include "translate/pack.h"

namespace isthmus::translate {
namespace {

namespace core = envoy::config::core::v3;
namespace tls = envoy::extensions::transport_sockets::tls::v3;
namespace v1 = istio::networking::v1;

constexpr char kTlsSocket[] = "envoy.transport_sockets.tls";
constexpr char kOwnCertificate[] = "default";
constexpr char kMeshRoots[] = "ROOTCA";

/// Secrets of the workload itself come from its agent, never from the control plane.
void WriteAgentSecret(const std::string& name, tls::SdsSecretConfig* secret) {
  secret->set_name(name);
  core::ConfigSource* source = secret->mutable_sds_config();
  auto* api = source->mutable_api_config_source();
  api->set_api_type(core::ApiConfigSource::GRPC);
  api->set_transport_api_version(core::V3);
  api->add_grpc_services()->mutable_envoy_grpc()->set_cluster_name("sds-grpc");
  api->set_set_node_on_first_message_only(true);
  source->mutable_initial_fetch_timeout();
  source->set_resource_api_version(core::V3);
}

void WriteAdsSecret(const std::string& name, tls::SdsSecretConfig* secret) {
  secret->set_name(name);
  WriteAdsSource(secret->mutable_sds_config());
}

std::string CredentialResource(const std::string& name) {
  return name.find("://") == std::string::npos ? "kubernetes://" + name : name;
}

void WriteVersions(tls::CommonTlsContext* context) {
  context->mutable_tls_params()->set_tls_minimum_protocol_version(tls::TlsParameters::TLSv1_2);
  context->mutable_tls_params()->set_tls_maximum_protocol_version(tls::TlsParameters::TLSv1_3);
}

/// Both halves are always there: a context that asks for certificates and validates none lets
/// everybody in.
tls::CertificateValidationContext* WriteMeshIdentity(tls::CommonTlsContext* context) {
  WriteAgentSecret(kOwnCertificate, context->add_tls_certificate_sds_secret_configs());
  auto* combined = context->mutable_combined_validation_context();
  WriteAgentSecret(kMeshRoots, combined->mutable_validation_context_sds_secret_config());
  return combined->mutable_default_validation_context();
}

void AddUri(const std::string& uri, bool prefix, tls::CertificateValidationContext* context) {
  auto* matcher = context->add_match_typed_subject_alt_names();
  matcher->set_san_type(tls::SubjectAltNameMatcher::URI);
  if (prefix) {
    matcher->mutable_matcher()->set_prefix(uri);
  } else {
    matcher->mutable_matcher()->set_exact(uri);
  }
}

/// Whoever belongs to the mesh, or to one that it believes. Which root stands for which trust
/// domain is the agent's to say (ROOTCA).
void AddPeers(const MeshSettings& mesh, tls::CertificateValidationContext* context) {
  auto add = [&](const std::string& domain) { AddUri("spiffe://" + domain + "/", true, context); };
  add(mesh.trust_domain);
  for (const std::string& domain : mesh.trust_domain_aliases) add(domain);
  for (const std::string& domain : ForeignTrustDomains(mesh)) add(domain);
}

void AddSan(const std::string& name, tls::CertificateValidationContext* context) {
  if (name.find("://") != std::string::npos) return AddUri(name, false, context);
  auto* matcher = context->add_match_typed_subject_alt_names();
  matcher->set_san_type(tls::SubjectAltNameMatcher::DNS);
  matcher->mutable_matcher()->set_exact(name);
}

void AddCiphers(tls::CommonTlsContext* context) {
  for (const char* suite : {"ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384",
                            "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256",
                            "AES256-GCM-SHA384", "AES128-GCM-SHA256"}) {
    context->mutable_tls_params()->add_cipher_suites(suite);
  }
}

tls::TlsParameters::TlsProtocol Version(v1::ServerTLSSettings::TLSProtocol version,
                                        tls::TlsParameters::TlsProtocol fallback) {
  switch (version) {
    case v1::ServerTLSSettings::TLSV1_0:
      return tls::TlsParameters::TLSv1_0;
    case v1::ServerTLSSettings::TLSV1_1:
      return tls::TlsParameters::TLSv1_1;
    case v1::ServerTLSSettings::TLSV1_2:
      return tls::TlsParameters::TLSv1_2;
    case v1::ServerTLSSettings::TLSV1_3:
      return tls::TlsParameters::TLSv1_3;
    default:
      return fallback;
  }
}

void WriteServerCertificates(const v1::ServerTLSSettings& settings,
                             tls::CommonTlsContext* context) {
  if (!settings.credential_names().empty()) {
    for (const std::string& name : settings.credential_names()) {
      WriteAdsSecret(CredentialResource(name), context->add_tls_certificate_sds_secret_configs());
    }
  } else if (!settings.credential_name().empty()) {
    WriteAdsSecret(CredentialResource(settings.credential_name()),
                   context->add_tls_certificate_sds_secret_configs());
  } else {
    WriteAgentSecret("file-cert:" + settings.server_certificate() + "~" + settings.private_key(),
                     context->add_tls_certificate_sds_secret_configs());
  }
}

void WriteClientValidation(const v1::ServerTLSSettings& settings, tls::CommonTlsContext* context) {
  auto* combined = context->mutable_combined_validation_context();
  auto* fixed = combined->mutable_default_validation_context();
  for (const std::string& name : settings.subject_alt_names()) AddSan(name, fixed);
  for (const std::string& hash : settings.verify_certificate_hash())
    fixed->add_verify_certificate_hash(hash);
  for (const std::string& spki : settings.verify_certificate_spki())
    fixed->add_verify_certificate_spki(spki);
  auto* secret = combined->mutable_validation_context_sds_secret_config();
  if (!settings.ca_cert_credential_name().empty()) {
    WriteAdsSecret(CredentialResource(settings.ca_cert_credential_name()), secret);
  } else if (!settings.credential_names().empty()) {
    WriteAdsSecret(CredentialResource(settings.credential_names(0)) + std::string(kCaSuffix),
                   secret);
  } else if (!settings.credential_name().empty()) {
    WriteAdsSecret(CredentialResource(settings.credential_name()) + std::string(kCaSuffix), secret);
  } else {
    WriteAgentSecret("file-root:" + settings.ca_certificates(), secret);
  }
}

}  // namespace

void WriteAdsSource(core::ConfigSource* source) {
  source->mutable_ads();
  source->mutable_initial_fetch_timeout();
  source->set_resource_api_version(core::V3);
}

void WriteUpstreamMtls(const std::string& sni, const std::vector<std::string>& sans, Alpn alpn,
                       core::TransportSocket* socket) {
  tls::UpstreamTlsContext context;
  context.set_sni(sni);
  auto* common = context.mutable_common_tls_context();
  WriteVersions(common);
  auto* validation = WriteMeshIdentity(common);
  for (const std::string& san : sans) AddSan(san, validation);
  if (alpn == Alpn::kHttp) common->add_alpn_protocols("istio-http/1.1");
  if (alpn == Alpn::kHttp2) common->add_alpn_protocols("istio-h2");
  common->add_alpn_protocols("istio");
  if (alpn == Alpn::kHttp2) common->add_alpn_protocols("h2");
  socket->set_name(kTlsSocket);
  Pack(context, socket->mutable_typed_config());
}

void WriteUpstreamTls(const v1::ClientTLSSettings& settings, const std::vector<std::string>& sans,
                      bool http2, core::TransportSocket* socket) {
  tls::UpstreamTlsContext context;
  context.set_sni(settings.sni());
  auto* common = context.mutable_common_tls_context();
  WriteVersions(common);
  const bool credential = !settings.credential_name().empty();
  if (settings.mode() == v1::ClientTLSSettings::MUTUAL) {
    auto* secret = common->add_tls_certificate_sds_secret_configs();
    if (credential) {
      WriteAdsSecret(CredentialResource(settings.credential_name()), secret);
    } else {
      WriteAgentSecret("file-cert:" + settings.client_certificate() + "~" + settings.private_key(),
                       secret);
    }
  }
  tls::CertificateValidationContext fixed;
  for (const std::string& san : sans) AddSan(san, &fixed);
  if (settings.insecure_skip_verify().value()) {
    *common->mutable_validation_context() = fixed;
  } else {
    auto* combined = common->mutable_combined_validation_context();
    *combined->mutable_default_validation_context() = fixed;
    auto* secret = combined->mutable_validation_context_sds_secret_config();
    if (credential) {
      WriteAdsSecret(CredentialResource(settings.credential_name()) + std::string(kCaSuffix),
                     secret);
    } else {
      const std::string& ca = settings.ca_certificates();
      WriteAgentSecret("file-root:" + (ca.empty() ? std::string("system") : ca), secret);
    }
  }
  if (http2) common->add_alpn_protocols("h2");
  socket->set_name(kTlsSocket);
  Pack(context, socket->mutable_typed_config());
}

void WriteRawBuffer(core::TransportSocket* socket) {
  socket->set_name("envoy.transport_sockets.raw_buffer");
  Pack(envoy::extensions::transport_sockets::raw_buffer::v3::RawBuffer(),
       socket->mutable_typed_config());
}

void WriteDownstreamMtls(const MeshSettings& mesh, bool http, core::TransportSocket* socket) {
  tls::DownstreamTlsContext context;
  auto* common = context.mutable_common_tls_context();
  WriteVersions(common);
  AddCiphers(common);
  auto* validation = WriteMeshIdentity(common);
  AddPeers(mesh, validation);
  if (!http) common->add_alpn_protocols("istio-peer-exchange");
  common->add_alpn_protocols("h2");
  common->add_alpn_protocols("http/1.1");
  context.mutable_require_client_certificate()->set_value(true);
  socket->set_name(kTlsSocket);
  Pack(context, socket->mutable_typed_config());
}

void WriteGatewayTls(const MeshSettings& mesh, const v1::Server& server, bool http,
                     core::TransportSocket* socket) {
  const v1::ServerTLSSettings& settings = server.tls();
  tls::DownstreamTlsContext context;
  auto* common = context.mutable_common_tls_context();
  auto* params = common->mutable_tls_params();
  params->set_tls_minimum_protocol_version(
      Version(settings.min_protocol_version(), tls::TlsParameters::TLSv1_2));
  params->set_tls_maximum_protocol_version(
      Version(settings.max_protocol_version(), tls::TlsParameters::TLSv1_3));
  for (const std::string& suite : settings.cipher_suites()) params->add_cipher_suites(suite);
  bool require = false;
  if (settings.mode() == v1::ServerTLSSettings::ISTIO_MUTUAL) {
    require = true;
    auto* validation = WriteMeshIdentity(common);
    for (const std::string& name : settings.subject_alt_names()) AddSan(name, validation);
    if (settings.subject_alt_names().empty()) AddPeers(mesh, validation);
    if (!http) common->add_alpn_protocols("istio-peer-exchange");
  } else {
    WriteServerCertificates(settings, common);
    require = settings.mode() == v1::ServerTLSSettings::MUTUAL;
    if (require || settings.mode() == v1::ServerTLSSettings::OPTIONAL_MUTUAL) {
      WriteClientValidation(settings, common);
    }
  }
  common->add_alpn_protocols("h2");
  common->add_alpn_protocols("http/1.1");
  context.mutable_require_client_certificate()->set_value(require);
  socket->set_name(kTlsSocket);
  Pack(context, socket->mutable_typed_config());
}

}  // namespace isthmus::translate
