#pragma once

#include <string>
#include <string_view>

#include "http/message.h"

namespace isthmus::http {

/// Appends "name: value\r\n" for each field. What cannot stand in a header (control characters,
/// names that are no tokens) is left out, so that a value never begins a new field. Internal to
/// http.
void AppendHeaderLines(std::string& out, const Headers& headers);
bool IsToken(std::string_view text);
/// No control characters but tabs.
bool IsFieldValue(std::string_view text);
/// A request target or authority: visible characters only.
bool IsVisible(std::string_view text);
/// Whether a comma-separated header such as Connection names `word`.
bool ListHas(std::string_view list, std::string_view word);

}  // namespace isthmus::http
