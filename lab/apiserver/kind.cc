#include "lab/apiserver/kind.h"

#include <algorithm>

namespace isthmus::lab::apiserver {

const LazySchema::Parts& LazySchema::Compiled() {
  if (!parts_.schema) {
    const Json schema = load_();
    parts_.schema = std::make_unique<CustomSchema>(schema.is_object() ? &schema : nullptr);
    if (schema.is_object()) parts_.rules = kubeapi::ListRules::FromSchema(schema);
  }
  return parts_;
}

const KindVersion* Kind::FindVersion(std::string_view name) const {
  for (const KindVersion& version : versions)
    if (version.name == name && version.served) return &version;
  return nullptr;
}

const KindVersion& Kind::storage_version() const {
  for (const KindVersion& version : versions)
    if (version.storage) return version;
  return versions.front();
}

kubeapi::Resource Kind::ResourceAt(const KindVersion& version) const {
  return {group, version.name, plural, kind, namespaced};
}

KindTable::KindTable() {
  for (Kind& kind : BuiltinKinds()) Set(std::make_shared<const Kind>(std::move(kind)));
}

KindPtr KindTable::Find(std::string_view group, std::string_view plural) const {
  return FindByKey(group.empty() ? std::string(plural)
                                 : std::string(plural) + "." + std::string(group));
}

KindPtr KindTable::FindByKey(std::string_view resource_key) const {
  auto it = by_key_.find(resource_key);
  return it == by_key_.end() ? nullptr : it->second;
}

KindPtr KindTable::FindByKind(std::string_view group, std::string_view kind) const {
  for (const KindPtr& row : kinds_)
    if (row->group == group && row->kind == kind) return row;
  return nullptr;
}

bool KindTable::Serves(std::string_view group, std::string_view version) const {
  return std::any_of(kinds_.begin(), kinds_.end(), [&](const KindPtr& row) {
    return row->group == group && row->FindVersion(version) != nullptr;
  });
}

void KindTable::Set(KindPtr kind) {
  ++generation_;
  KindPtr& slot = by_key_[kind->resource_key()];
  if (slot) {
    *std::find(kinds_.begin(), kinds_.end(), slot) = kind;
  } else {
    kinds_.push_back(kind);
  }
  slot = std::move(kind);
}

void KindTable::Remove(std::string_view resource_key) {
  auto it = by_key_.find(resource_key);
  if (it == by_key_.end()) return;
  ++generation_;
  std::erase(kinds_, it->second);
  by_key_.erase(it);
}

}  // namespace isthmus::lab::apiserver
