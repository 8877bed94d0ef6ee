#pragma once

#include <string_view>
#include <vector>

#include "base/result.h"

namespace isthmus::ads {

/// The two forms of xDS on the wire.
enum class Protocol { kSotw, kDelta };

/// One DiscoveryRequest or DeltaDiscoveryRequest as views into its bytes. Lives as long as they do.
struct Request {
  bool has_node = false;
  std::string_view node;  ///< A serialised envoy.config.core.v3.Node.
  std::string_view type_url;
  /// State of the world: all names wanted from now on. Delta: names added
  /// (resource_names_subscribe).
  std::vector<std::string_view> names;
  std::vector<std::string_view> unsubscribe;  ///< Delta only.
  /// Delta only: names of initial_resource_versions. The versions themselves count for nothing.
  std::vector<std::string_view> had;
  std::string_view nonce;
  bool rejected = false;  ///< error_detail is set: the client refused the response of that nonce.
  std::string_view error;
};

/// Reads one message. Malformed bytes, strings that are not UTF-8 and names over the limits are
/// refused.
base::Result<Request> ParseRequest(Protocol protocol, std::string_view bytes);

}  // namespace isthmus::ads
