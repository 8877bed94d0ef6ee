#pragma once

#include <string>
#include <string_view>

#include "inject/config.h"
#include "inject/review.h"

namespace isthmus::inject {

/// Counts of the injection webhook, in Istio's names sidecar_injection_*_total.
struct InjectionStats {
  uint64_t requests = 0;
  uint64_t success = 0;
  uint64_t failure = 0;
  uint64_t skipped = 0;
};

/// The mutating webhook: answers a review of a pod with the patch that gives it its proxy. `path`
/// carries parameters (/inject/cluster/c1/net/n1); `native_sidecars` is the control plane's
/// setting.
HttpAnswer AnswerInjection(std::string_view path, std::string_view content_type,
                           std::string_view body, const InjectorConfig& config,
                           const MeshSettings& mesh, bool native_sidecars, InjectionStats& stats);

/// Counts of the validating webhook.
struct ValidationStats {
  uint64_t passed = 0;
  uint64_t failed = 0;
};

/// The validating webhook for the mesh's own kinds: refuses what config::Validate finds wrong.
HttpAnswer AnswerValidation(std::string_view content_type, std::string_view body,
                            ValidationStats& stats);

}  // namespace isthmus::inject
