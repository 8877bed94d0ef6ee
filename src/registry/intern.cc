#include "registry/intern.h"

#include <algorithm>
#include <functional>
#include <string>
#include <utility>

namespace isthmus::registry {
namespace {

size_t HashOf(const model::Labels& labels) {
  size_t hash = labels.size();
  for (const auto& [key, value] : labels) {
    hash = hash * 1099511628211ULL + std::hash<std::string>()(key);
    hash = hash * 1099511628211ULL + std::hash<std::string>()(value);
  }
  return hash;
}

}  // namespace

std::shared_ptr<const model::Labels> LabelPool::Intern(model::Labels labels) {
  if (labels.empty()) return empty_;
  const size_t hash = HashOf(labels);
  auto [first, last] = known_.equal_range(hash);
  for (auto it = first; it != last; ++it)
    if (auto held = it->second.lock(); held && *held == labels) return held;
  // Not make_shared: with it a weak_ptr would keep the memory of the map.
  std::shared_ptr<const model::Labels> fresh(new model::Labels(std::move(labels)));
  known_.emplace(hash, fresh);
  if (known_.size() >= sweep_at_) Sweep();
  return fresh;
}

std::shared_ptr<const LabelPool::Ports> LabelPool::InternPorts(Ports ports) {
  auto& known = ports_[ports];
  if (auto held = known.lock()) return held;
  std::shared_ptr<const Ports> fresh(new Ports(std::move(ports)));
  known = fresh;
  return fresh;
}

void LabelPool::Sweep() {
  std::erase_if(known_, [](const auto& entry) { return entry.second.expired(); });
  std::erase_if(ports_, [](const auto& entry) { return entry.second.expired(); });
  sweep_at_ = std::max<size_t>(1024, known_.size() * 2);
}

}  // namespace isthmus::registry
