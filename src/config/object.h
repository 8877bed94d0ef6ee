#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"

namespace isthmus::config {

/// The metadata of a configuration object that the mesh reads.
struct Meta {
  std::string group;  ///< "networking.istio.io"
  std::string version;
  std::string kind;  ///< "VirtualService"
  std::string ns;
  std::string name;
  std::map<std::string, std::string> labels;
  std::map<std::string, std::string> annotations;
  std::string resource_version;
  int64_t generation = 0;
  base::Time created;
  bool operator==(const Meta&) const = default;
  std::string text() const { return kind + " " + ns + "/" + name; }
};

/// A configuration object: metadata and the parsed spec (a protobuf message of proto/config).
/// Frozen when shared.
template <typename T>
struct Object {
  Meta meta;
  T spec;
};

/// All objects of one kind, ordered by creation time, then namespace, then name.
template <typename T>
using ObjectList = std::vector<std::shared_ptr<const Object<T>>>;

}  // namespace isthmus::config
