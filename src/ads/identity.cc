#include "ads/identity.h"

#include <fmt/ranges.h>

#include "pki/spiffe.h"

namespace isthmus::ads {

base::Result<std::string> CheckIdentity(const Node& node,
                                        const std::vector<std::string>& identities) {
  for (const std::string& uri : identities) {
    const auto id = pki::SpiffeId::Parse(uri);
    if (!id.ok() || id->ns != node.claimed_namespace) continue;
    if (!node.claimed_account.empty() && id->service_account != node.claimed_account) continue;
    return id->ns;
  }
  return base::Error(
      base::Code::kPermissionDenied,
      "no identity of the caller ({}) matches namespace {} and service account {} of node {}",
      fmt::join(identities, ", "), node.claimed_namespace,
      node.claimed_account.empty() ? "(any)" : node.claimed_account, node.id);
}

}  // namespace isthmus::ads
