#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace isthmus::http {

/// Header fields in order. Names are kept in lower case (RFC 9113); values as sent.
class Headers {
 public:
  Headers() = default;
  Headers(std::initializer_list<std::pair<std::string, std::string>> fields);

  void Add(std::string_view name, std::string_view value);
  /// Replaces all fields of that name.
  void Set(std::string_view name, std::string_view value);
  void Remove(std::string_view name);
  /// The first value of that name.
  std::optional<std::string_view> Get(std::string_view name) const;
  const std::vector<std::pair<std::string, std::string>>& all() const { return fields_; }
  bool operator==(const Headers&) const = default;

 private:
  std::vector<std::pair<std::string, std::string>> fields_;
};

struct RequestHead {
  std::string method = "GET";
  /// Path and query as on the wire: "/api/v1/pods?watch=true".
  std::string target = "/";
  /// Host (HTTP/1.1) or :authority (HTTP/2).
  std::string authority;
  Headers headers;

  /// The target without its query, percent-decoded.
  std::string path() const;
  /// The decoded query parameters in order.
  std::vector<std::pair<std::string, std::string>> query() const;
  /// The first value of a query parameter; empty when absent.
  std::string query_value(std::string_view name) const;
};

struct Request : RequestHead {
  std::string body;
};

struct ResponseHead {
  int status = 200;
  Headers headers;
};

struct Response : ResponseHead {
  std::string body;
};

/// Percent-encodes everything but unreserved characters (RFC 3986).
std::string UrlEncode(std::string_view text);
std::string UrlDecode(std::string_view text);

}  // namespace isthmus::http
