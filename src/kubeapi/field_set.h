#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "kubeapi/json.h"
#include "kubeapi/list_rules.h"

namespace isthmus::kubeapi {

/// A set of fields of an object, as managedFields writes it (FieldsV1): a tree whose steps are
/// "f:name", "k:{keys}" for items of a list map, and "v:value" for items of a set. A value.
class FieldSet {
 public:
  FieldSet() = default;
  static base::Result<FieldSet> FromJson(const Json& fields_v1);
  Json ToJson() const;

  /// The leaves of `value`, with the items of its list maps; what everyone has (name, uid ...) left
  /// out.
  static FieldSet Of(const Json& value, const ListRules& rules);
  /// As Of(), with the objects and lists that hold the leaves: what must be gone when all of them
  /// are.
  static FieldSet WithContainers(const Json& value, const ListRules& rules);
  /// The leaves of `now` that `before` has not, or has with another value, and the objects and
  /// lists that are new, but for those that every object of Kubernetes has (spec, template ...).
  static FieldSet Changed(const Json& before, const Json& now, const ListRules& rules);

  bool empty() const { return !member_ && children_.empty(); }
  FieldSet Union(const FieldSet& other) const;
  FieldSet Minus(const FieldSet& other) const;
  FieldSet Intersect(const FieldSet& other) const;
  bool operator==(const FieldSet&) const = default;

  /// The members as users read them: `.spec.containers[name="a"].image`.
  std::vector<std::string> Paths() const;

  /// `object` without the members of this set, but for those that `kept` has too; what becomes
  /// empty by that goes as well.
  Json RemoveFrom(const Json& object, const FieldSet& kept, const ListRules& rules) const;

 private:
  friend class FieldWalk;
  bool member_ = false;
  std::map<std::string, FieldSet, std::less<>> children_;
};

/// The step that names an item of a list map or set ("k:{...}", "v:..."), or "" when it has no name
/// (keys missing), which makes the list atomic.
std::string ItemStep(const Json& item, const ListRule& rule);

}  // namespace isthmus::kubeapi
