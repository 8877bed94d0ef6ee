#include "inject/webhooks.h"

#include "base/log.h"
#include "config/kinds.h"
#include "config/validate.h"
#include "inject/inject.h"
#include "kubeapi/meta.h"
#include "kubeapi/patch.h"

namespace isthmus::inject {
namespace {

using kubeapi::Json;

constexpr std::string_view kAlwaysReject = "internal.istio.io/webhook-always-reject";

ReviewAnswer Refuse(std::string message) {
  ReviewAnswer answer;
  answer.allowed = false;
  answer.message = std::move(message);
  return answer;
}

ReviewAnswer Validate(const ReviewRequest& request, ValidationStats& stats) {
  if (request.operation != "CREATE" && request.operation != "UPDATE") return {};
  const auto refuse = [&](std::string message) {
    if (!request.dry_run) ++stats.failed;
    return Refuse(std::move(message));
  };
  const config::Kind* kind = config::FindKind(request.group, request.kind);
  if (kind == nullptr)
    return refuse(fmt::format("unrecognized type {} of group {}", request.kind, request.group));
  if (!request.object.is_object()) return refuse("the review carries no object");
  // The control plane creates such an object, as a dry run, to see that its webhook is asked at
  // all.
  if (kubeapi::AnnotationOf(request.object, kAlwaysReject) == "true")
    return refuse("object is refused because it asks for it (webhook-always-reject)");
  const config::Validation result = config::Validate(*kind, request.object);
  if (!result.ok()) return refuse(result.text());
  if (!request.dry_run) ++stats.passed;
  ReviewAnswer answer;
  for (const auto& warning : result.warnings) answer.warnings.push_back(warning.text());
  return answer;
}

}  // namespace

HttpAnswer AnswerInjection(std::string_view path, std::string_view content_type,
                           std::string_view body, const InjectorConfig& config,
                           const MeshSettings& mesh, bool native_sidecars, InjectionStats& stats) {
  ++stats.requests;
  Params params = Params::FromPath(path);
  params.native_sidecars = native_sidecars;
  HttpAnswer answer =
      AnswerReview(content_type, body, [&](const ReviewRequest& request) -> ReviewAnswer {
        Json submitted = request.object;
        const auto outcome = Inject(submitted, request.ns, config, mesh, params);
        if (!outcome.ok()) {
          ++stats.failure;
          LOG_WARN("inject", "{}", outcome.status().message());
          return Refuse(outcome.status().message());
        }
        if (!outcome->injected) {
          ++stats.skipped;
          LOG_DEBUG("inject", "{}/{}: skipped: {}", request.ns, kubeapi::NameOf(submitted),
                    outcome->skipped);
          return {};
        }
        ++stats.success;
        Json injected = outcome->pod;
        kubeapi::Erase(injected, {"metadata", "managedFields"});
        kubeapi::Erase(submitted, {"metadata", "managedFields"});
        ReviewAnswer done;
        done.patch = kubeapi::DiffJsonPatch(submitted, injected);
        return done;
      });
  if (answer.status != 200) ++stats.failure;
  return answer;
}

HttpAnswer AnswerValidation(std::string_view content_type, std::string_view body,
                            ValidationStats& stats) {
  HttpAnswer answer = AnswerReview(
      content_type, body, [&](const ReviewRequest& request) { return Validate(request, stats); });
  if (answer.status != 200) ++stats.failed;
  return answer;
}

}  // namespace isthmus::inject
