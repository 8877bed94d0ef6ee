#include "translate/request_authentication.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <set>

#include "base/strings.h"
#include "envoy/config/cluster/v3/cluster.pb.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb.h"
#include "istio/networking/v1/destination_rule.pb.h"
#include "istio/security/v1/request_authentication.pb.h"
#include "translate/convert.h"
#include "translate/names.h"
#include "translate/pack.h"
#include "translate/proxy_class.h"
#include "translate/tls.h"

// The generated class has a method of a name that is a keyword by now. All that the header includes
// is here already.
#define requires requires_
#include "envoy/extensions/filters/http/jwt_authn/v3/config.pb.h"
#undef requires

namespace isthmus::translate {
namespace {

namespace jwt = envoy::extensions::filters::http::jwt_authn::v3;
using envoy::config::cluster::v3::Cluster;
using istio::security::v1::JWTRule;

/// A key whose other half was thrown away: Envoy wants some key, and no token fits this one.
constexpr char kNoKeys[] =
    R"({"keys":[{"kty":"RSA","e":"AQAB","kid":"nobody","n":"oo1NxX3liDRPQlDSO-s3GVvjFO3i_Geyu65_jM9Tp3wufQihAbGwgoH-45ZXcDrSRI5SiHA2iT8q7XHz23kMpN_oOM7Na21gNNyTwjzK5aBLind4iZqi1yf8lisjpEXQAH-kBzccrvh2BeTtNWt6fuVydM8_ms845ZJaaA_GNs2xVunk4VpaMmP8_maUl97XLmAzkRICMofTmMxy_D4ZCekMCkwfyRj-ZfUWS8EEiJ61jcG2eniglIz23gD5TnlK7WNV8hRx--6O5KxP5xCrIcH44JjHsnIy8hUvL5MdHeKRQ-WcXtyq2HYr7r5-yfPI7wpEnoAavhQaCNfb8jHSWQ"}]})";

/// Where the keys of an issuer are, as its rule says.
struct KeyServer {
  bool tls = false;
  std::string host;
  int port = 0;
  std::string cluster;
  bool own_cluster = false;  ///< No service of the mesh.
};

/// Nothing when the URI makes no sense.
std::optional<KeyServer> ParseServer(const model::Snapshot& snapshot, const std::string& uri) {
  std::string_view rest = uri;
  KeyServer server;
  if (base::ConsumePrefix(rest, "https://")) {
    server.tls = true;
  } else if (!base::ConsumePrefix(rest, "http://")) {
    return std::nullopt;
  }
  std::string_view authority = base::Cut(rest, "/").first;
  server.port = server.tls ? 443 : 80;
  if (const size_t colon = authority.rfind(':');
      colon != authority.npos && !authority.ends_with(']')) {
    const auto port = base::ParseInt(authority.substr(colon + 1));
    if (!port.ok() || *port <= 0 || *port > 65535) return std::nullopt;
    server.port = static_cast<int>(*port);
    authority = authority.substr(0, colon);
  }
  if (authority.starts_with('[') && authority.ends_with(']'))
    authority = authority.substr(1, authority.size() - 2);
  server.host = authority;
  if (server.host.empty()) return std::nullopt;
  // "keys.ns.svc" is what people write of "keys.ns.svc.cluster.local".
  for (const std::string& name : {server.host, server.host + "." + snapshot.domain_suffix}) {
    if (snapshot.services == nullptr) break;
    auto found = snapshot.services->find(name);
    if (found == snapshot.services->end() ||
        found->second.front()->FindPort(server.port) == nullptr)
      continue;
    server.cluster = OutboundName(server.port, "", name);
    return server;
  }
  server.cluster =
      "jwks|" + std::to_string(server.port) + "|" + server.host + (server.tls ? "|tls" : "|plain");
  server.own_cluster = true;
  return server;
}

bool HasKeys(const std::string& jwks) {
  google::protobuf::Struct parsed;
  if (!google::protobuf::util::JsonStringToMessage(jwks, &parsed).ok()) return false;
  auto keys = parsed.fields().find("keys");
  return keys != parsed.fields().end() && keys->second.list_value().values_size() > 0;
}

void WriteKeys(const model::Snapshot& snapshot, const JWTRule& rule, jwt::JwtProvider* provider) {
  if (!rule.jwks().empty()) {
    provider->mutable_local_jwks()->set_inline_string(HasKeys(rule.jwks()) ? rule.jwks() : kNoKeys);
    return;
  }
  const auto server = ParseServer(snapshot, rule.jwks_uri());
  if (!server.has_value()) {
    provider->mutable_local_jwks()->set_inline_string(kNoKeys);
    return;
  }
  auto* remote = provider->mutable_remote_jwks();
  remote->mutable_http_uri()->set_uri(rule.jwks_uri());
  remote->mutable_http_uri()->set_cluster(server->cluster);
  auto* timeout = remote->mutable_http_uri()->mutable_timeout();
  timeout->set_seconds(5);
  if (Positive(rule.timeout())) *timeout = rule.timeout();
  remote->mutable_cache_duration()->set_seconds(300);
  // Keys are there before the first request; a server that is down must not keep the listener from
  // opening.
  remote->mutable_async_fetch()->set_fast_listener(true);
}

jwt::JwtProvider ProviderOf(const model::Snapshot& snapshot, const JWTRule& rule) {
  jwt::JwtProvider provider;
  provider.set_issuer(rule.issuer());
  for (const std::string& audience : rule.audiences()) provider.add_audiences(audience);
  for (const auto& header : rule.from_headers()) {
    auto* from = provider.add_from_headers();
    from->set_name(header.name());
    from->set_value_prefix(header.prefix());
  }
  for (const std::string& parameter : rule.from_params()) provider.add_from_params(parameter);
  for (const std::string& cookie : rule.from_cookies()) provider.add_from_cookies(cookie);
  provider.set_forward(rule.forward_original_token());
  provider.set_forward_payload_header(rule.output_payload_to_header());
  for (const auto& claim : rule.output_claim_to_headers()) {
    auto* header = provider.add_claim_to_headers();
    header->set_header_name(claim.header());
    header->set_claim_name(claim.claim());
  }
  provider.set_payload_in_metadata("payload");
  std::set<std::string> lists = {"permission", "scope"};
  lists.insert(rule.space_delimited_claims().begin(), rule.space_delimited_claims().end());
  for (const std::string& claim : lists)
    provider.mutable_normalize_payload_in_metadata()->add_space_delimited_claims(claim);
  WriteKeys(snapshot, rule, &provider);
  return provider;
}

/// Each token must be right; a request without any passes, unless an AuthorizationPolicy says
/// otherwise.
void WriteRequirement(int providers, jwt::JwtRequirement* requirement) {
  auto name = [](int i) { return "origins-" + std::to_string(i); };
  auto* any = requirement->mutable_requires_any();
  for (int i = 0; i < providers; ++i) any->add_requirements()->set_provider_name(name(i));
  if (providers == 1) {
    any->add_requirements()->mutable_allow_missing();
    return;
  }
  auto* all = any->add_requirements()->mutable_requires_all();
  for (int i = 0; i < providers; ++i) {
    auto* one = all->add_requirements()->mutable_requires_any();
    one->add_requirements()->set_provider_name(name(i));
    one->add_requirements()->mutable_allow_missing();
  }
}

Cluster KeyCluster(const MeshSettings& mesh, const KeyServer& server, bool ipv4) {
  Cluster cluster;
  cluster.set_name(server.cluster);
  cluster.set_type(IsIpAddress(server.host) ? Cluster::STATIC : Cluster::STRICT_DNS);
  cluster.set_dns_lookup_family(ipv4 ? Cluster::V4_PREFERRED : Cluster::V6_ONLY);
  SetDuration(mesh.connect_timeout, cluster.mutable_connect_timeout());
  cluster.mutable_load_assignment()->set_cluster_name(server.cluster);
  auto* socket = cluster.mutable_load_assignment()
                     ->add_endpoints()
                     ->add_lb_endpoints()
                     ->mutable_endpoint()
                     ->mutable_address()
                     ->mutable_socket_address();
  socket->set_address(server.host);
  socket->set_port_value(static_cast<uint32_t>(server.port));
  if (server.tls) {
    istio::networking::v1::ClientTLSSettings settings;
    settings.set_mode(istio::networking::v1::ClientTLSSettings::SIMPLE);
    if (!IsIpAddress(server.host)) settings.set_sni(server.host);
    WriteUpstreamTls(settings, {server.host}, false, cluster.mutable_transport_socket());
  }
  return cluster;
}

}  // namespace

TokenChecks BuildTokenChecks(const MeshSettings& mesh, const model::Snapshot& snapshot,
                             const RequestAuthentications& policies, bool ipv4, bool router) {
  std::vector<const JWTRule*> rules;
  for (const auto& object : policies)
    for (const JWTRule& rule : object->spec.jwt_rules()) rules.push_back(&rule);
  TokenChecks checks;
  if (rules.empty()) return checks;
  std::stable_sort(rules.begin(), rules.end(),
                   [](const JWTRule* a, const JWTRule* b) { return a->issuer() < b->issuer(); });
  jwt::JwtAuthentication config;
  std::map<std::string, KeyServer> servers;
  for (size_t i = 0; i < rules.size(); ++i) {
    (*config.mutable_providers())["origins-" + std::to_string(i)] = ProviderOf(snapshot, *rules[i]);
    if (!rules[i]->jwks().empty()) continue;
    const auto server = ParseServer(snapshot, rules[i]->jwks_uri());
    if (server.has_value() && server->own_cluster) servers[server->cluster] = *server;
  }
  auto* rule = config.add_rules();
  rule->mutable_match()->set_prefix("/");
  WriteRequirement(static_cast<int>(rules.size()), rule->mutable_requires());
  config.set_bypass_cors_preflight(true);
  envoy::extensions::filters::network::http_connection_manager::v3::HttpFilter filter;
  filter.set_name("envoy.filters.http.jwt_authn");
  // Routes of gateways may depend on claims.
  if (router)
    for (auto& [name, provider] : *config.mutable_providers()) provider.set_clear_route_cache(true);
  Pack(config, filter.mutable_typed_config());
  checks.filter = Serialize(filter);
  for (const auto& [name, server] : servers)
    checks.clusters.push_back(MakeResource(name, kClusterType, KeyCluster(mesh, server, ipv4)));
  return checks;
}

}  // namespace isthmus::translate
