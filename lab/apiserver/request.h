#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kubeapi/json.h"
#include "kubeapi/status.h"

namespace isthmus::lab::apiserver {

class Watch;
using Fields = std::vector<std::pair<std::string, std::string>>;

/// Who asks.
struct User {
  std::string name = "system:anonymous";
  std::string uid;
  std::vector<std::string> groups = {"system:unauthenticated"};
  std::map<std::string, std::vector<std::string>> extra;

  bool InGroup(std::string_view group) const;
  /// As in AdmissionReview and SelfSubjectReview.
  kubeapi::Json ToJson() const;
};

/// One request as the engine sees it, whatever brought it.
struct Request {
  std::string method = "GET";
  std::string path = "/";  ///< Decoded, without the query.
  Fields query;            ///< Decoded.
  Fields headers;          ///< Names in lower case.
  std::string body;
  User user;

  /// The first value, or "".
  std::string Query(std::string_view name) const;
  bool HasQuery(std::string_view name) const;
  /// "true" or "1".
  bool Flag(std::string_view name) const;
  std::string Header(std::string_view name) const;
};

/// The answer. With `watch` set, the body is a stream: the caller sends the head and starts the
/// Watch.
struct Response {
  int status = 200;
  std::string content_type = "application/json";
  Fields headers;
  std::string body;
  std::shared_ptr<Watch> watch;
};

/// What a request is about, as RBAC and admission see it.
struct RequestInfo {
  bool resource_request = false;
  std::string verb;  ///< get list watch create update patch delete deletecollection, or the method
                     ///< in lower case.
  std::string path;
  std::string group;
  std::string version;
  std::string ns;
  std::string resource;
  std::string subresource;
  std::string name;
  std::vector<std::string> rest;  ///< Path parts after the subresource, for proxies.

  static RequestInfo Of(const Request& request);
};

Response ErrorResponse(const kubeapi::ApiError& error);
Response JsonResponse(int status, const kubeapi::Json& body);

/// A T, or why not.
template <typename T>
class Outcome {
 public:
  Outcome(T value) : value_(std::move(value)) {}                              // NOLINT
  Outcome(kubeapi::ApiError error) : error_(std::move(error)), ok_(false) {}  // NOLINT
  bool ok() const { return ok_; }
  T& value() { return value_; }
  T& operator*() { return value_; }
  T* operator->() { return &value_; }
  const kubeapi::ApiError& error() const { return error_; }

 private:
  T value_{};
  kubeapi::ApiError error_;
  bool ok_ = true;
};

/// Whether a list of names, of a Role's rule or a webhook's, holds one, or "*" for all.
bool NamesOrAll(const std::vector<std::string>& list, std::string_view name);

}  // namespace isthmus::lab::apiserver
