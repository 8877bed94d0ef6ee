#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "kubeapi/resource.h"

namespace isthmus::config {

/// A column of `kubectl get`.
struct PrinterColumn {
  std::string name;
  std::string json_path;
  std::string description;
  std::string type = "string";
};

/// One kind of Istio's API: a row of the table that reading, watching, validation and CRDs share.
struct Kind {
  std::string group;
  std::string kind;
  std::string plural;
  std::string singular;
  std::vector<std::string> short_names;
  std::vector<std::string> versions;  ///< The first is stored, and the one we read.
  std::string message;                ///< Of the spec: "istio.networking.v1.VirtualService".
  std::string description;
  std::vector<PrinterColumn> columns;

  /// REST resource at the stored version.
  kubeapi::Resource resource() const;
};

/// All kinds, in a fixed order.
const std::vector<Kind>& Kinds();
/// Null when there is no such kind; any served version will do.
const Kind* FindKind(std::string_view group, std::string_view kind);
/// By kind, plural, singular or short name, in any case, as a user types it.
const Kind* FindKindByName(std::string_view name);

}  // namespace isthmus::config
