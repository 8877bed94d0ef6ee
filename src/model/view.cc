#include "model/view.h"

#include <unordered_set>
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

std::shared_ptr<const ResourceSet> ResourceSet::With(
    const std::vector<std::shared_ptr<const Resource>>& changed,
    const std::vector<std::string>& removed) const {
  std::unordered_map<std::string_view, const std::shared_ptr<const Resource>*> fresh;
  for (const auto& resource : changed) fresh.emplace(resource->name, &resource);
  const std::unordered_set<std::string_view> gone(removed.begin(), removed.end());
  std::vector<std::shared_ptr<const Resource>> next;
  next.reserve(resources_.size() + changed.size());
  for (const auto& resource : resources_) {
    auto found = fresh.find(resource->name);
    if (found != fresh.end())
      next.push_back(*found->second);
    else if (!gone.contains(resource->name))
      next.push_back(resource);
  }
  for (const auto& resource : changed)
    if (!index_.contains(resource->name)) next.push_back(resource);
  return std::make_shared<const ResourceSet>(std::move(next));
}

std::shared_ptr<const Resource> View::Find(std::string_view type_url, std::string_view name) const {
  auto sets = types.find(type_url);
  if (sets == types.end()) return nullptr;
  for (const auto& set : sets->second)
    if (const auto* found = set->Find(name)) return *found;
  return nullptr;
}

}  // namespace isthmus::model
