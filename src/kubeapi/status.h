#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "kubeapi/json.h"
#include "kubeapi/resource.h"

namespace isthmus::kubeapi {

/// One thing wrong with an object. `reason` as Kubernetes has it: FieldValueRequired,
/// FieldValueInvalid, FieldValueNotSupported, FieldValueForbidden, FieldValueDuplicate,
/// FieldManagerConflict ...
struct StatusCause {
  std::string reason;
  std::string message;
  std::string field;
};

/// The answer of an API server that says no, as the Status objects of Kubernetes. A value.
struct ApiError {
  int code = 500;      ///< HTTP.
  std::string reason;  ///< "NotFound"
  std::string message;
  std::string name;
  std::string group;
  std::string kind;  ///< The plural, or the kind for Invalid, as Kubernetes fills it.
  std::vector<StatusCause> causes;
  int retry_after_seconds = 0;

  Json ToJson() const;
  /// In words for users, with the Code that fits the reason.
  base::Status ToStatus() const;
};

/// `pods "x" not found`.
ApiError NotFound(const Resource& resource, std::string_view name);
ApiError AlreadyExists(const Resource& resource, std::string_view name);
/// An update against an old resourceVersion; `why` empty takes the usual sentence.
ApiError Conflict(const Resource& resource, std::string_view name, std::string_view why = {});
ApiError Invalid(const Resource& resource, std::string_view name, std::vector<StatusCause> causes);
ApiError Forbidden(const Resource& resource, std::string_view name, std::string_view why);
ApiError BadRequest(std::string_view message);
ApiError Unauthorized();
ApiError MethodNotAllowed(const Resource& resource, std::string_view verb);
ApiError UnsupportedMediaType(std::string_view message);
/// 410: the resource version or continue token is too old.
ApiError Expired(std::string_view message);
ApiError InternalError(std::string_view message);
ApiError ServiceUnavailable(std::string_view message);

/// What an answer with an HTTP error says; `body` need not be a Status object.
ApiError ParseApiError(int http_code, std::string_view body);
/// The same of a Status object, such as the object of a watch's ERROR event.
ApiError FromStatusObject(int http_code, const Json& status);

}  // namespace isthmus::kubeapi
