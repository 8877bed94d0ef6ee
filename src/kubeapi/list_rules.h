#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "kubeapi/json.h"

namespace isthmus::kubeapi {

/// How a list (or map) of a type is merged. Without a rule a list is atomic and a map granular.
struct ListRule {
  enum class Type { kAtomic, kSet, kMap };
  Type type = Type::kAtomic;
  /// For kMap: the fields that name an item in server-side apply, such as containerPort and
  /// protocol.
  std::vector<std::string> keys;
  /// What an absent key counts as, e.g. protocol "TCP".
  std::map<std::string, std::string> key_defaults;

  /// The one field that strategic merge patches go by: the first of `keys`.
  const std::string& merge_key() const { return keys.front(); }
};

/// A field's place in an object by its field names alone, list positions left out:
/// "spec.template.spec.containers.ports".
using FieldPath = std::string;
FieldPath AppendField(std::string_view path, std::string_view field);

/// The merge rules of a kind, as data: which lists are maps or sets, which maps are atomic. A
/// value.
class ListRules {
 public:
  /// No rules: every list atomic. What custom resources without list types have.
  ListRules() = default;
  /// The rules of Kubernetes' own types: containers by name, ports by containerPort, and so on.
  static const ListRules& BuiltIn();
  /// Those that an OpenAPI v3 schema (of a CRD) states by x-kubernetes-list-type and -map-keys.
  static ListRules FromSchema(const Json& schema);

  /// `suffix` matches whole field names at the end of a path; with a leading "^" the whole path.
  void Add(std::string_view suffix, ListRule rule);
  void AddAtomicMap(std::string_view suffix);

  /// The rule of the list at `path`: the longest suffix that matches.
  const ListRule& For(std::string_view path) const;
  /// Whether the map at `path` is replaced as a whole (selectors and references).
  bool IsAtomicMap(std::string_view path) const;

 private:
  std::map<std::string, ListRule, std::less<>> lists_;
  std::map<std::string, bool, std::less<>> atomic_maps_;
};

}  // namespace isthmus::kubeapi
