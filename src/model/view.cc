#include "model/view.h"

#include <utility>

namespace isthmus::model {

ResourceSet::ResourceSet(std::vector<std::shared_ptr<const Resource>> resources) {
  resources_.reserve(resources.size());
  index_.reserve(resources.size());
  for (auto& resource : resources)
    if (index_.emplace(resource->name, resources_.size()).second)
      resources_.push_back(std::move(resource));
}

const std::shared_ptr<const Resource>* ResourceSet::Find(std::string_view name) const {
  auto found = index_.find(name);
  return found == index_.end() ? nullptr : &resources_[found->second];
}

std::shared_ptr<const Resource> View::Find(std::string_view type_url, std::string_view name) const {
  auto sets = types.find(type_url);
  if (sets == types.end()) return nullptr;
  for (const auto& set : sets->second)
    if (const auto* found = set->Find(name)) return *found;
  return nullptr;
}

}  // namespace isthmus::model
