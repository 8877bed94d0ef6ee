#pragma once

#include <google/protobuf/repeated_ptr_field.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "translate/envoy_filters.h"
#include "translate/message_merge.h"
#include "translate/patch_rules.h"

namespace isthmus::translate {

/// One patch of a list of named things, and the name of the thing that it is about ("" for any).
struct ListPatch {
  const EnvoyPatch* patch = nullptr;
  std::string name;
};

/// Does patches to a list of filters or routes: first what adds and replaces, in order, then merges
/// and removals. `matches(asked, element)` compares beyond emptiness; `end` is how many elements
/// stay last whatever is appended.
template <typename T>
void PatchList(const std::vector<ListPatch>& patches,
               const std::function<bool(const ListPatch&, const T&)>& matches, int end,
               google::protobuf::RepeatedPtrField<T>* list) {
  using Patch = istio::networking::v1::EnvoyFilter::Patch;
  auto find = [&](const ListPatch& patch) {
    for (int i = 0; i < list->size(); ++i)
      if (matches(patch, list->Get(i))) return i;
    return -1;
  };
  auto insert = [&](int at, const EnvoyPatch& patch) {
    *list->Add() = static_cast<const T&>(*patch.value);
    for (int i = list->size() - 1; i > at; --i) list->SwapElements(i, i - 1);
  };
  const bool ends = end > 0 && list->size() >= end;
  auto last = [&] { return list->size() - (ends ? end : 0); };
  for (const ListPatch& patch : patches) {
    const int found = patch.name.empty() ? -1 : find(patch);
    switch (patch.patch->spec->patch().operation()) {
      case Patch::ADD:
        insert(last(), *patch.patch);
        break;
      case Patch::INSERT_FIRST:
        insert(0, *patch.patch);
        break;
      case Patch::INSERT_BEFORE:
        if (patch.name.empty()) {
          insert(0, *patch.patch);
        } else if (found >= 0) {
          insert(found, *patch.patch);
        }
        break;
      case Patch::INSERT_AFTER:
        if (patch.name.empty()) {
          insert(last(), *patch.patch);
        } else if (found >= 0) {
          insert(found + 1, *patch.patch);
        }
        break;
      case Patch::REPLACE:
        if (found >= 0) *list->Mutable(found) = static_cast<const T&>(*patch.patch->value);
        break;
      default:
        break;
    }
  }
  for (const ListPatch& patch : patches) {
    const Patch::Operation operation = patch.patch->spec->patch().operation();
    if (operation != Patch::MERGE && operation != Patch::REMOVE) continue;
    for (int i = 0; i < list->size(); ++i) {
      if (!matches(patch, list->Get(i))) continue;
      if (operation == Patch::MERGE) {
        MergeMessage(*patch.patch->value, list->Mutable(i));
      } else {
        list->DeleteSubrange(i--, 1);
      }
    }
  }
}

}  // namespace isthmus::translate
