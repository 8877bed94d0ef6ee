#pragma once

#include <compare>
#include <functional>
#include <string>
#include <utility>

namespace isthmus::model {

/// A name whose kind the compiler knows: a network where a cluster belongs does not build.
template <typename Tag>
class Id {
 public:
  Id() = default;
  explicit Id(std::string text) : text_(std::move(text)) {}
  const std::string& text() const { return text_; }
  bool empty() const { return text_.empty(); }
  auto operator<=>(const Id&) const = default;

 private:
  std::string text_;
};
/// One Kubernetes cluster, by the name that remote secrets and proxies use.
using ClusterId = Id<struct ClusterTag>;
/// Endpoints of one network reach each other directly. Empty means unknown.
using NetworkId = Id<struct NetworkTag>;

/// Region, zone and sub-zone; each may be empty.
struct Locality {
  std::string region;
  std::string zone;
  std::string subzone;
  /// "region/zone/subzone" without empty tails; '.' separates when there is no '/'.
  static Locality Parse(const std::string& text);
  std::string text() const;
  bool empty() const { return region.empty() && zone.empty() && subzone.empty(); }
  auto operator<=>(const Locality&) const = default;
};

}  // namespace isthmus::model

template <typename Tag>
struct std::hash<isthmus::model::Id<Tag>> {
  size_t operator()(const isthmus::model::Id<Tag>& id) const noexcept {
    return std::hash<std::string>()(id.text());
  }
};
