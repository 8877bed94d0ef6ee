#include "http/message.h"

#include <algorithm>

#include "base/strings.h"

namespace isthmus::http {

Headers::Headers(std::initializer_list<std::pair<std::string, std::string>> fields) {
  for (const auto& [name, value] : fields) Add(name, value);
}

void Headers::Add(std::string_view name, std::string_view value) {
  fields_.emplace_back(base::ToLower(name), std::string(value));
}

void Headers::Set(std::string_view name, std::string_view value) {
  Remove(name);
  Add(name, value);
}

void Headers::Remove(std::string_view name) {
  std::erase_if(fields_,
                [name](const auto& field) { return base::EqualsIgnoreCase(field.first, name); });
}

std::optional<std::string_view> Headers::Get(std::string_view name) const {
  for (const auto& [field, value] : fields_) {
    if (base::EqualsIgnoreCase(field, name)) return value;
  }
  return std::nullopt;
}

namespace {

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// A percent sign that no two digits follow stays as it is.
std::string Decode(std::string_view text, bool plus_is_space) {
  std::string decoded;
  decoded.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && HexDigit(text[i + 1]) >= 0 &&
        HexDigit(text[i + 2]) >= 0) {
      decoded += static_cast<char>(HexDigit(text[i + 1]) << 4 | HexDigit(text[i + 2]));
      i += 2;
    } else if (text[i] == '+' && plus_is_space) {
      decoded += ' ';
    } else {
      decoded += text[i];
    }
  }
  return decoded;
}

}  // namespace

std::string RequestHead::path() const { return Decode(base::Cut(target, "?").first, false); }

std::vector<std::pair<std::string, std::string>> RequestHead::query() const {
  std::vector<std::pair<std::string, std::string>> parameters;
  const std::string_view text = base::Cut(base::Cut(target, "#").first, "?").second;
  for (const std::string_view part : base::Split(text, '&')) {
    if (part.empty()) continue;
    const auto [name, value] = base::Cut(part, "=");
    parameters.emplace_back(Decode(name, true), Decode(value, true));
  }
  return parameters;
}

std::string RequestHead::query_value(std::string_view name) const {
  for (auto& [parameter, value] : query()) {
    if (parameter == name) return value;
  }
  return {};
}

std::string UrlEncode(std::string_view text) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string encoded;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool unreserved = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                            (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';
    if (unreserved) {
      encoded += c;
    } else {
      encoded += '%';
      encoded += kDigits[byte >> 4];
      encoded += kDigits[byte & 15];
    }
  }
  return encoded;
}

std::string UrlDecode(std::string_view text) { return Decode(text, false); }

}  // namespace isthmus::http
