#include "ads/name_set.h"

#include <algorithm>
#include <iterator>

namespace isthmus::ads {
namespace {

constexpr size_t kSteps = 16;
// Larger changes happen once a stream (its first request), and are not worth keeping.
constexpr size_t kLargestStep = 64;

uint64_t Hash(std::span<const std::string_view> names) {
  uint64_t hash = names.size();
  for (std::string_view name : names)
    hash = hash * 0x9e3779b97f4a7c15 + std::hash<std::string_view>()(name);
  return hash;
}

void SortUnique(std::vector<std::string_view>& names) {
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
}

bool Equal(const NameSet& set, std::span<const std::string_view> names) {
  if (set.size() != names.size()) return false;
  for (size_t i = 0; i < names.size(); ++i)
    if (set.at(i) != names[i]) return false;
  return true;
}

}  // namespace

NameSet::NameSet(std::span<const std::string_view> names) {
  size_t total = 0;
  for (std::string_view name : names) total += name.size();
  bytes_.reserve(total);
  ends_.reserve(names.size());
  for (std::string_view name : names) {
    bytes_.append(name);
    ends_.push_back(static_cast<uint32_t>(bytes_.size()));
  }
}

bool NameSet::Has(std::string_view name) const {
  size_t low = 0;
  size_t high = size();
  while (low < high) {
    const size_t middle = (low + high) / 2;
    const int order = at(middle).compare(name);
    if (order == 0) return true;
    if (order < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return false;
}

std::vector<std::string_view> NameSet::all() const {
  std::vector<std::string_view> names;
  names.reserve(size());
  for (size_t i = 0; i < size(); ++i) names.push_back(at(i));
  return names;
}

NameInterner::NameInterner() { none_ = Intern({}); }

NameSetPtr NameInterner::Intern(std::span<const std::string_view> sorted) {
  const uint64_t hash = Hash(sorted);
  auto [begin, end] = sets_.equal_range(hash);
  for (auto it = begin; it != end; ++it)
    if (Equal(*it->second, sorted)) return alive_.at(it->second).lock();
  NameSetPtr made(new NameSet(sorted), [this, hash](const NameSet* set) {
    auto [first, last] = sets_.equal_range(hash);
    for (auto it = first; it != last; ++it) {
      if (it->second != set) continue;
      sets_.erase(it);
      break;
    }
    alive_.erase(set);
    delete set;
  });
  sets_.emplace(hash, made.get());
  alive_[made.get()] = made;
  return made;
}

NameSetPtr NameInterner::Of(std::vector<std::string_view> names) {
  SortUnique(names);
  return Intern(names);
}

NameSetPtr NameInterner::Recall(const NameSetPtr& base, std::span<const std::string_view> added,
                                std::span<const std::string_view> removed) const {
  for (const Step& step : steps_) {
    if (step.base == base && std::ranges::equal(step.added, added) &&
        std::ranges::equal(step.removed, removed))
      return step.result;
  }
  return nullptr;
}

NameSetPtr NameInterner::Change(const NameSetPtr& base, std::span<const std::string_view> added,
                                std::span<const std::string_view> removed) {
  if (added.empty() && removed.empty()) return base;
  if (NameSetPtr known = Recall(base, added, removed)) return known;
  std::vector<std::string_view> plus(added.begin(), added.end());
  std::vector<std::string_view> minus(removed.begin(), removed.end());
  SortUnique(plus);
  SortUnique(minus);
  const std::vector<std::string_view> old = base->all();
  std::vector<std::string_view> both;
  both.reserve(old.size() + plus.size());
  std::ranges::set_union(old, plus, std::back_inserter(both));
  std::vector<std::string_view> names;
  names.reserve(both.size());
  std::ranges::set_difference(both, minus, std::back_inserter(names));
  NameSetPtr result = Intern(names);
  if (added.size() + removed.size() <= kLargestStep) {
    steps_.push_front(
        {base, {added.begin(), added.end()}, {removed.begin(), removed.end()}, result});
    if (steps_.size() > kSteps) steps_.pop_back();
  }
  return result;
}

}  // namespace isthmus::ads
