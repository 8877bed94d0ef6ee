#pragma once

#include <fmt/format.h>

#include <string_view>

namespace isthmus::base {

enum class LogLevel { kDebug, kInfo, kWarn, kError, kNone };

/// Sets the lowest level that is written; INFO at start. `json` writes one JSON object a line,
/// otherwise "time\tlevel\tscope\tmessage" as Istio's programs do. Lines go to standard error.
void SetLogLevel(LogLevel level);
void SetLogJson(bool json);
bool LogEnabled(LogLevel level);
void LogLine(LogLevel level, std::string_view scope, std::string_view message);

/// `scope` is the module's word ("ads", "ca"); the rest is a fmt format.
#define ISTHMUS_LOG(level, scope, ...)                                    \
  do {                                                                    \
    if (::isthmus::base::LogEnabled(level))                               \
      ::isthmus::base::LogLine(level, scope, ::fmt::format(__VA_ARGS__)); \
  } while (false)
#define LOG_DEBUG(scope, ...) ISTHMUS_LOG(::isthmus::base::LogLevel::kDebug, scope, __VA_ARGS__)
#define LOG_INFO(scope, ...) ISTHMUS_LOG(::isthmus::base::LogLevel::kInfo, scope, __VA_ARGS__)
#define LOG_WARN(scope, ...) ISTHMUS_LOG(::isthmus::base::LogLevel::kWarn, scope, __VA_ARGS__)
#define LOG_ERROR(scope, ...) ISTHMUS_LOG(::isthmus::base::LogLevel::kError, scope, __VA_ARGS__)

}  // namespace isthmus::base
