#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "model/view.h"
#include "translate/virtual_services.h"

namespace isthmus::translate {

/// A route configuration put together from virtual hosts that were serialised before.
class RouteConfig {
 public:
  explicit RouteConfig(std::string name);
  /// A serialised VirtualHost; `routes` is one without name and domains.
  static std::string Host(const std::string& name, const std::vector<std::string>& domains,
                          std::string_view routes);
  /// Room for hosts of so many bytes in all.
  void Reserve(size_t bytes) { bytes_.reserve(bytes_.size() + bytes + kTail); }
  void AddHost(std::string_view serialised);
  bool empty() const { return hosts_ == 0; }
  std::shared_ptr<const model::Resource> Build() &&;

 private:
  static constexpr size_t kTail = 32;  ///< What follows the hosts.
  std::string name_;
  std::string bytes_;
  int hosts_ = 0;
};

/// Whether the rules say anything about HTTP.
bool HasHttp(const RoutingRules& rules);

}  // namespace isthmus::translate
