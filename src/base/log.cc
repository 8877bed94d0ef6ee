#include "base/log.h"

#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <string>

#include "base/clock.h"

namespace isthmus::base {
namespace {

std::atomic<LogLevel> lowest_level{LogLevel::kInfo};
std::atomic<bool> json_lines{false};

std::string_view LevelName(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return "debug";
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kWarn:
      return "warn";
    case LogLevel::kError:
      return "error";
    case LogLevel::kNone:
      break;
  }
  return "none";
}

std::string Now() {
  const Time now = std::chrono::system_clock::now();
  const auto micros =
      std::chrono::duration_cast<std::chrono::microseconds>(now.time_since_epoch()).count() %
      1000000;
  std::string text = FormatTime(now);
  text.pop_back();
  return fmt::format("{}.{:06}Z", text, micros);
}

// Also keeps a message with line breaks from looking like two records.
void AppendEscaped(std::string& out, std::string_view text, bool quotes) {
  for (const char c : text) {
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (quotes && (c == '"' || c == '\\')) {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      if (c == '\t' && !quotes) {
        out += c;
      } else {
        out += fmt::format("\\u{:04x}", static_cast<unsigned>(static_cast<unsigned char>(c)));
      }
    } else {
      out += c;
    }
  }
}

}  // namespace

void SetLogLevel(LogLevel level) { lowest_level = level; }
void SetLogJson(bool json) { json_lines = json; }
bool LogEnabled(LogLevel level) { return level >= lowest_level.load(std::memory_order_relaxed); }

void LogLine(LogLevel level, std::string_view scope, std::string_view message) {
  std::string line;
  if (json_lines) {
    line = fmt::format(R"({{"level":"{}","time":"{}","scope":"{}","msg":")", LevelName(level),
                       Now(), scope);
    AppendEscaped(line, message, true);
    line += "\"}\n";
  } else {
    line = fmt::format("{}\t{}\t{}\t", Now(), LevelName(level), scope);
    AppendEscaped(line, message, false);
    line += '\n';
  }
  // One write a line keeps lines of several processes apart. A log that cannot be written is no
  // reason to stop.
  if (::write(STDERR_FILENO, line.data(), line.size()) < 0) return;
}

}  // namespace isthmus::base
