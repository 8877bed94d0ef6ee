#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "kubeapi/json.h"

namespace isthmus::kubeapi {

/// Which objects a label selector picks: requirements that must all hold. Without any it picks
/// everything. A value.
class LabelSelector {
 public:
  enum class Op { kIn, kNotIn, kExists, kDoesNotExist, kGreater, kLess };
  struct Requirement {
    std::string key;
    Op op = Op::kExists;
    std::vector<std::string> values;
    bool operator==(const Requirement&) const = default;
  };

  /// "a=b,c!=d,e in (x,y),f notin (z),g,!h,i>3". "" picks everything.
  static base::Result<LabelSelector> Parse(std::string_view text);
  /// An object with matchLabels and matchExpressions. Null and absent are an error of the caller's
  /// field (Kubernetes picks nothing there); {} picks everything.
  static base::Result<LabelSelector> FromObject(const Json& selector);
  /// A plain map of labels, as in a Service's spec.selector.
  static LabelSelector FromLabels(const Json& labels);

  /// `labels` is an object of strings, or null for none.
  bool Matches(const Json& labels) const;
  /// Whether the object's metadata.labels match.
  bool MatchesObject(const Json& object) const;
  bool empty() const { return requirements_.empty(); }
  const std::vector<Requirement>& requirements() const { return requirements_; }
  /// As Parse() reads it.
  std::string ToString() const;
  bool operator==(const LabelSelector&) const = default;

 private:
  std::vector<Requirement> requirements_;
};

/// Picks objects by the values of fields: "metadata.name=x,status.phase!=Running". A value.
class FieldSelector {
 public:
  struct Requirement {
    std::string path;
    std::string value;
    bool equal = true;
  };

  static base::Result<FieldSelector> Parse(std::string_view text);
  /// An absent field is "".
  bool Matches(const Json& object) const;
  /// The value that `path` must have, when it is asked for by equality; for servers that look up by
  /// name.
  const std::string* Exact(std::string_view path) const;
  bool empty() const { return requirements_.empty(); }
  const std::vector<Requirement>& requirements() const { return requirements_; }

 private:
  std::vector<Requirement> requirements_;
};

}  // namespace isthmus::kubeapi
