#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

#include "model/view.h"

namespace isthmus::translate {

/// Everything that a built part depends on. Frozen values count by their identity and are kept
/// alive with the entry, so that an address never stands for two values.
class MemoKey {
 public:
  /// `kind` names the function that builds; different functions never share a key.
  explicit MemoKey(std::string_view kind) { Add(kind); }

  template <typename T>
  MemoKey& Add(const std::shared_ptr<const T>& value) {
    const void* address = value.get();
    bytes_.append(reinterpret_cast<const char*>(&address), sizeof address);
    held_.push_back(value);
    return *this;
  }
  MemoKey& Add(std::string_view text) {
    AddNumber(text.size());
    bytes_.append(text);
    return *this;
  }
  template <typename T>
  requires std::is_integral_v<T> || std::is_enum_v<T> MemoKey& Add(T number) {
    AddNumber(static_cast<uint64_t>(number));
    return *this;
  }

 private:
  friend class Memo;
  void AddNumber(uint64_t number) {
    // Small numbers are the rule; lengths in front keep different lists of fields apart.
    while (number >= 0x80) {
      bytes_.push_back(static_cast<char>(number | 0x80));
      number >>= 7;
    }
    bytes_.push_back(static_cast<char>(number));
  }
  std::string bytes_;
  std::vector<std::shared_ptr<const void>> held_;
};

/// Gives the part built before from the same inputs, as long as somebody still holds it. This is
/// what makes a rebuild cost what changed, and lets classes of proxies share what they see alike:
/// the functions that build stay pure. Single-threaded; owned by the Translator.
class Memo {
 public:
  template <typename T, typename Build>
  std::shared_ptr<const T> Get(const MemoKey& key, Build&& build) {
    auto found = entries_.find(key.bytes_);
    if (found != entries_.end()) {
      if (auto value = found->second.value.lock()) return std::static_pointer_cast<const T>(value);
    }
    std::shared_ptr<const T> value = build();
    entries_.insert_or_assign(key.bytes_, Entry{value, key.held_});
    ++built_;
    return value;
  }

  /// Drops the entries that nobody holds, when there may be many of them.
  void Sweep() {
    if (entries_.size() < sweep_at_) return;
    std::erase_if(entries_, [](const auto& entry) { return entry.second.value.expired(); });
    sweep_at_ = entries_.size() * 2 + 4096;
  }
  /// How many parts were built and not found, since the start; for tests and metrics.
  uint64_t built() const { return built_; }
  size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    std::weak_ptr<const void> value;
    std::vector<std::shared_ptr<const void>> held;
  };
  std::unordered_map<std::string, Entry> entries_;
  size_t sweep_at_ = 4096;
  uint64_t built_ = 0;
};

/// Gives equal resources one address, so that a part built again with the same result is no change,
/// and classes that see the same hold it once. Single-threaded; owned by the Translator.
class InternTable {
 public:
  std::shared_ptr<const model::Resource> Intern(std::shared_ptr<const model::Resource> resource) {
    std::weak_ptr<const model::Resource>& place = resources_[resource->hash];
    auto known = place.lock();
    if (known != nullptr && known->name == resource->name &&
        known->any.view() == resource->any.view())
      return known;
    place = resource;
    return resource;
  }
  void Intern(std::vector<std::shared_ptr<const model::Resource>>* resources) {
    for (auto& resource : *resources) resource = Intern(std::move(resource));
  }
  void Sweep() {
    if (resources_.size() < sweep_at_) return;
    std::erase_if(resources_, [](const auto& entry) { return entry.second.expired(); });
    sweep_at_ = resources_.size() * 2 + 4096;
  }

 private:
  std::unordered_map<uint64_t, std::weak_ptr<const model::Resource>> resources_;
  size_t sweep_at_ = 4096;
};

/// Gives sets of the same interned resources one address: classes that see the same hold, compare
/// and frame it once. Single-threaded; owned by the Translator.
class SetTable {
 public:
  std::shared_ptr<const model::ResourceSet> Intern(
      std::vector<std::shared_ptr<const model::Resource>> resources) {
    size_t hash = resources.size();
    for (const auto& resource : resources)
      hash = hash * 0x9e3779b97f4a7c15 + reinterpret_cast<uintptr_t>(resource.get());
    std::weak_ptr<const model::ResourceSet>& place = sets_[hash];
    auto known = place.lock();
    if (known != nullptr && known->all() == resources) return known;
    known = std::make_shared<const model::ResourceSet>(std::move(resources));
    place = known;
    return known;
  }
  void Sweep() {
    if (sets_.size() < sweep_at_) return;
    std::erase_if(sets_, [](const auto& entry) { return entry.second.expired(); });
    sweep_at_ = sets_.size() * 2 + 256;
  }

 private:
  std::unordered_map<size_t, std::weak_ptr<const model::ResourceSet>> sets_;
  size_t sweep_at_ = 256;
};

}  // namespace isthmus::translate
