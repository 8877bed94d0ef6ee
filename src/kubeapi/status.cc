#include "kubeapi/status.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace isthmus::kubeapi {
namespace {

/// "deployments.apps", or "pods".
std::string Qualified(const std::string& name, const std::string& group) {
  return group.empty() ? name : name + "." + group;
}

ApiError About(int code, std::string_view reason, const Resource& resource, std::string_view name,
               std::string message) {
  ApiError error;
  error.code = code;
  error.reason = reason;
  error.message = std::move(message);
  error.name = name;
  error.group = resource.group;
  error.kind = resource.plural;
  return error;
}

ApiError Plain(int code, std::string_view reason, std::string_view message) {
  ApiError error;
  error.code = code;
  error.reason = reason;
  error.message = message;
  return error;
}

std::string ReasonOf(int code) {
  switch (code) {
    case 400:
      return "BadRequest";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "NotFound";
    case 405:
      return "MethodNotAllowed";
    case 406:
      return "NotAcceptable";
    case 409:
      return "Conflict";
    case 410:
      return "Gone";
    case 415:
      return "UnsupportedMediaType";
    case 422:
      return "Invalid";
    case 429:
      return "TooManyRequests";
    case 500:
      return "InternalError";
    case 503:
      return "ServiceUnavailable";
    case 504:
      return "Timeout";
    default:
      return "";
  }
}

base::Code CodeOf(const ApiError& error) {
  using base::Code;
  if (error.reason == "AlreadyExists") return Code::kAlreadyExists;
  switch (error.code) {
    case 400:
    case 422:
      return Code::kInvalidArgument;
    case 401:
      return Code::kUnauthenticated;
    case 403:
      return Code::kPermissionDenied;
    case 404:
      return Code::kNotFound;
    case 405:
    case 406:
    case 415:
      return Code::kUnimplemented;
    case 409:
      return Code::kAborted;
    case 410:
      return Code::kOutOfRange;
    case 429:
      return Code::kResourceExhausted;
    case 502:
    case 503:
      return Code::kUnavailable;
    case 504:
      return Code::kDeadlineExceeded;
    default:
      return error.code >= 500 ? Code::kInternal : Code::kUnknown;
  }
}

}  // namespace

Json ApiError::ToJson() const {
  Json status = {{"kind", "Status"},    {"apiVersion", "v1"}, {"metadata", Json::object()},
                 {"status", "Failure"}, {"message", message}, {"code", code}};
  if (!reason.empty()) status["reason"] = reason;
  Json details = Json::object();
  if (!name.empty()) details["name"] = name;
  if (!group.empty()) details["group"] = group;
  if (!kind.empty()) details["kind"] = kind;
  if (retry_after_seconds != 0) details["retryAfterSeconds"] = retry_after_seconds;
  for (const StatusCause& cause : causes) {
    Json item = Json::object();
    if (!cause.reason.empty()) item["reason"] = cause.reason;
    if (!cause.message.empty()) item["message"] = cause.message;
    if (!cause.field.empty()) item["field"] = cause.field;
    details["causes"].push_back(std::move(item));
  }
  if (!details.empty()) status["details"] = std::move(details);
  return status;
}

base::Status ApiError::ToStatus() const {
  return base::Status(CodeOf(*this),
                      message.empty() ? fmt::format("HTTP {} {}", code, reason) : message);
}

ApiError NotFound(const Resource& resource, std::string_view name) {
  return About(
      404, "NotFound", resource, name,
      fmt::format("{} \"{}\" not found", Qualified(resource.plural, resource.group), name));
}

ApiError AlreadyExists(const Resource& resource, std::string_view name) {
  return About(
      409, "AlreadyExists", resource, name,
      fmt::format("{} \"{}\" already exists", Qualified(resource.plural, resource.group), name));
}

