#include "inject/review.h"

#include "base/encoding.h"

namespace isthmus::inject {
namespace {

using kubeapi::Json;
using kubeapi::StringAt;

HttpAnswer Problem(int status, std::string_view text) {
  return {status, "text/plain; charset=utf-8", std::string(text) + "\n"};
}

}  // namespace

HttpAnswer AnswerReview(std::string_view content_type, std::string_view body,
                        const std::function<ReviewAnswer(const ReviewRequest&)>& decide) {
  if (body.empty()) return Problem(400, "no body found");
  if (content_type != "application/json")
    return Problem(415, "invalid Content-Type, want `application/json`");
  const auto review = kubeapi::ParseJson(body);
  if (!review.ok()) return Problem(400, "not an AdmissionReview: " + review.status().message());
  const std::string version = StringAt(*review, {"apiVersion"});
  const Json* request = kubeapi::Find(*review, {"request"});
  if ((version != "admission.k8s.io/v1" && version != "admission.k8s.io/v1beta1") ||
      request == nullptr || !request->is_object())
    return Problem(400, "not an AdmissionReview of admission.k8s.io/v1 or v1beta1 with a request");

  ReviewRequest in;
  in.uid = StringAt(*request, {"uid"});
  in.ns = StringAt(*request, {"namespace"});
  in.operation = StringAt(*request, {"operation"});
  in.group = StringAt(*request, {"kind", "group"});
  in.version = StringAt(*request, {"kind", "version"});
  in.kind = StringAt(*request, {"kind", "kind"});
  in.plural = StringAt(*request, {"resource", "resource"});
  in.dry_run = kubeapi::BoolAt(*request, {"dryRun"});
  if (const Json* object = kubeapi::Find(*request, {"object"})) in.object = *object;

  const ReviewAnswer answer = decide(in);
  Json response = {{"uid", in.uid}, {"allowed", answer.allowed}};
  if (!answer.message.empty()) response["status"] = {{"message", answer.message}};
  if (!answer.patch.is_null()) {
    response["patchType"] = "JSONPatch";
    response["patch"] = base::Base64Encode(kubeapi::ToJson(answer.patch));
  }
  if (!answer.warnings.empty()) response["warnings"] = answer.warnings;
  return {200, "application/json",
          kubeapi::ToJson({{"apiVersion", version},
                           {"kind", "AdmissionReview"},
                           {"response", std::move(response)}})};
}

}  // namespace isthmus::inject
