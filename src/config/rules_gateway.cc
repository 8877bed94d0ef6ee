#include <array>
#include <set>

#include "base/net.h"
#include "base/strings.h"
#include "config/rules.h"
#include "istio/networking/v1/destination_rule.pb.h"
#include "istio/networking/v1/gateway.pb.h"
#include "istio/networking/v1/sidecar.pb.h"

namespace isthmus::config::rules {
namespace {

using namespace istio::networking::v1;  // NOLINT: this file is about these messages.

bool IsTlsProtocol(const std::string& protocol) {
  const std::string lower = base::ToLower(protocol);
  return lower == "https" || lower == "tls";
}

void CheckBind(const std::string& bind, const At& at) {
  if (!bind.empty() && !base::IsIpAddress(bind) && !IsUnixPath(bind))
    at.Error(fmt::format("'{}' is neither an address nor unix:///path", bind));
}

void CheckGatewayHost(const std::string& host, const At& at) {
  const auto slash = host.find('/');
  std::string name = host;
  if (slash != std::string::npos) {
    const std::string ns = host.substr(0, slash);
    name = host.substr(slash + 1);
    if (ns != "*" && ns != "." && !IsDnsLabel(ns))
      at.Error(fmt::format("'{}': '{}' is not a namespace, '.' or '*'", host, ns));
  }
  if (!base::IsIpAddress(name)) CheckFullHost(name, true, at);
}

void CheckServerPresence(const Server& server, const At& at) {
  const bool tls_port = IsTlsProtocol(server.port().protocol());
  if (tls_port && !server.has_tls())
    (at / "tls").Error(fmt::format("is missing on a {} port", server.port().protocol()));
  if (tls_port && server.tls().https_redirect())
    (at / "tls.httpsRedirect").Warn("has an effect on HTTP ports only");
  if (tls_port || !server.has_tls()) return;
  ServerTLSSettings rest = server.tls();
  rest.set_https_redirect(false);
  const bool http = base::EqualsIgnoreCase(server.port().protocol(), "http");
  if (!http || rest.ByteSizeLong() > 0)
    (at / "tls")
        .Error(fmt::format("is not for {} ports{}", server.port().protocol(),
                           http ? ", but for httpsRedirect" : ""));
}

void CheckServer(const Server& server, std::set<std::string>& names, const At& at) {
  const Port& port = server.port();
  if (!server.has_port()) {
    (at / "port").Error("is missing");
  } else {
    if (port.number() != 0 || !IsUnixPath(server.bind()))
      CheckPortNumber(port.number(), at / "port.number");
    if (port.name().empty())
      (at / "port.name").Error("is missing");
    else if (!names.insert(port.name()).second)
      (at / "port.name").Error(fmt::format("'{}' is given twice", port.name()));
    else
      CheckPortName(port.name(), at / "port.name");
    CheckProtocol(port.protocol(), at / "port.protocol");
    if (base::EqualsIgnoreCase(port.protocol(), "udp"))
      (at / "port.protocol").Error("UDP is not supported on gateways");
    if (port.target_port() != 0) (at / "port.targetPort").Error("has no meaning on a gateway");
  }
  CheckBind(server.bind(), at / "bind");
  if (server.hosts_size() == 0) (at / "hosts").Error("is empty");
  for (int i = 0; i < server.hosts_size(); ++i)
    CheckGatewayHost(server.hosts(i), (at / "hosts")[i]);
  CheckServerPresence(server, at);
  if (server.has_tls()) CheckServerTls(server.tls(), at / "tls");
}

void CheckTlsMaterial(const ServerTLSSettings& tls, const At& at) {
  using Tls = ServerTLSSettings;
  const bool files = !tls.server_certificate().empty() || !tls.private_key().empty();
  const bool names = !tls.credential_name().empty() || tls.credential_names_size() > 0;
  const bool lists = tls.tls_certificates_size() > 0;
  switch (tls.mode()) {
    case Tls::PASSTHROUGH:
    case Tls::AUTO_PASSTHROUGH:
      if (files || names || lists || !tls.ca_certificates().empty())
        at.Warn("has certificates, which a port that passes TLS through does not use");
      return;
    case Tls::ISTIO_MUTUAL:
      if (files || names || lists || !tls.ca_certificates().empty())
        at.Error("ISTIO_MUTUAL uses the mesh's own certificates; no other may be given");
      return;
    default:
      break;
  }
  if (files + names + lists > 1 ||
      (!tls.credential_name().empty() && tls.credential_names_size() > 0))
    at.Error(
        "has more than one of credentialName, credentialNames, tlsCertificates, and "
        "serverCertificate with privateKey");
  if (tls.tls_certificates_size() > 2)
    (at / "tlsCertificates").Warn("has more than 2; one of each key type is enough");
  if (!names && !lists) {
    if (tls.server_certificate().empty())
      (at / "serverCertificate").Error("is missing; or set credentialName");
    if (tls.private_key().empty()) (at / "privateKey").Error("is missing; or set credentialName");
  }
  const bool verifies = tls.mode() == Tls::MUTUAL || tls.mode() == Tls::OPTIONAL_MUTUAL;
  if (verifies && !names && tls.ca_certificates().empty() && tls.ca_cert_credential_name().empty())
    (at / "caCertificates").Error("is missing: clients could not be verified");
  if (!tls.ca_crl().empty() && (names || !verifies))
    (at / "caCrl").Error("needs MUTUAL with caCertificates, and no credentialName");
}

const std::set<std::string>& Ciphers() {
  static const auto& ciphers = *new std::set<std::string>{"ECDHE-ECDSA-AES128-GCM-SHA256",
                                                          "ECDHE-RSA-AES128-GCM-SHA256",
                                                          "ECDHE-ECDSA-AES256-GCM-SHA384",
                                                          "ECDHE-RSA-AES256-GCM-SHA384",
                                                          "ECDHE-ECDSA-CHACHA20-POLY1305",
                                                          "ECDHE-RSA-CHACHA20-POLY1305",
                                                          "ECDHE-ECDSA-AES128-SHA",
                                                          "ECDHE-RSA-AES128-SHA",
                                                          "ECDHE-ECDSA-AES256-SHA",
                                                          "ECDHE-RSA-AES256-SHA",
                                                          "ECDHE-PSK-AES128-CBC-SHA",
                                                          "ECDHE-PSK-AES256-CBC-SHA",
                                                          "ECDHE-PSK-CHACHA20-POLY1305",
                                                          "AES128-GCM-SHA256",
                                                          "AES256-GCM-SHA384",
                                                          "AES128-SHA",
                                                          "AES256-SHA",
                                                          "PSK-AES128-CBC-SHA",
                                                          "PSK-AES256-CBC-SHA",
                                                          "DES-CBC3-SHA"};
  return ciphers;
}

// ---- Sidecar

void CheckDefaultEndpoint(const std::string& endpoint, const At& at) {
  if (endpoint.empty()) return;
  if (endpoint.starts_with("unix://")) {
    if (!endpoint.starts_with("unix:///"))
      at.Error(fmt::format("'{}': the path must be absolute", endpoint));
    return;
  }
  const size_t colon = endpoint.rfind(':');
  const std::string host = colon == std::string::npos ? endpoint : endpoint.substr(0, colon);
  static const std::set<std::string>& hosts =
      *new std::set<std::string>{"", "127.0.0.1", "0.0.0.0", "[::1]", "[::]"};
  const auto port = base::ParseInt(colon == std::string::npos ? "" : endpoint.substr(colon + 1));
  if (!hosts.contains(host))
    at.Error(fmt::format("'{}': the host must be 127.0.0.1, 0.0.0.0, [::1] or [::]", endpoint));
  if (!port.ok() || *port < 1 || *port > 65535)
    at.Error(fmt::format("'{}' has no port between 1 and 65535", endpoint));
}

void CheckSidecarTls(const IstioIngressListener& ingress, const At& at) {
  const ServerTLSSettings& tls = ingress.tls();
  if (tls.mode() == ServerTLSSettings::ISTIO_MUTUAL ||
      tls.mode() == ServerTLSSettings::AUTO_PASSTHROUGH)
    (at / "mode").Error("ISTIO_MUTUAL and AUTO_PASSTHROUGH are not for sidecars");
  if (tls.https_redirect()) (at / "httpsRedirect").Error("is not for sidecars");
  if (tls.subject_alt_names_size() > 0) (at / "subjectAltNames").Error("is not for sidecars");
  if (!tls.credential_name().empty() || tls.credential_names_size() > 0)
    (at / "credentialName").Error("is not for sidecars");
  if (tls.tls_certificates_size() > 0) (at / "tlsCertificates").Error("is not for sidecars");
  if (!IsTlsProtocol(ingress.port().protocol())) at.Error("is only for HTTPS and TLS ports");
  CheckServerTls(tls, at);
}

void CheckIngress(const Sidecar& spec, const At& at) {
  std::set<uint32_t> ports;
  for (int i = 0; i < spec.ingress_size(); ++i) {
    const IstioIngressListener& ingress = spec.ingress(i);
    const At where = at[i];
    if (!ingress.has_port()) {
      (where / "port").Error("is missing");
      continue;
    }
    CheckPortNumber(ingress.port().number(), where / "port.number");
    if (!ports.insert(ingress.port().number()).second)
      (where / "port.number").Error(fmt::format("{} is given twice", ingress.port().number()));
    CheckProtocol(ingress.port().protocol(), where / "port.protocol");
    if (ingress.port().target_port() != 0)
      (where / "port.targetPort").Error("has no meaning here; use defaultEndpoint");
    CheckBind(ingress.bind(), where / "bind");
    CheckDefaultEndpoint(ingress.default_endpoint(), where / "defaultEndpoint");
    if (ingress.has_tls()) CheckSidecarTls(ingress, where / "tls");
    if (ingress.has_connection_pool())
      CheckConnectionPool(ingress.connection_pool(), where / "connectionPool");
  }
}

void CheckEgressHosts(const IstioEgressListener& egress, const At& at) {
  if (egress.hosts_size() == 0) return at.Error("is empty");
  std::set<std::string> seen;
  for (int i = 0; i < egress.hosts_size(); ++i) {
    const std::string& host = egress.hosts(i);
    const size_t slash = host.find('/');
    if (slash == std::string::npos) {
      at[i].Error(fmt::format("'{}' is not <namespace>/<host>", host));
      continue;
    }
    const std::string ns = host.substr(0, slash);
    if (ns != "*" && ns != "." && ns != "~" && !IsDnsLabel(ns))
      at[i].Error(fmt::format("'{}': '{}' is not a namespace, '.', '*' or '~'", host, ns));
    CheckFullHost(host.substr(slash + 1), true, at[i]);
    if (!seen.insert(host).second) at[i].Warn(fmt::format("'{}' is given twice", host));
  }
  if (seen.contains("*/*") && seen.size() > 1) at.Warn("has */* beside others, which it covers");
}

void CheckEgress(const Sidecar& spec, const At& at) {
  std::set<std::string> sockets;
  int without_port = 0;
  for (int i = 0; i < spec.egress_size(); ++i) {
    const IstioEgressListener& egress = spec.egress(i);
    const At where = at[i];
    CheckEgressHosts(egress, where / "hosts");
    CheckBind(egress.bind(), where / "bind");
    if (!egress.has_port()) {
      if (++without_port > 1) where.Error("is a second listener without port");
      if (i + 1 != spec.egress_size()) where.Error("has no port, so it must be the last");
      if (!egress.bind().empty()) (where / "bind").Error("needs a port");
      continue;
    }
    const bool is_socket = egress.bind().starts_with("unix://");
    if (egress.port().number() == 0) {
      if (!is_socket) (where / "port.number").Error("0 is only for a bind of unix:///path");
      if (egress.capture_mode() == IPTABLES)
        (where / "captureMode").Error("must be DEFAULT or NONE for a socket");
    } else {
      CheckPortNumber(egress.port().number(), where / "port.number");
    }
    CheckProtocol(egress.port().protocol(), where / "port.protocol");
    if (!sockets.insert(fmt::format("{}:{}", egress.bind(), egress.port().number())).second)
      where.Error("has the port and bind of another listener");
  }
}

}  // namespace

void CheckServerTls(const ServerTLSSettings& tls, const At& at) {
  // Only redirects to another port.
  ServerTLSSettings rest = tls;
  rest.set_https_redirect(false);
  if (tls.https_redirect() && rest.ByteSizeLong() == 0) return;
  CheckTlsMaterial(tls, at);
  using Tls = ServerTLSSettings;
  if ((tls.min_protocol_version() == Tls::TLSV1_0 || tls.min_protocol_version() == Tls::TLSV1_1) &&
      tls.cipher_suites_size() == 0)
    (at / "minProtocolVersion").Warn("is below 1.2, which needs cipherSuites of that age to work");
  if (tls.max_protocol_version() != Tls::TLS_AUTO &&
      tls.max_protocol_version() < tls.min_protocol_version())
    (at / "maxProtocolVersion").Error("is below minProtocolVersion");
  std::set<std::string> seen;
  for (int i = 0; i < tls.cipher_suites_size(); ++i) {
    const std::string& cipher = tls.cipher_suites(i);
    if (!Ciphers().contains(cipher) && cipher != "ALL")
      (at / "cipherSuites")[i].Warn(fmt::format("'{}' is not known; it is left out", cipher));
    if (!seen.insert(cipher).second)
      (at / "cipherSuites")[i].Warn(fmt::format("'{}' is given twice", cipher));
  }
}

void CheckSpec(const Meta&, const Gateway& spec, const At& at) {
  if (spec.servers_size() == 0) (at / "servers").Error("is empty");
  std::set<std::string> names;
  for (int i = 0; i < spec.servers_size(); ++i)
    CheckServer(spec.servers(i), names, (at / "servers")[i]);
}

void CheckSpec(const Meta&, const Sidecar& spec, const At& at) {
  if (spec.has_workload_selector()) {
    if (spec.workload_selector().labels().empty())
      (at / "workloadSelector.labels").Error("is empty");
    CheckLabels(spec.workload_selector().labels(), at / "workloadSelector.labels");
  }
  if (spec.ingress_size() == 0 && spec.egress_size() == 0 && !spec.has_outbound_traffic_policy() &&
      !spec.has_inbound_connection_pool())
    at.Error("must set ingress, egress, outboundTrafficPolicy or inboundConnectionPool");
  CheckIngress(spec, at / "ingress");
  CheckEgress(spec, at / "egress");
  if (spec.has_inbound_connection_pool())
    CheckConnectionPool(spec.inbound_connection_pool(), at / "inboundConnectionPool");
  const OutboundTrafficPolicy& policy = spec.outbound_traffic_policy();
  if (policy.has_egress_proxy()) {
    if (policy.mode() != OutboundTrafficPolicy::ALLOW_ANY)
      (at / "outboundTrafficPolicy.egressProxy").Error("needs mode ALLOW_ANY");
    CheckHost(policy.egress_proxy().host(), false, at / "outboundTrafficPolicy.egressProxy.host");
  }
}

}  // namespace isthmus::config::rules