ApiError Conflict(const Resource& resource, std::string_view name, std::string_view why) {
  if (why.empty())
    why =
        "the object has been modified; please apply your changes to the latest version and try "
        "again";
  return About(409, "Conflict", resource, name,
               fmt::format("Operation cannot be fulfilled on {} \"{}\": {}",
                           Qualified(resource.plural, resource.group), name, why));
}

ApiError Invalid(const Resource& resource, std::string_view name, std::vector<StatusCause> causes) {
  std::vector<std::string> texts;
  for (const StatusCause& cause : causes)
    texts.push_back(cause.field.empty() ? cause.message : cause.field + ": " + cause.message);
  std::string list = fmt::format("{}", fmt::join(texts, ", "));
  if (texts.size() > 1) list = "[" + list + "]";
  ApiError error = About(422, "Invalid", resource, name,
                         fmt::format("{} \"{}\" is invalid: {}",
                                     Qualified(resource.kind, resource.group), name, list));
  error.kind = resource.kind;
  error.causes = std::move(causes);
  return error;
}

ApiError Forbidden(const Resource& resource, std::string_view name, std::string_view why) {
  const std::string what = Qualified(resource.plural, resource.group);
  return About(403, "Forbidden", resource, name,
               name.empty() ? fmt::format("{} is forbidden: {}", what, why)
                            : fmt::format("{} \"{}\" is forbidden: {}", what, name, why));
}

ApiError BadRequest(std::string_view message) { return Plain(400, "BadRequest", message); }
ApiError Unauthorized() { return Plain(401, "Unauthorized", "Unauthorized"); }
ApiError MethodNotAllowed(const Resource& resource, std::string_view verb) {
  return About(405, "MethodNotAllowed", resource, "",
               fmt::format("{} is not supported on resources of kind \"{}\"", verb,
                           Qualified(resource.plural, resource.group)));
}
ApiError UnsupportedMediaType(std::string_view message) {
  return Plain(415, "UnsupportedMediaType", message);
}
ApiError Expired(std::string_view message) { return Plain(410, "Expired", message); }
ApiError InternalError(std::string_view message) {
  ApiError error = Plain(500, "InternalError", fmt::format("Internal error occurred: {}", message));
  error.causes.push_back({"", std::string(message), ""});
  return error;
}
ApiError ServiceUnavailable(std::string_view message) {
  return Plain(503, "ServiceUnavailable", message);
}

ApiError FromStatusObject(int http_code, const Json& status) {
  ApiError error;
  error.code = static_cast<int>(IntAt(status, {"code"}, http_code));
  if (error.code < 300 || error.code > 599) error.code = http_code;
  error.reason = StringAt(status, {"reason"});
  if (error.reason.empty()) error.reason = ReasonOf(error.code);
  error.message = StringAt(status, {"message"});
  error.name = StringAt(status, {"details", "name"});
  error.group = StringAt(status, {"details", "group"});
  error.kind = StringAt(status, {"details", "kind"});
  error.retry_after_seconds = static_cast<int>(IntAt(status, {"details", "retryAfterSeconds"}));
  for (const Json& cause : ItemsAt(status, {"details", "causes"}))
    error.causes.push_back(
        {StringAt(cause, {"reason"}), StringAt(cause, {"message"}), StringAt(cause, {"field"})});
  return error;
}

ApiError ParseApiError(int http_code, std::string_view body) {
  if (const auto json = ParseJson(body); json.ok() && StringAt(*json, {"kind"}) == "Status")
    return FromStatusObject(http_code, *json);
  ApiError error = Plain(http_code, ReasonOf(http_code), "");
  while (!body.empty() && (body.back() == '\n' || body.back() == ' ')) body.remove_suffix(1);
  constexpr size_t kMost = 300;
  error.message = body.empty() ? fmt::format("HTTP {} {}", http_code, error.reason)
                               : fmt::format("HTTP {}: {}", http_code, body.substr(0, kMost));
  return error;
}

}  // namespace isthmus::kubeapi
