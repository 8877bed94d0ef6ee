#include "translate/external_authorization.h"

#include "base/strings.h"
#include "envoy/extensions/filters/http/ext_authz/v3/ext_authz.pb.h"
#include "envoy/extensions/filters/http/rbac/v3/rbac.pb.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb.h"
#include "istio/mesh/v1alpha1/config.pb.h"
#include "istio/security/v1/authorization_policy.pb.h"
#include "translate/authorization_rule.h"
#include "translate/convert.h"
#include "translate/names.h"
#include "translate/pack.h"

namespace isthmus::translate {
namespace {

namespace ext_authz = envoy::extensions::filters::http::ext_authz::v3;
namespace rbac = envoy::config::rbac::v3;
using Provider = istio::mesh::v1alpha1::MeshConfig::ExtensionProvider;
using envoy::extensions::filters::network::http_connection_manager::v3::HttpFilter;
using envoy::type::matcher::v3::ListStringMatcher;

constexpr char kRulesFilter[] = "envoy.filters.http.rbac";
constexpr char kShadowPrefix[] = "istio_ext_authz_";
constexpr int kDefaultTimeout = 600;

const Provider* FindProvider(const MeshSettings& mesh, const std::string& name) {
  if (mesh.source == nullptr) return nullptr;
  for (const Provider& provider : mesh.source->extension_providers())
    if (provider.name() == name) return &provider;
  return nullptr;
}

std::string RulePrefix(const std::string& provider) { return "istio-ext-authz-" + provider; }

template <typename Names>
void AddHeaders(const Names& names, ListStringMatcher* list) {
  for (const std::string& name : names) {
    auto* pattern = list->add_patterns();
    pattern->set_ignore_case(true);
    if (name == "*") {
      pattern->mutable_safe_regex()->set_regex(".+");
    } else if (name.starts_with('*')) {
      pattern->set_suffix(name.substr(1));
    } else if (name.ends_with('*')) {
      pattern->set_prefix(name.substr(0, name.size() - 1));
    } else {
      pattern->set_exact(name);
    }
  }
}

template <typename From>
void WriteCommon(const From& from, ext_authz::ExtAuthz* config) {
  config->set_failure_mode_allow(from.fail_open());
  if (from.has_clear_route_cache()) config->set_clear_route_cache(from.clear_route_cache().value());
  const auto status = base::ParseInt(from.status_on_error());
  if (status.ok() && *status > 0)
    config->mutable_status_on_error()->set_code(static_cast<envoy::type::v3::StatusCode>(*status));
  if (!from.has_include_request_body_in_check()) return;
  auto* body = config->mutable_with_request_body();
  body->set_max_request_bytes(from.include_request_body_in_check().max_request_bytes());
  body->set_allow_partial_message(from.include_request_body_in_check().allow_partial_message());
  body->set_pack_as_bytes(from.include_request_body_in_check().pack_as_bytes());
}

void WriteTimeout(const google::protobuf::Duration& from, google::protobuf::Duration* to) {
  to->set_seconds(kDefaultTimeout);
  if (Positive(from)) *to = from;
}

void WriteHttp(const Provider::EnvoyExternalAuthorizationHttpProvider& from,
               const std::string& cluster, ext_authz::ExtAuthz* config) {
  WriteCommon(from, config);
  auto* service = config->mutable_http_service();
  const std::string host(from.service().substr(from.service().find('/') + 1));
  service->mutable_server_uri()->set_uri("http://" + host);
  service->mutable_server_uri()->set_cluster(cluster);
  WriteTimeout(from.timeout(), service->mutable_server_uri()->mutable_timeout());
  service->set_path_prefix(from.path_prefix());
  // Envoy refuses empty lists.
  if (from.include_request_headers_in_check_size() > 0)
    AddHeaders(from.include_request_headers_in_check(), config->mutable_allowed_headers());
  // In the order of their names, so that the bytes are the same each time.
  const std::map<std::string, std::string> added(from.include_additional_headers_in_check().begin(),
                                                 from.include_additional_headers_in_check().end());
  for (const auto& [name, value] : added) {
    auto* header = service->mutable_authorization_request()->add_headers_to_add();
    header->set_key(name);
    header->set_value(value);
  }
  if (from.headers_to_upstream_on_allow_size() > 0)
    AddHeaders(from.headers_to_upstream_on_allow(),
               service->mutable_authorization_response()->mutable_allowed_upstream_headers());
  if (from.headers_to_downstream_on_deny_size() > 0)
    AddHeaders(from.headers_to_downstream_on_deny(),
               service->mutable_authorization_response()->mutable_allowed_client_headers());
  if (from.headers_to_downstream_on_allow_size() > 0)
    AddHeaders(
        from.headers_to_downstream_on_allow(),
        service->mutable_authorization_response()->mutable_allowed_client_headers_on_success());
}

void WriteGrpc(const Provider::EnvoyExternalAuthorizationGrpcProvider& from,
               const std::string& cluster, ext_authz::ExtAuthz* config) {
  WriteCommon(from, config);
  auto* service = config->mutable_grpc_service();
  service->mutable_envoy_grpc()->set_cluster_name(cluster);
  service->mutable_envoy_grpc()->set_authority(from.service().substr(from.service().find('/') + 1));
  WriteTimeout(from.timeout(), service->mutable_timeout());
}

/// False when the provider cannot be asked.
bool WriteQuestion(const MeshSettings& mesh, const model::Snapshot& snapshot,
                   const std::string& name, ext_authz::ExtAuthz* config) {
  const Provider* provider = FindProvider(mesh, name);
  if (provider == nullptr) return false;
  if (provider->has_envoy_ext_authz_http()) {
    const auto& from = provider->envoy_ext_authz_http();
    const std::string cluster =
        ProviderCluster(snapshot, from.service(), static_cast<int>(from.port()));
    if (cluster.empty()) return false;
    WriteHttp(from, cluster, config);
  } else if (provider->has_envoy_ext_authz_grpc()) {
    const auto& from = provider->envoy_ext_authz_grpc();
    const std::string cluster =
        ProviderCluster(snapshot, from.service(), static_cast<int>(from.port()));
    if (cluster.empty()) return false;
    WriteGrpc(from, cluster, config);
  } else {
    return false;
  }
  config->set_transport_api_version(envoy::config::core::v3::V3);
  auto* enabled = config->mutable_filter_enabled_metadata();
  enabled->set_filter(kRulesFilter);
  enabled->add_path()->set_key(std::string(kShadowPrefix) + "shadow_effective_policy_id");
  enabled->mutable_value()->mutable_string_match()->set_prefix(RulePrefix(name));
  return true;
}

template <typename Config>
std::string MakeFilter(const char* name, const Config& config) {
  HttpFilter filter;
  filter.set_name(name);
  Pack(config, filter.mutable_typed_config());
  return Serialize(filter);
}

}  // namespace

std::string ProviderCluster(const model::Snapshot& snapshot, const std::string& service, int port) {
  const size_t slash = service.find('/');
  const std::string ns = slash == std::string::npos ? "" : service.substr(0, slash);
  const std::string host = slash == std::string::npos ? service : service.substr(slash + 1);
  if (snapshot.services == nullptr) return "";
  auto found = snapshot.services->find(host);
  if (found == snapshot.services->end()) return "";
  for (const auto& one : found->second)
    if ((ns.empty() || one->ns == ns) && one->FindPort(port) != nullptr)
      return OutboundName(port, "", host);
  return "";
}

std::vector<std::string> ExternalAuthorization(const MeshSettings& mesh,
                                               const model::Snapshot& snapshot,
                                               WorkloadAuthorization* authorization) {
  if (authorization->custom.empty()) return {};
  const std::string provider = authorization->custom.front()->spec.provider().name();
  ext_authz::ExtAuthz question;
  if (!WriteQuestion(mesh, snapshot, provider, &question)) return {};
  envoy::extensions::filters::http::rbac::v3::RBAC marks;
  marks.set_shadow_rules_stat_prefix(kShadowPrefix);
  marks.mutable_shadow_rules()->set_action(rbac::RBAC::DENY);
  std::erase_if(authorization->custom, [&](const auto& object) {
    if (object->spec.provider().name() != provider) return false;
    for (int i = 0; i < object->spec.rules_size(); ++i) {
      rbac::Policy policy;
      const RuleContext context{mesh, object->meta.ns, false, false};
      const std::string name = RulePrefix(provider) + "-ns[" + object->meta.ns + "]-policy[" +
                               object->meta.name + "]-rule[" + std::to_string(i) + "]";
      if (WriteRule(context, object->spec.rules(i), &policy))
        (*marks.mutable_shadow_rules()->mutable_policies())[name] = policy;
    }
    return true;
  });
  return {MakeFilter(kRulesFilter, marks), MakeFilter("envoy.filters.http.ext_authz", question)};
}

}  // namespace isthmus::translate
