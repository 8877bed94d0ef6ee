#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kubeapi/json.h"
#include "kubeapi/list_rules.h"
#include "kubeapi/resource.h"
#include "lab/apiserver/types.h"

namespace isthmus::lab::apiserver {

/// One printed column. The value comes from a JSONPath or, for what no path can say, from a
/// function of the object and the present time (seconds).
struct Column {
  std::string name;
  std::string path;  ///< ".spec.type"; a leading "?" prints "<none>" when absent.
  std::string (*cell)(const Json& object, int64_t now) = nullptr;
  int priority = 0;  ///< Above 0: only in wide output.
  std::string type = "string";
  std::string format;
  std::string description;
  bool custom = false;  ///< Of a CRD: an absent field is an empty cell.
};

/// The schema of one version of a custom resource, compiled when it is first needed: most
/// definitions of a mesh never see an object, and their schemas are large.
class LazySchema {
 public:
  /// `load` gives openAPIV3Schema, or null.
  explicit LazySchema(std::function<Json()> load) : load_(std::move(load)) {}
  const Type* type() { return Compiled().schema->root(); }
  const kubeapi::ListRules& rules() { return Compiled().rules; }

 private:
  struct Parts {
    std::unique_ptr<CustomSchema> schema;
    kubeapi::ListRules rules;
  };
  const Parts& Compiled();
  std::function<Json()> load_;
  Parts parts_;
};

/// A version under which a kind is served.
struct KindVersion {
  std::string name;
  bool served = true;
  bool storage = true;
  const Type* type = nullptr;          ///< Built-in kinds.
  std::shared_ptr<LazySchema> schema;  ///< Custom resources.
  const Type* shape() const { return schema ? schema->type() : type; }
  std::string deprecation_warning;
  bool status = false;     ///< Has the status subresource.
  std::string scale_spec;  ///< JSONPaths of the scale subresource; empty: none.
  std::string scale_status;
  std::string scale_selector;
  std::vector<Column> columns;                 ///< Without NAME; AGE is among them.
  std::vector<std::string> selectable_fields;  ///< ".spec.color"
};

/// A kind of object: one row, whether built in or from a CustomResourceDefinition.
struct Kind {
  std::string group;
  std::string plural;
  std::string singular;
  std::string kind;
  std::string list_kind;
  std::vector<std::string> short_names;
  std::vector<std::string> categories;
  bool namespaced = true;
  bool custom = false;
  /// Only create, and nothing is stored (TokenReview and the like).
  bool review = false;
  std::vector<KindVersion> versions;      ///< Preferred first.
  std::vector<std::string> subresources;  ///< Beside status and scale, as "exec".

  /// The store's word: "deployments.apps", "pods".
  std::string resource_key() const { return group.empty() ? plural : plural + "." + group; }
  const KindVersion* FindVersion(std::string_view name) const;
  const KindVersion& storage_version() const;
  kubeapi::Resource ResourceAt(const KindVersion& version) const;
  std::string ApiVersion(const KindVersion& version) const {
    return group.empty() ? version.name : group + "/" + version.name;
  }
};

using KindPtr = std::shared_ptr<const Kind>;

/// Every kind that is served. Rows are shared pointers, so that a request under way keeps the row
/// it began with when its CRD changes.
class KindTable {
 public:
  KindTable();
  KindPtr Find(std::string_view group, std::string_view plural) const;
  /// By "deployments.apps".
  KindPtr FindByKey(std::string_view resource_key) const;
  KindPtr FindByKind(std::string_view group, std::string_view kind) const;
  /// Whether any kind of that group has that version.
  bool Serves(std::string_view group, std::string_view version) const;
  /// In order of registration.
  const std::vector<KindPtr>& all() const { return kinds_; }
  /// Adds or replaces.
  void Set(KindPtr kind);
  void Remove(std::string_view resource_key);
  /// Grows with each change; caches of documents made from the table compare it.
  int64_t generation() const { return generation_; }

 private:
  std::vector<KindPtr> kinds_;
  std::map<std::string, KindPtr, std::less<>> by_key_;
  int64_t generation_ = 1;
};

/// The rows of the built-in kinds.
std::vector<Kind> BuiltinKinds();
/// The printed columns of a built-in kind, by "deployments.apps".
std::vector<Column> BuiltinColumns(std::string_view resource_key);

}  // namespace isthmus::lab::apiserver
