#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace isthmus::ads {

/// Resource names that a subscription wants, sorted and unique. Immutable and interned: streams
/// that want the same names hold the same set, so two hundred proxies with two thousand names each
/// cost one set.
class NameSet {
 public:
  /// REQUIRES: `names` sorted and unique.
  explicit NameSet(std::span<const std::string_view> names);

  size_t size() const { return ends_.size(); }
  bool empty() const { return ends_.empty(); }
  std::string_view at(size_t i) const {
    const uint32_t begin = i == 0 ? 0 : ends_[i - 1];
    return std::string_view(bytes_).substr(begin, ends_[i] - begin);
  }
  bool Has(std::string_view name) const;
  std::vector<std::string_view> all() const;

 private:
  std::string bytes_;
  std::vector<uint32_t> ends_;
};
using NameSetPtr = std::shared_ptr<const NameSet>;

/// Makes NameSets and finds equal ones again. Holds none alive but the most recent few changes.
/// Must outlive its sets.
class NameInterner {
 public:
  NameInterner();
  NameInterner(const NameInterner&) = delete;
  NameInterner& operator=(const NameInterner&) = delete;

  /// The set of these names, in any order, doubles allowed. Never null.
  NameSetPtr Of(std::vector<std::string_view> names);
  /// `base` with `added` and without `removed`; a name in both is removed. The same pointer when
  /// nothing changes.
  NameSetPtr Change(const NameSetPtr& base, std::span<const std::string_view> added,
                    std::span<const std::string_view> removed);
  const NameSetPtr& none() const { return none_; }
  /// Distinct sets in use.
  size_t size() const { return sets_.size(); }

 private:
  // A change that many streams make alike: when a service appears, each subscribes to it.
  struct Step {
    NameSetPtr base;
    std::vector<std::string> added;
    std::vector<std::string> removed;
    NameSetPtr result;
  };
  NameSetPtr Intern(std::span<const std::string_view> sorted);
  NameSetPtr Recall(const NameSetPtr& base, std::span<const std::string_view> added,
                    std::span<const std::string_view> removed) const;

  std::unordered_multimap<uint64_t, const NameSet*> sets_;
  std::unordered_map<const NameSet*, std::weak_ptr<const NameSet>> alive_;
  std::list<Step> steps_;
  NameSetPtr none_;
};

}  // namespace isthmus::ads
