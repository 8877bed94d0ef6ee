#pragma once

#include <set>
#include <string>

namespace isthmus::config {

/// Namespaces that may see an object, worked out of exportTo. "." is expanded to the object's
/// namespace.
struct ExportTo {
  bool all = true;
  std::set<std::string> namespaces;
  bool VisibleIn(const std::string& ns) const { return all || namespaces.contains(ns); }
  bool operator==(const ExportTo&) const = default;

  /// Takes one more value: "*", ".", "~" (nobody) or a namespace.
  void Add(const std::string& value, const std::string& own_ns) {
    if (value == "*")
      all = true;
    else if (value != "~")
      namespaces.insert(value == "." ? own_ns : value);
  }
};

/// The object's exportTo, or the mesh's default when it has none, or everyone.
template <typename Values, typename Defaults>
ExportTo ReadExportTo(const Values& values, const Defaults& defaults, const std::string& own_ns) {
  ExportTo export_to;
  if (values.empty() && defaults.empty()) return export_to;
  export_to.all = false;
  if (!values.empty())
    for (const std::string& value : values) export_to.Add(value, own_ns);
  else
    for (const std::string& value : defaults) export_to.Add(value, own_ns);
  if (export_to.all) export_to.namespaces.clear();
  return export_to;
}

}  // namespace isthmus::config
