#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/slice.h"

namespace isthmus::model {

/// One xDS resource, serialised once and shared by every stream that needs it. Immutable.
struct Resource {
  std::string name;
  base::Slice any;    ///< A serialised google.protobuf.Any.
  uint64_t hash = 0;  ///< Of `any`; equal resources compare equal by it.
};

/// The resources of one type that one part of the translation made, in the order in which they are
/// sent. Immutable and shared: views of many proxies hold the same set, and two views that hold the
/// same pointer need no comparison.
class ResourceSet {
 public:
  ResourceSet() = default;
  /// The first of several with one name wins.
  explicit ResourceSet(std::vector<std::shared_ptr<const Resource>> resources);
  const std::vector<std::shared_ptr<const Resource>>& all() const { return resources_; }
  const std::shared_ptr<const Resource>* Find(std::string_view name) const;

 private:
  std::vector<std::shared_ptr<const Resource>> resources_;
  std::unordered_map<std::string_view, size_t> index_;
};

/// What one class of proxies sees of a snapshot: for each type URL its sets, in order (the shared
/// outbound part first, the workload's own part after it). Immutable.
struct View {
  uint64_t version = 0;  ///< Of the snapshot.
  std::map<std::string, std::vector<std::shared_ptr<const ResourceSet>>, std::less<>> types;

  /// The first resource of that name in the sets of the type, or null.
  std::shared_ptr<const Resource> Find(std::string_view type_url, std::string_view name) const;
};

}  // namespace isthmus::model
