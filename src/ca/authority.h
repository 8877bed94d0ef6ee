#pragma once

#include <chrono>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "ca/signing_material.h"

namespace isthmus::ca {

/// The CA in force. Others ask it for certificates and roots; whoever loads keys gives them to
/// Use(). Lives on one loop.
class Authority {
 public:
  bool ready() const { return material_.has_value(); }
  /// REQUIRES: ready().
  const SigningMaterial& material() const { return *material_; }
  /// Null until ready.
  std::shared_ptr<const pki::TrustBundle> roots() const { return roots_; }
  /// "" until ready.
  const std::string& roots_pem() const;

  /// From now on signs with this, and tells those who asked.
  void Use(SigningMaterial material);
  /// `changed` is called after each Use(); dropping the handle ends it.
  [[nodiscard]] std::shared_ptr<void> OnChange(std::function<void()> changed);

  /// The elements of an answer: leaf, chain, roots. kInvalidArgument for a bad request or lifetime,
  /// kInternal when the CA cannot sign.
  base::Result<std::vector<std::string>> Sign(const std::string& csr_pem,
                                              const std::vector<std::string>& identities,
                                              std::chrono::seconds ttl) const;

 private:
  std::optional<SigningMaterial> material_;
  std::shared_ptr<const pki::TrustBundle> roots_;
  std::list<std::weak_ptr<std::function<void()>>> listeners_;
};

}  // namespace isthmus::ca
