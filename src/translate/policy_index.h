#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "config/object.h"
#include "model/snapshot.h"
#include "translate/proxy_class.h"

namespace isthmus::translate {

/// Finds policies of one type by workload: those of the root namespace, then those of the
/// workload's own, whose selector takes it; oldest first in each. Immutable.
template <typename Spec>
class PolicyIndex {
 public:
  using List = std::vector<std::shared_ptr<const config::Object<Spec>>>;

  PolicyIndex(const model::Configs::List<Spec>& policies, std::string root_namespace)
      : root_namespace_(std::move(root_namespace)) {
    if (policies == nullptr) return;
    for (const auto& object : *policies) {
      // Policies attached to an object of the Gateway API are not about workloads.
      if (object->spec.has_target_ref() || object->spec.target_refs_size() > 0) continue;
      namespaces_[object->meta.ns].push_back(object);
    }
  }

  List For(const std::string& ns, const model::Labels& labels) const {
    List result;
    auto add = [&](const std::string& from) {
      auto found = namespaces_.find(from);
      if (found == namespaces_.end()) return;
      for (const auto& object : found->second)
        if (SelectsMap(object->spec.selector().match_labels(), labels)) result.push_back(object);
    };
    add(root_namespace_);
    if (ns != root_namespace_) add(ns);
    return result;
  }

 private:
  const std::string root_namespace_;
  std::map<std::string, List> namespaces_;
};

}  // namespace isthmus::translate
