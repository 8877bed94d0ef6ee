#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kubeapi/json.h"

namespace isthmus::lab::apiserver {

using kubeapi::Json;

struct Field;

/// The shape of a value: of a built-in kind, from the compact table, or of a custom resource,
/// compiled from its structural schema. Both are checked, defaulted, pruned, merged and described
/// by the same code. Immutable once built; lives as long as the table or schema that owns it.
struct Type {
  enum class Kind {
    kAny,
    kString,
    kBytes,
    kTime,
    kInteger,
    kNumber,
    kBoolean,
    kQuantity,
    kIntOrString,
    kList,
    kMap,
    kObject
  };
  Kind kind = Kind::kAny;
  std::string name;               ///< "core.v1.PodSpec"; empty for types without a name.
  std::vector<Field> fields;      ///< kObject, sorted by name.
  const Type* element = nullptr;  ///< kList, kMap.

  // How patches and server-side apply merge it.
  enum class ListType { kAtomic, kSet, kMap };
  ListType list_type = ListType::kAtomic;
  std::vector<std::string> map_keys;  ///< List maps of server-side apply.
  std::string merge_key;              ///< Strategic merge of a list of objects.
  bool merge_scalars = false;         ///< Strategic merge of a list of scalars.
  bool retain_keys = false;
  bool atomic = false;  ///< A map or object that server-side apply takes as a whole.

  // Custom resources only.
  bool custom = false;
  bool nullable = false;
  bool preserve_unknown = false;
  bool embedded_resource = false;
  std::unique_ptr<Json> rules;  ///< The schema node with its value checks (pattern, enum, ...).

  const Field* FindField(std::string_view field) const;
};

struct Field {
  std::string name;
  bool required = false;
  const Type* type = nullptr;
  std::unique_ptr<Json> fallback;  ///< The default.
};

/// The shapes of the built-in kinds. Parsed once, at first use.
class BuiltinTypes {
 public:
  static const BuiltinTypes& Get();
  const Type* Find(std::string_view name) const;
  const std::map<std::string, Type*, std::less<>>& all() const { return by_name_; }

 private:
  BuiltinTypes();
  const Type* Code(std::string_view code, const std::vector<std::string_view>& marks);
  Type* Named(std::string_view name);
  std::deque<Type> types_;
  std::map<std::string, Type*, std::less<>> by_name_;
};

/// One version of a custom resource's schema, compiled. Owns its types.
class CustomSchema {
 public:
  /// `schema` is openAPIV3Schema, or null for "anything" (preserves unknown fields).
  explicit CustomSchema(const Json* schema);
  const Type* root() const { return root_; }

 private:
  const Type* Compile(const Json& node, bool root);
  std::deque<Type> types_;
  const Type* root_ = nullptr;
};

/// What Conform() found; messages carry the field's path.
struct Findings {
  std::vector<std::string>
      unknown;  ///< Paths of fields that were dropped: `unknown field "spec.foo"`.
  struct Cause {
    std::string reason, field, message;
  };
  std::vector<Cause>
      invalid;  ///< reason as in a Status cause: FieldValueRequired, FieldValueInvalid...
  std::vector<std::string> undecodable;  ///< Wrong types in built-in kinds.
};

/// Brings `value` into the shape of `type`: drops unknown fields, nulls and (built-in) empty maps,
/// fills in defaults, checks types and the schema's rules.
void Conform(const Type& type, Json* value, Findings* findings);

}  // namespace isthmus::lab::apiserver
