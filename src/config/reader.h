#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "kubeapi/json.h"

namespace google::protobuf {
class Duration;
class Message;
}  // namespace google::protobuf

namespace isthmus::config {

/// One thing that is wrong with a field: "spec.http[0].timeout", "is not a duration".
struct Issue {
  std::string field;
  std::string reason;
  std::string text() const { return field.empty() ? reason : field + ": " + reason; }
  bool operator==(const Issue&) const = default;
};

/// What reading found. An object with errors must not be used; unknown fields are only told.
struct ReadReport {
  std::vector<Issue> errors;
  std::vector<std::string> unknown;  ///< Paths.
  /// OK, or all errors in one sentence.
  base::Status status() const;
};

/// Reads JSON into a message of the configuration API by protobuf's JSON mapping, with these
/// differences that Istio's users rely on: durations may be Go's ("1m30s", "100ms"), and fields
/// that are not known are skipped and reported. Singular messages and maps are merged into what the
/// message already holds; lists are replaced. `path` is put before every field in the report
/// ("spec").
void ReadMessage(const kubeapi::Json& json, std::string_view path,
                 google::protobuf::Message& message, ReadReport& report);

/// "1.5s", "1h2m", "100ms", "0"; false when it is none.
bool ParseDuration(std::string_view text, google::protobuf::Duration& duration);

/// The message as JSON with lower camel case names, as the API has it.
std::string ToJsonText(const google::protobuf::Message& message);

}  // namespace isthmus::config
