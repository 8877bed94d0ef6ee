#pragma once

#include <compare>
#include <string>
#include <string_view>

#include "base/result.h"

namespace isthmus::pki {

/// A workload's identity: spiffe://<trust domain>/ns/<namespace>/sa/<service account>.
struct SpiffeId {
  std::string trust_domain;
  std::string ns;
  std::string service_account;

  static base::Result<SpiffeId> Parse(std::string_view uri);
  std::string uri() const;
  auto operator<=>(const SpiffeId&) const = default;
};

}  // namespace isthmus::pki
