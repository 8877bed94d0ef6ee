#include "http/http1_text.h"

#include <algorithm>

#include "base/strings.h"

namespace isthmus::http {

bool IsToken(std::string_view text) {
  constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
  return !text.empty() && std::all_of(text.begin(), text.end(), [=](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           kMarks.find(c) != std::string_view::npos;
  });
}

bool IsVisible(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) > 0x20 && c != 0x7f; });
}

bool IsFieldValue(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f) || c == '\t';
  });
}

bool ListHas(std::string_view list, std::string_view word) {
  for (const std::string_view part : base::Split(list, ',')) {
    if (base::EqualsIgnoreCase(base::Trim(part), word)) return true;
  }
  return false;
}

void AppendHeaderLines(std::string& out, const Headers& headers) {
  for (const auto& [name, value] : headers.all()) {
    if (!IsToken(name) || !IsFieldValue(value)) continue;
    out += name;
    out += ": ";
    out += value;
    out += "\r\n";
  }
}

}  // namespace isthmus::http
