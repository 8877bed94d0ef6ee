#include "translate/authorization.h"

#include "envoy/config/listener/v3/listener_components.pb.h"
#include "envoy/extensions/filters/http/rbac/v3/rbac.pb.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb.h"
#include "envoy/extensions/filters/network/rbac/v3/rbac.pb.h"
#include "istio/security/v1/authorization_policy.pb.h"
#include "translate/authorization_rule.h"
#include "translate/pack.h"
#include "translate/proxy_class.h"

namespace isthmus::translate {
namespace {

namespace security = istio::security::v1;
namespace rbac = envoy::config::rbac::v3;

constexpr char kDryRun[] = "istio.io/dry-run";

std::string PolicyName(const config::Meta& meta, int rule, bool custom) {
  return "ns[" + meta.ns + "]-policy[" + meta.name + "]-rule[" + std::to_string(rule) + "]" +
         (custom ? "-deny-due-to-bad-CUSTOM-action" : "");
}

rbac::Policy NeverMatches() {
  rbac::Policy policy;
  policy.add_permissions()->mutable_not_rule()->set_any(true);
  policy.add_principals()->mutable_not_id()->set_any(true);
  return policy;
}

/// The rules of several policies of one action. `dry_run` picks those that only report.
rbac::RBAC WriteRules(const MeshSettings& mesh, const WorkloadAuthorization::List& policies,
                      rbac::RBAC::Action action, bool tcp, bool custom, bool dry_run, bool* any) {
  rbac::RBAC rules;
  rules.set_action(action);
  *any = false;
  for (const auto& object : policies) {
    auto annotation = object->meta.annotations.find(kDryRun);
    const bool reports =
        annotation != object->meta.annotations.end() && annotation->second == "true";
    if (reports != dry_run) continue;
    *any = true;
    auto& map = *rules.mutable_policies();
    if (object->spec.rules().empty()) map[PolicyName(object->meta, 0, custom)] = NeverMatches();
    for (int i = 0; i < object->spec.rules_size(); ++i) {
      rbac::Policy policy;
      const RuleContext context{mesh, object->meta.ns, tcp, action == rbac::RBAC::ALLOW};
      if (WriteRule(context, object->spec.rules(i), &policy))
        map[PolicyName(object->meta, i, custom)] = policy;
    }
  }
  return rules;
}

/// Fills an HTTP or network RBAC filter; false when there is nothing to enforce or report.
template <typename Filter>
bool WriteFilter(const MeshSettings& mesh, const WorkloadAuthorization::List& policies,
                 rbac::RBAC::Action action, bool tcp, bool custom, Filter* filter) {
  bool enforces = false;
  bool reports = false;
  rbac::RBAC rules = WriteRules(mesh, policies, action, tcp, custom, false, &enforces);
  rbac::RBAC shadow = WriteRules(mesh, policies, action, tcp, custom, true, &reports);
  if (enforces) *filter->mutable_rules() = std::move(rules);
  if (reports) {
    *filter->mutable_shadow_rules() = std::move(shadow);
    filter->set_shadow_rules_stat_prefix(action == rbac::RBAC::ALLOW ? "istio_dry_run_allow_"
                                                                     : "istio_dry_run_deny_");
  }
  return enforces || reports;
}

/// Calls `add(policies, action, custom)` for each step of the decision.
template <typename Add>
void ForEachStep(const WorkloadAuthorization& policies, const Add& add) {
  if (!policies.custom.empty()) add(policies.custom, rbac::RBAC::DENY, true);
  if (!policies.audit.empty()) add(policies.audit, rbac::RBAC::LOG, false);
  if (!policies.deny.empty()) add(policies.deny, rbac::RBAC::DENY, false);
  if (!policies.allow.empty()) add(policies.allow, rbac::RBAC::ALLOW, false);
}

}  // namespace

WorkloadAuthorization ByAction(const AuthorizationIndex::List& policies) {
  WorkloadAuthorization result;
  for (const auto& object : policies) {
    switch (object->spec.action()) {
      case security::AuthorizationPolicy::ALLOW:
        result.allow.push_back(object);
        break;
      case security::AuthorizationPolicy::DENY:
        result.deny.push_back(object);
        break;
      case security::AuthorizationPolicy::AUDIT:
        result.audit.push_back(object);
        break;
      default:
        result.custom.push_back(object);
    }
  }
  return result;
}

std::vector<std::string> HttpAuthorization(const MeshSettings& mesh,
                                           const WorkloadAuthorization& policies) {
  std::vector<std::string> filters;
  ForEachStep(policies, [&](const auto& list, rbac::RBAC::Action action, bool custom) {
    envoy::extensions::filters::http::rbac::v3::RBAC config;
    if (!WriteFilter(mesh, list, action, false, custom, &config)) return;
    envoy::extensions::filters::network::http_connection_manager::v3::HttpFilter filter;
    filter.set_name("envoy.filters.http.rbac");
    Pack(config, filter.mutable_typed_config());
    filters.push_back(Serialize(filter));
  });
  return filters;
}

std::vector<std::string> TcpAuthorization(const MeshSettings& mesh,
                                          const WorkloadAuthorization& policies) {
  std::vector<std::string> filters;
  ForEachStep(policies, [&](const auto& list, rbac::RBAC::Action action, bool custom) {
    envoy::extensions::filters::network::rbac::v3::RBAC config;
    config.set_stat_prefix("tcp.");
    if (!WriteFilter(mesh, list, action, true, custom, &config)) return;
    envoy::config::listener::v3::Filter filter;
    filter.set_name("envoy.filters.network.rbac");
    Pack(config, filter.mutable_typed_config());
    filters.push_back(Serialize(filter));
  });
  return filters;
}

}  // namespace isthmus::translate
