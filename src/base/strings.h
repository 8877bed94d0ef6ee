#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace isthmus::base {

/// The parts between separators, empty ones too; an empty text has one empty part. The views point
/// into `text`.
std::vector<std::string_view> Split(std::string_view text, char separator);
/// The parts without surrounding white space, empty ones left out: for lists such as "a, b,".
std::vector<std::string> SplitList(std::string_view text, char separator = ',');
/// At the first separator: {"key", "a=b"} for "key=a=b". Without one, the second part is empty.
std::pair<std::string_view, std::string_view> Cut(std::string_view text,
                                                  std::string_view separator);

/// Joins anything whose elements convert to std::string_view.
template <typename Range>
std::string Join(const Range& parts, std::string_view separator) {
  std::string joined;
  bool first = true;
  for (const auto& part : parts) {
    if (!first) joined += separator;
    first = false;
    joined += std::string_view(part);
  }
  return joined;
}

std::string_view Trim(std::string_view text);
bool HasPrefix(std::string_view text, std::string_view prefix);
bool HasSuffix(std::string_view text, std::string_view suffix);
/// Takes `prefix` off the front of `text` when it is there, and tells so.
bool ConsumePrefix(std::string_view& text, std::string_view prefix);
bool ConsumeSuffix(std::string_view& text, std::string_view suffix);
/// ASCII only, as everywhere here.
constexpr bool IsDigit(char c) { return c >= '0' && c <= '9'; }
std::string ToLower(std::string_view text);
std::string ToUpper(std::string_view text);
bool EqualsIgnoreCase(std::string_view a, std::string_view b);
std::string ReplaceAll(std::string_view text, std::string_view from, std::string_view to);

/// The value of a key, or "".
std::string ValueOf(const std::map<std::string, std::string>& map, const std::string& key);

/// A whole decimal number and nothing else.
Result<int64_t> ParseInt(std::string_view text);

}  // namespace isthmus::base
