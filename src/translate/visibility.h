#pragma once

#include <string>

#include "model/service.h"

namespace isthmus::translate {

/// Reads an exportTo list: "." is the own namespace, "*" everybody, "~" nobody. An empty list means
/// the mesh's default, which for `fallback_private` is the own namespace.
template <typename List>
model::Visibility ReadVisibility(const List& export_to, const std::string& ns,
                                 const model::Visibility& fallback, bool fallback_private) {
  if (export_to.empty()) {
    model::Visibility visibility = fallback;
    if (fallback_private) visibility.namespaces.insert(ns);
    return visibility;
  }
  model::Visibility visibility{false, {}};
  for (const std::string& entry : export_to) {
    if (entry == "*") visibility.all = true;
    if (entry == ".") visibility.namespaces.insert(ns);
    if (entry != "*" && entry != "." && entry != "~") visibility.namespaces.insert(entry);
  }
  if (visibility.all) visibility.namespaces.clear();
  return visibility;
}

}  // namespace isthmus::translate
