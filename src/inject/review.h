#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "kubeapi/json.h"

namespace isthmus::inject {

/// What goes back over HTTP. A value.
struct HttpAnswer {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
};

/// The request part of an AdmissionReview, v1 or v1beta1.
struct ReviewRequest {
  std::string uid;
  std::string ns;
  std::string operation;  ///< CREATE, UPDATE, DELETE, CONNECT.
  std::string group;      ///< Of the object's kind.
  std::string version;
  std::string kind;
  std::string plural;
  bool dry_run = false;
  kubeapi::Json object;
};

/// What a webhook decides. A value.
struct ReviewAnswer {
  bool allowed = true;
  std::string message;  ///< Why not.
  kubeapi::Json patch;  ///< A JSON Patch, or null.
  std::vector<std::string> warnings;
};

/// The HTTP side of an admission webhook: reads the review, asks `decide`, and answers in the
/// version of the request. A body that is no review is answered 400, another content type 415. Pure
/// apart from `decide`.
HttpAnswer AnswerReview(std::string_view content_type, std::string_view body,
                        const std::function<ReviewAnswer(const ReviewRequest&)>& decide);

/// The largest body that a webhook reads.
inline constexpr size_t kMaxReviewBytes = 6 << 20;

}  // namespace isthmus::inject
