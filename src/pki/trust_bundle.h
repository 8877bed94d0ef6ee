#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "pki/certificate.h"

namespace isthmus::pki {

/// The roots that one believes. An immutable value.
class TrustBundle {
 public:
  TrustBundle() = default;
  explicit TrustBundle(std::vector<Certificate> roots) : roots_(std::move(roots)) {}
  static base::Result<TrustBundle> FromPem(std::string_view pem);

  const std::vector<Certificate>& roots() const { return roots_; }
  std::string pem() const;
  /// Whether `chain` (leaf first, intermediates after) leads to one of the roots and is valid at
  /// `now`.
  base::Status Verify(const std::vector<Certificate>& chain, base::Time now) const;

 private:
  std::vector<Certificate> roots_;
};

}  // namespace isthmus::pki
