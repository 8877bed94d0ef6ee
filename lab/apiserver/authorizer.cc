#include "lab/apiserver/authorizer.h"

#include <algorithm>

#include "kubeapi/meta.h"
#include "kubeapi/selector.h"

namespace isthmus::lab::apiserver {
namespace {

using kubeapi::Find;
using kubeapi::StringAt;
using kubeapi::StringsAt;

constexpr char kGroup[] = ".rbac.authorization.k8s.io";

std::vector<PolicyRule> ParseRules(const Json& role) {
  std::vector<PolicyRule> rules;
  if (const Json* list = Find(role, {"rules"}); list && list->is_array())
    for (const Json& each : *list)
      rules.push_back({StringsAt(each, {"verbs"}), StringsAt(each, {"apiGroups"}),
                       StringsAt(each, {"resources"}), StringsAt(each, {"resourceNames"}),
                       StringsAt(each, {"nonResourceURLs"})});
  return rules;
}

bool UrlMatches(const std::string& pattern, const std::string& path) {
  if (pattern == "*" || pattern == path) return true;
  return pattern.ends_with("*") && path.starts_with(pattern.substr(0, pattern.size() - 1));
}

}  // namespace

bool PolicyRule::Allows(const RequestInfo& info) const {
  if (!NamesOrAll(verbs, info.verb)) return false;
  if (!info.resource_request)
    return std::any_of(urls.begin(), urls.end(),
                       [&](const std::string& url) { return UrlMatches(url, info.path); });
  if (!NamesOrAll(groups, info.group)) return false;
  const std::string full =
      info.subresource.empty() ? info.resource : info.resource + "/" + info.subresource;
  const bool fits = std::any_of(resources.begin(), resources.end(), [&](const std::string& each) {
    return each == "*" || each == full ||
           (!info.subresource.empty() && each == "*/" + info.subresource);
  });
  if (!fits) return false;
  return names.empty() || std::find(names.begin(), names.end(), info.name) != names.end();
}

Authorizer::Authorizer(Store& store) : store_(store) {
  subscription_ = store_.Observe([this](const StoreEvent& event) {
    if (event.key.resource.ends_with(kGroup)) stale_ = true;
  });
}

void Authorizer::Load() {
  stale_ = false;
  by_subject_.clear();
  using Rules = std::shared_ptr<const std::vector<PolicyRule>>;
  std::map<std::string, Rules> roles;  // "name" of cluster roles, "ns/name" of roles
  std::map<std::string, Json> labels;
  std::vector<std::pair<std::string, Json>> aggregates;
  store_.List(std::string("clusterroles") + kGroup, "", std::nullopt,
              [&](const ObjectKey& key, std::string_view text) {
                const Json role = Json::parse(text, nullptr, false);
                roles[key.name] = std::make_shared<const std::vector<PolicyRule>>(ParseRules(role));
                if (const Json* own = Find(role, {"metadata", "labels"})) labels[key.name] = *own;
                if (const Json* selectors = Find(role, {"aggregationRule", "clusterRoleSelectors"}))
                  aggregates.emplace_back(key.name, *selectors);
                return true;
              });
  const std::map<std::string, Rules> plain = roles;
  for (const auto& [name, selectors] : aggregates) {
    std::vector<PolicyRule> sum = *roles[name];
    if (!selectors.is_array()) continue;
    for (const Json& each : selectors) {
      auto selector = kubeapi::LabelSelector::FromObject(each);
      if (!selector.ok()) continue;
      for (const auto& [other, own] : labels)
        if (other != name && selector->Matches(own))
          for (const PolicyRule& rule : *plain.at(other)) sum.push_back(rule);
    }
    roles[name] = std::make_shared<const std::vector<PolicyRule>>(std::move(sum));
  }
  store_.List(std::string("roles") + kGroup, "", std::nullopt,
              [&](const ObjectKey& key, std::string_view text) {
                roles[key.ns + "/" + key.name] = std::make_shared<const std::vector<PolicyRule>>(
                    ParseRules(Json::parse(text, nullptr, false)));
                return true;
              });
  for (const char* plural : {"clusterrolebindings", "rolebindings"}) {
    store_.List(std::string(plural) + kGroup, "", std::nullopt,
                [&](const ObjectKey& key, std::string_view text) {
                  const Json binding = Json::parse(text, nullptr, false);
                  const std::string role = StringAt(binding, {"roleRef", "name"});
                  const bool local = StringAt(binding, {"roleRef", "kind"}) == "Role";
                  auto rules = roles.find(local ? key.ns + "/" + role : role);
                  const Json* subjects = Find(binding, {"subjects"});
                  if (rules == roles.end() || !subjects || !subjects->is_array()) return true;
                  for (const Json& subject : *subjects) {
                    const std::string kind = StringAt(subject, {"kind"}),
                                      name = StringAt(subject, {"name"});
                    std::string ns = StringAt(subject, {"namespace"});
                    if (ns.empty()) ns = key.ns;
                    const std::string index = kind == "Group" ? "g:" + name
                                              : kind == "User"
                                                  ? "u:" + name
                                                  : "u:system:serviceaccount:" + ns + ":" + name;
                    const bool account = kind == "ServiceAccount";
                    by_subject_[index].push_back(
                        {key.ns,
                         fmt::format("{} \"{}\" of {} \"{}\" to {} \"{}\"",
                                     key.ns.empty() ? "ClusterRoleBinding" : "RoleBinding",
                                     key.ns.empty() ? key.name : key.name + "/" + key.ns,
                                     local ? "Role" : "ClusterRole", role, kind,
                                     account ? name + "/" + ns : name),
                         rules->second});
                  }
                  return true;
                });
  }
}

void Authorizer::Visit(const User& user, const std::string& ns,
                       const std::function<bool(const Grant&)>& visit) {
  if (stale_) Load();
  auto each = [&](const std::string& index) {
    auto it = by_subject_.find(index);
    if (it == by_subject_.end()) return true;
    for (const Grant& grant : it->second)
      if ((grant.ns.empty() || grant.ns == ns) && !visit(grant)) return false;
    return true;
  };
  if (!each("u:" + user.name)) return;
  for (const std::string& group : user.groups)
    if (!each("g:" + group)) return;
}

bool Authorizer::Allows(const User& user, const RequestInfo& info, std::string* reason) {
  if (user.InGroup("system:masters")) return true;
  bool allowed = false;
  // A namespace object is reached by rights in that namespace too.
  const std::string ns =
      info.resource == "namespaces" && info.group.empty() && info.ns.empty() ? info.name : info.ns;
  Visit(user, ns, [&](const Grant& grant) {
    for (const PolicyRule& rule : *grant.rules) {
      if (!grant.ns.empty() && !info.resource_request) continue;
      if (!rule.Allows(info)) continue;
      allowed = true;
      if (reason) *reason = "RBAC: allowed by " + grant.binding;
      return false;
    }
    return true;
  });
  return allowed;
}

std::vector<PolicyRule> Authorizer::RulesFor(const User& user, const std::string& ns) {
  std::vector<PolicyRule> rules;
  if (user.InGroup("system:masters")) {
    rules.push_back({{"*"}, {"*"}, {"*"}, {}, {}});
    rules.push_back({{"*"}, {}, {}, {}, {"*"}});
    return rules;
  }
  Visit(user, ns, [&](const Grant& grant) {
    rules.insert(rules.end(), grant.rules->begin(), grant.rules->end());
    return true;
  });
  return rules;
}

kubeapi::ApiError ForbiddenFor(const User& user, const RequestInfo& info) {
  if (!info.resource_request) {
    kubeapi::ApiError error;
    error.code = 403;
    error.reason = "Forbidden";
    error.message = fmt::format("forbidden: User \"{}\" cannot {} path \"{}\"", user.name,
                                info.verb, info.path);
    return error;
  }
  const std::string resource =
      info.subresource.empty() ? info.resource : info.resource + "/" + info.subresource;
  std::string why = fmt::format("User \"{}\" cannot {} resource \"{}\" in API group \"{}\"",
                                user.name, info.verb, resource, info.group);
  why +=
      info.ns.empty() ? " at the cluster scope" : fmt::format(" in the namespace \"{}\"", info.ns);
  kubeapi::Resource about{info.group, info.version, info.resource, "", !info.ns.empty()};
  return kubeapi::Forbidden(about, info.name, why);
}

}  // namespace isthmus::lab::apiserver
