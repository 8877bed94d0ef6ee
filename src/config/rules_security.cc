#include <algorithm>
#include <array>

#include "base/strings.h"
#include "config/rules.h"
#include "istio/security/v1/authorization_policy.pb.h"
#include "istio/security/v1/peer_authentication.pb.h"
#include "istio/security/v1/request_authentication.pb.h"
#include "kubeapi/json.h"

namespace isthmus::config::rules {
namespace {

using namespace istio::security::v1;  // NOLINT: this file is about these messages.

void CheckNotEmpty(const Strings& values, const At& at) {
  for (int i = 0; i < values.size(); ++i)
    if (values.Get(i).empty()) at[i].Error("is empty");
}

void CheckAddresses(const Strings& values, const At& at) {
  for (int i = 0; i < values.size(); ++i)
    if (!IsAddressOrRange(values.Get(i)))
      at[i].Error(fmt::format("'{}' is not an address or CIDR", values.Get(i)));
}

void CheckServiceAccounts(const Source& source, const At& at) {
  auto check = [&](const Strings& accounts, const At& where) {
    if (accounts.size() > 16) where.Error("has more than 16 items");
    for (int i = 0; i < accounts.size(); ++i) {
      const std::string& account = accounts.Get(i);
      if (account.empty() || account.size() > 320 || account.find('*') != std::string::npos ||
          std::count(account.begin(), account.end(), '/') > 1)
        where[i].Error(fmt::format("'{}' is not <account> or <namespace>/<account>", account));
    }
  };
  check(source.service_accounts(), at / "serviceAccounts");
  check(source.not_service_accounts(), at / "notServiceAccounts");
  const bool accounts = source.service_accounts_size() + source.not_service_accounts_size() > 0;
  if (accounts && source.principals_size() + source.not_principals_size() +
                          source.namespaces_size() + source.not_namespaces_size() >
                      0)
    (at / "serviceAccounts").Error("must not be set together with principals or namespaces");
}

void CheckSource(const Source& source, bool custom, const At& at) {
  if (source.ByteSizeLong() == 0) return at.Error("is empty");
  struct Field {
    const Strings* values;
    const char* name;
    bool identity;
  };
  const std::array<Field, 6> texts = {
      {{&source.principals(), "principals", true},
       {&source.not_principals(), "notPrincipals", true},
       {&source.request_principals(), "requestPrincipals", true},
       {&source.not_request_principals(), "notRequestPrincipals", true},
       {&source.namespaces(), "namespaces", true},
       {&source.not_namespaces(), "notNamespaces", true}}};
  for (const Field& field : texts) {
    CheckNotEmpty(*field.values, at / field.name);
    if (custom && !field.values->empty()) (at / field.name).Error("is not for action CUSTOM");
  }
  if (custom && source.service_accounts_size() + source.not_service_accounts_size() > 0)
    (at / "serviceAccounts").Error("is not for action CUSTOM");
  CheckServiceAccounts(source, at);
  CheckAddresses(source.ip_blocks(), at / "ipBlocks");
  CheckAddresses(source.not_ip_blocks(), at / "notIpBlocks");
  CheckAddresses(source.remote_ip_blocks(), at / "remoteIpBlocks");
  CheckAddresses(source.not_remote_ip_blocks(), at / "notRemoteIpBlocks");
}

void CheckPath(const std::string& path, const At& at) {
  if (path.find('{') == std::string::npos && path.find('}') == std::string::npos) return;
  const auto parts = base::Split(path, '/');
  for (size_t i = 0; i < parts.size(); ++i) {
    const bool brace = parts[i].find_first_of("{}") != std::string_view::npos;
    if (brace && parts[i] != "{*}" && parts[i] != "{**}")
      at.Error(fmt::format("'{}': a template must be a whole segment, {{*}} or {{**}}", path));
    if (parts[i] == "{**}" && i + 1 != parts.size())
      at.Error(fmt::format("'{}': {{**}} must be the last segment", path));
    if (!brace && parts[i].find('*') != std::string_view::npos)
      at.Error(fmt::format("'{}': * and templates can not be mixed", path));
  }
}

void CheckOperation(const Operation& operation, const At& at) {
  if (operation.ByteSizeLong() == 0) return at.Error("is empty");
  CheckNotEmpty(operation.hosts(), at / "hosts");
  CheckNotEmpty(operation.not_hosts(), at / "notHosts");
  CheckNotEmpty(operation.methods(), at / "methods");
  CheckNotEmpty(operation.not_methods(), at / "notMethods");
  CheckNotEmpty(operation.paths(), at / "paths");
  CheckNotEmpty(operation.not_paths(), at / "notPaths");
  for (int i = 0; i < operation.paths_size(); ++i) CheckPath(operation.paths(i), (at / "paths")[i]);
  for (int i = 0; i < operation.not_paths_size(); ++i)
    CheckPath(operation.not_paths(i), (at / "notPaths")[i]);
  auto ports = [](const Strings& values, const At& where) {
    for (int i = 0; i < values.size(); ++i) {
      const auto port = base::ParseInt(values.Get(i));
      if (!port.ok() || *port < 1 || *port > 65535)
        where[i].Error(fmt::format("'{}' is not a port between 1 and 65535", values.Get(i)));
    }
  };
  ports(operation.ports(), at / "ports");
  ports(operation.not_ports(), at / "notPorts");
}

bool IsKnownKey(const std::string& key) {
  static constexpr std::array<std::string_view, 11> kKeys = {"source.ip",
                                                             "remote.ip",
                                                             "source.namespace",
                                                             "source.principal",
                                                             "source.serviceAccount",
                                                             "request.auth.principal",
                                                             "request.auth.audiences",
                                                             "request.auth.presenter",
                                                             "destination.ip",
                                                             "destination.port",
                                                             "connection.sni"};
  if (std::find(kKeys.begin(), kKeys.end(), key) != kKeys.end()) return true;
  for (const std::string_view prefix :
       {"request.headers[", "request.auth.claims[", "experimental.envoy.filters."})
    if (key.starts_with(prefix) && key.size() > prefix.size() + 1) return true;
  return false;
}

void CheckCondition(const Condition& condition, bool custom, const At& at) {
  const std::string& key = condition.key();
  if (key.empty())
    (at / "key").Error("is missing");
  else if (!IsKnownKey(key))
    (at / "key").Error(fmt::format("'{}' is not an attribute that can be asked for", key));
  if (custom && (key.starts_with("request.auth.") || key == "source.namespace" ||
                 key == "source.principal" || key == "source.serviceAccount"))
    (at / "key").Error(fmt::format("'{}' is not for action CUSTOM", key));
  if (condition.values().empty() && condition.not_values().empty())
    at.Error("must set values or notValues");
  CheckNotEmpty(condition.values(), at / "values");
  CheckNotEmpty(condition.not_values(), at / "notValues");
  auto check = [&](const Strings& values, const At& where) {
    if (key == "source.ip" || key == "remote.ip" || key == "destination.ip")
      CheckAddresses(values, where);
    if (key != "destination.port") return;
    for (int i = 0; i < values.size(); ++i) {
      const auto port = base::ParseInt(values.Get(i));
      if (!port.ok() || *port < 1 || *port > 65535)
        where[i].Error(fmt::format("'{}' is not a port", values.Get(i)));
    }
  };
  check(condition.values(), at / "values");
  check(condition.not_values(), at / "notValues");
}

/// Whether a rule asks for something that only HTTP requests have.
bool AsksForHttp(const Rule& rule) {
  for (const auto& from : rule.from())
    if (from.source().request_principals_size() + from.source().not_request_principals_size() +
            from.source().remote_ip_blocks_size() + from.source().not_remote_ip_blocks_size() >
        0)
      return true;
  for (const auto& to : rule.to())
    if (to.operation().hosts_size() + to.operation().not_hosts_size() +
            to.operation().methods_size() + to.operation().not_methods_size() +
            to.operation().paths_size() + to.operation().not_paths_size() >
        0)
      return true;
  for (const auto& when : rule.when())
    if (when.key().starts_with("request.") || when.key() == "remote.ip") return true;
  return false;
}

void CheckRule(const Rule& rule, const AuthorizationPolicy& spec, const At& at) {
  const bool custom = spec.action() == AuthorizationPolicy::CUSTOM;
  for (int i = 0; i < rule.from_size(); ++i) {
    if (!rule.from(i).has_source())
      ((at / "from")[i] / "source").Error("is missing");
    else
      CheckSource(rule.from(i).source(), custom, (at / "from")[i] / "source");
  }
  for (int i = 0; i < rule.to_size(); ++i) {
    if (!rule.to(i).has_operation())
      ((at / "to")[i] / "operation").Error("is missing");
    else
      CheckOperation(rule.to(i).operation(), (at / "to")[i] / "operation");
  }
  for (int i = 0; i < rule.when_size(); ++i) CheckCondition(rule.when(i), custom, (at / "when")[i]);
  if (spec.action() == AuthorizationPolicy::DENY && AsksForHttp(rule))
    at.Warn("asks for attributes of HTTP: on ports with other protocols all traffic is denied");
}

bool IsHttpUrl(const std::string& url) {
  return (url.starts_with("http://") && url.size() > 7) ||
         (url.starts_with("https://") && url.size() > 8);
}

void CheckJwks(const std::string& jwks, const At& at) {
  const auto parsed = kubeapi::ParseJson(jwks);
  const kubeapi::Json* keys = parsed.ok() ? kubeapi::Find(*parsed, {"keys"}) : nullptr;
  if (keys == nullptr || !keys->is_array() || keys->empty())
    return at.Error("is not a JSON Web Key Set");
  for (const kubeapi::Json& key : *keys) {
    if (kubeapi::StringAt(key, {"kty"}).empty()) at.Error("has a key without kty");
    if (kubeapi::Find(key, {"d"}) != nullptr || kubeapi::StringAt(key, {"kty"}) == "oct")
      at.Warn("holds a private key, which every proxy will get to see");
  }
}

void CheckJwtRule(const JWTRule& rule, const At& at) {
  if (rule.issuer().empty() && rule.jwks_uri().empty()) at.Error("must set issuer or jwksUri");
  CheckNotEmpty(rule.audiences(), at / "audiences");
  if (!rule.jwks_uri().empty() && !IsHttpUrl(rule.jwks_uri()))
    (at / "jwksUri").Error(fmt::format("'{}' is not an http or https URL", rule.jwks_uri()));
  if (!rule.jwks().empty()) CheckJwks(rule.jwks(), at / "jwks");
  for (int i = 0; i < rule.from_headers_size(); ++i)
    if (rule.from_headers(i).name().empty()) ((at / "fromHeaders")[i] / "name").Error("is missing");
  CheckNotEmpty(rule.from_params(), at / "fromParams");
  CheckNotEmpty(rule.from_cookies(), at / "fromCookies");
  for (int i = 0; i < rule.output_claim_to_headers_size(); ++i)
    if (rule.output_claim_to_headers(i).header().empty() ||
        rule.output_claim_to_headers(i).claim().empty())
      (at / "outputClaimToHeaders")[i].Error("must set header and claim");
  if (rule.has_timeout()) CheckDuration(rule.timeout(), at / "timeout");
}

}  // namespace

void CheckSpec(const Meta&, const PeerAuthentication& spec, const At& at) {
  CheckPolicySelector(spec.has_selector() ? &spec.selector().match_labels() : nullptr,
                      at / "selector");
  if (spec.port_level_mtls().empty()) return;
  if (spec.selector().match_labels().empty())
    (at / "portLevelMtls").Error("needs a selector with labels");
  for (const auto& [port, mtls] : spec.port_level_mtls())
    CheckPortNumber(port, at / "portLevelMtls");
}

void CheckSpec(const Meta&, const RequestAuthentication& spec, const At& at) {
  CheckAttachment(spec, at);
  for (int i = 0; i < spec.jwt_rules_size(); ++i)
    CheckJwtRule(spec.jwt_rules(i), (at / "jwtRules")[i]);
}

void CheckSpec(const Meta&, const AuthorizationPolicy& spec, const At& at) {
  CheckAttachment(spec, at);
  if (spec.action() == AuthorizationPolicy::CUSTOM) {
    if (spec.rules_size() == 0) (at / "rules").Error("is empty, which action CUSTOM must not be");
    if (spec.provider().name().empty())
      (at / "provider.name").Error("is missing for action CUSTOM");
  } else if (spec.has_provider()) {
    (at / "provider").Error("is only for action CUSTOM");
  }
  if (spec.action() == AuthorizationPolicy::DENY && spec.rules_size() == 0)
    (at / "rules").Error("is empty: a DENY without rules would never match");
  for (int i = 0; i < spec.rules_size(); ++i) CheckRule(spec.rules(i), spec, (at / "rules")[i]);
}

}  // namespace isthmus::config::rules
