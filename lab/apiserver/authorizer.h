#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "lab/apiserver/engine.h"

namespace isthmus::lab::apiserver {

/// One line of a Role.
struct PolicyRule {
  std::vector<std::string> verbs, groups, resources, names, urls;
  bool Allows(const RequestInfo& info) const;
};

/// Role-based access control over the Roles and bindings of the store. Members of system:masters
/// may do everything. Lives with the store; the parsed rules are made again after a change of any
/// role or binding.
class Authorizer {
 public:
  explicit Authorizer(Store& store);
  /// `reason` tells which binding allowed it.
  bool Allows(const User& user, const RequestInfo& info, std::string* reason = nullptr);
  /// All rules that hold for a user in a namespace.
  std::vector<PolicyRule> RulesFor(const User& user, const std::string& ns);

 private:
  struct Grant {
    std::string ns;       ///< "" for the whole cluster.
    std::string binding;  ///< `RoleBinding "b/ns" of Role "r" to User "u"`
    std::shared_ptr<const std::vector<PolicyRule>> rules;
  };
  void Load();
  void Visit(const User& user, const std::string& ns,
             const std::function<bool(const Grant&)>& visit);

  Store& store_;
  bool stale_ = true;
  std::map<std::string, std::vector<Grant>, std::less<>> by_subject_;  // "u:name", "g:group"
  std::shared_ptr<void> subscription_;
};

/// The refusal, in kubectl's words.
kubeapi::ApiError ForbiddenFor(const User& user, const RequestInfo& info);

/// The default cluster roles and bindings.
std::vector<Json> DefaultPolicy();

}  // namespace isthmus::lab::apiserver
