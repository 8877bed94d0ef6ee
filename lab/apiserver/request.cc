#include "lab/apiserver/request.h"

#include <algorithm>

namespace isthmus::lab::apiserver {
namespace {

using kubeapi::Json;

std::vector<std::string> PathParts(std::string_view path) {
  std::vector<std::string> parts;
  while (!path.empty()) {
    const size_t end = std::min(path.find('/'), path.size());
    if (end > 0) parts.emplace_back(path.substr(0, end));
    path.remove_prefix(std::min(end + 1, path.size()));
  }
  return parts;
}

std::string VerbOf(const Request& request, bool named) {
  if (request.method == "POST") return "create";
  if (request.method == "PUT") return "update";
  if (request.method == "PATCH") return "patch";
  if (request.method == "DELETE") return named ? "delete" : "deletecollection";
  if (request.Flag("watch")) return "watch";
  return named ? "get" : "list";
}

}  // namespace

bool User::InGroup(std::string_view group) const {
  return std::find(groups.begin(), groups.end(), group) != groups.end();
}

Json User::ToJson() const {
  Json out = {{"username", name}};
  if (!uid.empty()) out["uid"] = uid;
  if (!groups.empty()) out["groups"] = groups;
  if (!extra.empty()) out["extra"] = extra;
  return out;
}

std::string Request::Query(std::string_view name) const {
  for (const auto& [key, value] : query)
    if (key == name) return value;
  return {};
}

bool Request::HasQuery(std::string_view name) const {
  return std::any_of(query.begin(), query.end(),
                     [&](const auto& entry) { return entry.first == name; });
}

bool Request::Flag(std::string_view name) const {
  const std::string value = Query(name);
  return value == "true" || value == "1";
}

std::string Request::Header(std::string_view name) const {
  for (const auto& [key, value] : headers)
    if (key == name) return value;
  return {};
}

RequestInfo RequestInfo::Of(const Request& request) {
  RequestInfo info;
  info.path = request.path;
  info.verb = request.method;
  std::transform(info.verb.begin(), info.verb.end(), info.verb.begin(), ::tolower);
  std::vector<std::string> parts = PathParts(request.path);
  size_t at = 0;
  if (parts.size() >= 3 && parts[0] == "api") {
    info.version = parts[1];
    at = 2;
  } else if (parts.size() >= 4 && parts[0] == "apis") {
    info.group = parts[1];
    info.version = parts[2];
    at = 3;
  } else {
    return info;
  }
  info.resource_request = true;
  // The old form /api/v1/watch/..., which some clients still send.
  const bool old_watch = parts[at] == "watch" && at + 1 < parts.size();
  if (old_watch) ++at;
  if (parts[at] == "namespaces" && at + 1 < parts.size()) {
    info.ns = parts[at + 1];
    // /namespaces/x, /namespaces/x/status and /namespaces/x/finalize are about the namespace
    // itself.
    const bool own =
        at + 2 == parts.size() ||
        (at + 3 == parts.size() && (parts[at + 2] == "status" || parts[at + 2] == "finalize"));
    if (!own) at += 2;
  }
  info.resource = parts[at];
  if (at + 1 < parts.size()) info.name = parts[at + 1];
  if (at + 2 < parts.size()) info.subresource = parts[at + 2];
  if (at + 3 < parts.size()) info.rest.assign(parts.begin() + at + 3, parts.end());
  info.verb = old_watch ? "watch" : VerbOf(request, !info.name.empty());
  // A watch of one object by name is a watch of the collection with a field selector.
  return info;
}

Response ErrorResponse(const kubeapi::ApiError& error) {
  Response response = JsonResponse(error.code, error.ToJson());
  if (error.retry_after_seconds > 0)
    response.headers.emplace_back("retry-after", std::to_string(error.retry_after_seconds));
  return response;
}

Response JsonResponse(int status, const Json& body) {
  Response response;
  response.status = status;
  response.body = body.dump(-1, ' ', false, Json::error_handler_t::replace);
  return response;
}

bool NamesOrAll(const std::vector<std::string>& list, std::string_view name) {
  return std::any_of(list.begin(), list.end(),
                     [&](const std::string& each) { return each == "*" || each == name; });
}

}  // namespace isthmus::lab::apiserver
